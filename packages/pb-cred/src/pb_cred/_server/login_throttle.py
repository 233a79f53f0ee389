"""This module has those wait who try to log in again and again.

Theory of operation
-------------------
Tries that were refused are counted for each source, and for each user and source
together, whether there is such a user or not.  After some of them the next one waits,
before anything is done for it; each refusal doubles the wait, up to a limit, and tries
made side by side wait one after the other.  Nobody is turned away: the right password
is let in, from anywhere, after half a minute at the most.  As a user alone is not
counted, nobody can make others wait from elsewhere.

Success makes a user's tries from that source forgotten, and not the source's: somebody
with an account could go on and on with other names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

__all__ = ["LoginDelays", "Tries"]

#: How many sources are remembered, and as many users and sources.
_MOST_REMEMBERED: Final = 10_000
#: To what power of two waits grow at most: longer than anybody has.
_MOST_DOUBLINGS: Final = 32


@dataclass(frozen=True, slots=True)
class LoginDelays:
    """How long those wait who try to log in again and again.

    Args:
        free: How many refused tries of one user from one source make nobody wait.
        free_from_source: How many from one source, of whatever users.
        first: How many seconds the next one waits.  Each refusal doubles it.
        longest: How many seconds one waits at most; 0 for never.
        forget_after: After how many seconds without a refusal all is forgotten.

    Raises:
        ValueError: One of them is negative.
    """

    free: int = 3
    free_from_source: int = 20
    first: float = 1.0
    longest: float = 30.0
    forget_after: float = 900.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is negative")


class _Refused:
    """What is remembered of refused tries.

    Attributes:
        count: How many there were.
        last: When the last one was refused, or waited.
        ready: When the next may be made.
    """

    __slots__ = ("count", "last", "ready")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        self.ready = 0.0


class _Table:
    """Refused tries of one kind.

    Args:
        free: How many of each make nobody wait.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        # The oldest first.
        self._refused: OrderedDict[Hashable, _Refused] = OrderedDict()

    def __len__(self) -> int:
        return len(self._refused)

    def _delay(self, refused: _Refused, delays: LoginDelays) -> float:
        over = refused.count - self._free
        if over < 0:
            return 0.0
        doubled: float = delays.first * 2.0 ** min(over, _MOST_DOUBLINGS)
        return min(doubled, delays.longest)

    def wait(self, key: Hashable, delays: LoginDelays, now: float) -> float:
        """Take a place for a try; return how many seconds it waits."""
        refused = self._refused.get(key)
        if refused is None:
            return 0.0
        if now - refused.last > delays.forget_after:
            del self._refused[key]
            return 0.0
        delay = self._delay(refused, delays)
        if not delay:
            return 0.0
        start = min(max(now, refused.ready), now + delays.longest)
        refused.ready = start + delay
        return start - now

    def add(self, key: Hashable, delays: LoginDelays, now: float) -> None:
        """Count a try that was refused."""
        refused = self._refused.pop(key, None)
        if refused is None or now - refused.last > delays.forget_after:
            refused = _Refused()
        refused.count += 1
        refused.last = now
        refused.ready = max(refused.ready, now + self._delay(refused, delays))
        self._refused[key] = refused
        if len(self._refused) > _MOST_REMEMBERED:
            self._refused.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Forget tries."""
        self._refused.pop(key, None)


class Tries:
    """The tries to log in at one server that were refused.

    Args:
        delays: How long others wait for it.
    """

    def __init__(self, delays: LoginDelays) -> None:
        self.delays = delays

    @property
    def delays(self) -> LoginDelays:
        """How long others wait; whoever sets it begins to count anew."""
        return self._delays

    @delays.setter
    def delays(self, delays: LoginDelays) -> None:
        self._delays = delays
        self._sources = _Table(delays.free_from_source)
        self._users = _Table(delays.free)

    def wait_for_source(self, source: Hashable, now: float) -> float:
        """Return how many seconds a try waits because of where it comes from."""
        if source is None:
            return 0.0
        return self._sources.wait(source, self._delays, now)

    def wait_for_user(self, source: Hashable, username: bytes, now: float) -> float:
        """Return how many seconds it waits besides because of whose it is."""
        return self._users.wait((username, source), self._delays, now)

    def refused(self, source: Hashable, username: bytes | None, now: float) -> None:
        """Count a try that was refused.

        Args:
            source: Where it came from.
            username: Whose it was, if it came so far.
            now: The time, in seconds.
        """
        if not self._delays.longest:
            return
        if source is not None:
            self._sources.add(source, self._delays, now)
        if username is not None:
            self._users.add((username, source), self._delays, now)

    def admitted(self, source: Hashable, username: bytes | None) -> None:
        """Forget what a user was refused from a source."""
        if username is not None:
            self._users.forget((username, source))
