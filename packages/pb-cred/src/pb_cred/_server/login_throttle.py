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
from functools import cached_property
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pb_broker import Broker
from pb_broker.extending import clock_of
from pb_cred._sessions.audit_log import MOST_NAME, shown_username
from pb_cred.errors import LoginRefused
from pb_cred.mechanisms import LoginContext

__all__ = ["LoginDelays", "Tries", "Turn", "source_of"]

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


@dataclass(eq=False)
class Turn:
    """The turn of one attempt to log in, for which it may have to wait.

    It waits once for its source, and once for its user when the name is known.

    Args:
        tries: The refused tries at the server.
        broker: The broker of the connection.
        context: Context of the login, with the user's name once it is known.

    Attributes:
        waited: Time that the attempt has waited, in seconds.
        is_source_done: True once it has taken its place in the queue of its source.
        is_user_done: True once it has taken its place in the queue of its user.
    """

    tries: Tries
    broker: Broker
    context: LoginContext
    waited: float = 0.0
    is_source_done: bool = False
    is_user_done: bool = False

    @cached_property
    def source(self) -> Hashable:
        """Source of the attempt; None for a peer without an address."""
        return source_of(self.context.peer)

    @property
    def username(self) -> bytes | None:
        """User's name in bytes, cut off for the audit log; None if not known yet."""
        name: Any = self.context.username
        return name[:MOST_NAME] if type(name) is bytes else shown_username(name)

    def wait(self) -> Deferred[None] | None:
        """Take a place in each queue that the attempt has not been in.

        Returns:
            A Deferred; None if its turn is now.  The Deferred fails with LoginRefused
            if the connection is lost meanwhile.
        """
        now = clock_of(self.broker).seconds()
        seconds = 0.0
        if not self.is_source_done:
            self.is_source_done = True
            seconds = self.tries.wait_for_source(self.source, now)
        if self.context.username is not None and not self.is_user_done:
            self.is_user_done = True
            username = self.username
            if username is not None:
                more = self.tries.wait_for_user(self.source, username, now)
                # The time that it has waited for its source counts here as well.
                seconds = max(seconds, more - self.waited)
        self.waited += seconds
        return self._wait(seconds) if seconds else None

    def _wait(self, seconds: float) -> Deferred[None]:
        broker = self.broker
        if broker.disconnected:
            raise LoginRefused

        def end(result: Any, timer: Any) -> Any:
            broker.dontNotifyOnDisconnect(lost)
            if timer.active():
                timer.cancel()
            return result

        def lost() -> None:
            if not waiting.called:
                waiting.errback(Failure(LoginRefused()))

        waiting: Deferred[None] = Deferred()
        timer = clock_of(broker).callLater(seconds, waiting.callback, None)
        broker.notifyOnDisconnect(lost)
        return waiting.addBoth(end, timer)

    def refused(self) -> None:
        """Count the attempt as refused, against later ones."""
        now = clock_of(self.broker).seconds()
        self.tries.refused(self.source, self.username, now)

    def admitted(self) -> None:
        """Clear the user's count of refused tries, so that later ones do not wait."""
        self.tries.admitted(self.source, self.username)


def source_of(peer: object) -> Hashable:
    """Return the key by which tries from an address are counted; None for no address.

    Args:
        peer: The address, as the transport tells it.

    Returns:
        The host; of IPv6, the network, in which one host has as many addresses as it
        likes.
    """
    host: Any = getattr(peer, "host", None)
    if not isinstance(host, str):
        return None
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return address.packed
    mapped = address.ipv4_mapped
    return address.packed[:8] if mapped is None else mapped.packed
