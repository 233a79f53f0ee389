"""This module defines the login throttle, which delays repeated tries.

Theory of operation
-------------------
Tries that were refused are counted for each source, and for each user and source
together, whether there is such a user or not.  After some of them the next one waits,
before anything is done for it; each refusal doubles the wait, up to a limit, and tries
made side by side wait one after the other.  No user is locked out: the right password
is let in, from anywhere, after half a minute at the most.  Tries are never counted for
a user alone, so that an attacker elsewhere cannot make the user wait.

A success clears the count of the user from that source, and not the count of the
source: an attacker with an account could otherwise go on with other names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

__all__ = ["LoginDelays", "Tries"]

#: Largest number of sources that are counted, and of pairs of user and source.
_MOST_REMEMBERED: Final = 10_000
#: Largest power of two by which a wait grows, so that the float does not overflow.
_MOST_DOUBLINGS: Final = 32


@dataclass(frozen=True, slots=True)
class LoginDelays:
    """Delays of repeated tries to log in.

    Args:
        free: Number of refused tries of one user from one source without a delay.
        free_from_source: Number of refused tries from one source, of all users,
            without a delay.
        first: Delay of the next try, in seconds.  Each refusal doubles it.
        longest: Longest delay, in seconds; 0 for no delays.
        forget_after: Time without a refusal after which a count is cleared, in seconds.

    Raises:
        ValueError: A value is negative.
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
    """The count of refused tries of one key.

    Attributes:
        count: Number of refused tries.
        last: Time of the last refusal, in seconds of the clock.
        ready: Time at which the next try may be made, in seconds of the clock.
    """

    __slots__ = ("count", "last", "ready")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        self.ready = 0.0


class _Table:
    """The counts of one kind of keys: sources, or pairs of user and source.

    Args:
        free: Number of refused tries of a key without a delay.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        # The least recently refused first, so that it is the first to be dropped.
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
        """Take a place in the queue of a key; return the wait in seconds."""
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
        """Count a refused try."""
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
        """Clear the count of a key."""
        self._refused.pop(key, None)


class Tries:
    """The refused tries to log in at one server.

    Args:
        delays: Delays that they cause.
    """

    def __init__(self, delays: LoginDelays) -> None:
        self.delays = delays

    @property
    def delays(self) -> LoginDelays:
        """Delays of tries; an assignment clears all counts."""
        return self._delays

    @delays.setter
    def delays(self, delays: LoginDelays) -> None:
        self._delays = delays
        self._sources = _Table(delays.free_from_source)
        self._users = _Table(delays.free)

    def wait_for_source(self, source: Hashable, now: float) -> float:
        """Return the wait of a try because of its source, in seconds."""
        if source is None:
            return 0.0
        return self._sources.wait(source, self._delays, now)

    def wait_for_user(self, source: Hashable, username: bytes, now: float) -> float:
        """Return the wait of a try because of its user, in seconds."""
        return self._users.wait((username, source), self._delays, now)

    def refused(self, source: Hashable, username: bytes | None, now: float) -> None:
        """Count a refused try.

        Args:
            source: Its source; None for no address.
            username: Its user's name; None if it was refused before it had one.
            now: Time, in seconds of the clock.
        """
        if not self._delays.longest:
            return
        if source is not None:
            self._sources.add(source, self._delays, now)
        if username is not None:
            self._users.add((username, source), self._delays, now)

    def admitted(self, source: Hashable, username: bytes | None) -> None:
        """Clear the count of a user from a source."""
        if username is not None:
            self._users.forget((username, source))
