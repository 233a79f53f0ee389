"""This module notices connections on which too little happens.

Theory of operation
-------------------
A connection has to be ready, and its peer logged in, within so many seconds; after
that, if the factory was told to, a peer that has been silent for long is asked for a
sign of life.  Neither is exact to the millisecond, so there is no timer for each
connection: one for all of a factory's looks at them every second or so, and there is
none as long as there is nothing to look at.

What is asked is a call to an object that no peer has.  Each answers that with an
error, ``twisted.spread`` included, and neither end logs anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Final

from pb_broker.errors import PeerTimeout

__all__ = ["ConnectionDeadlines", "Heartbeat", "as_heartbeat"]

#: How often all connections are looked at, in seconds, at most and at least.
_LONGEST_PERIOD: Final = 1.0
_SHORTEST_PERIOD: Final = 0.01
#: How many times within the shortest limit, if that is more often.
_LOOKS: Final = 10


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How a peer is noticed that is not there any more.

    Whatever arrives from a peer is a sign of life.

    Args:
        idle: After how many seconds without one the peer is asked for one.
        answer: Within how many seconds it has to give one, or the connection ends.
    """

    idle: float = 60.0
    answer: float = 20.0


class _Watched:
    """What is known of one connection.

    Attributes:
        since: When it was made, or when the last sign of life was seen.
        asked: When the peer was asked for one that has not come; None if it was not.
    """

    __slots__ = ("asked", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.asked: float | None = None


class ConnectionDeadlines:
    """The deadlines of a factory's connections.

    Args:
        handshake_timeout: Within how many seconds a dialect has to be agreed on.
        login_timeout: Within how many seconds a peer has to have logged in.
        heartbeat: How a silent peer is asked for a sign of life; None for not at all.
    """

    __slots__ = (
        "_clock",
        "_handshake",
        "_heartbeat",
        "_login",
        "_period",
        "_shortest",
        "_timer",
        "_watched",
    )

    def __init__(
        self,
        handshake_timeout: float,
        login_timeout: float,
        heartbeat: Heartbeat | None,
    ) -> None:
        self._handshake = handshake_timeout
        self._login = login_timeout
        self._heartbeat = heartbeat
        limits = [handshake_timeout, login_timeout]
        if heartbeat is not None:
            limits += [heartbeat.idle, heartbeat.answer]
        self._shortest = min(limits)
        period = min(self._shortest / _LOOKS, _LONGEST_PERIOD)
        self._period = max(period, _SHORTEST_PERIOD)
        self._watched: dict[Any, _Watched] = {}
        self._clock: Any = None
        self._timer: Any = None

    def start(self, clock: Any) -> None:
        """Begin to watch what is added from now on.

        Args:
            clock: An ``IReactorTime``.
        """
        self._clock = clock

    def stop(self) -> None:
        """Watch nothing any more."""
        self._clock = None
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, broker: Any) -> None:
        """Watch a connection that has just been made, from its beginning."""
        if self._clock is None or self._shortest == inf:
            return
        self._watched[broker] = _Watched(self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(self._period, self._look)

    def discard(self, broker: Any) -> None:
        """Watch a connection no more."""
        self._watched.pop(broker, None)

    def _look(self) -> None:
        """Look at all connections, and come again if there are any left to watch."""
        self._timer = None
        now = self._clock.seconds()
        # A copy: what ends takes itself off the list.
        for broker, watched in list(self._watched.items()):
            if broker.connects is not None:
                if now - watched.since >= self._handshake:
                    hint = broker.tls_hint(None)
                    broker.give_up(PeerTimeout("handshake", self._handshake, hint))
            elif not broker.is_authenticated:
                if now - watched.since >= self._login:
                    broker.give_up(PeerTimeout("login", self._login))
            elif self._heartbeat is None:
                del self._watched[broker]
            else:
                self._listen(broker, watched, now, self._heartbeat)
        if self._watched and self._timer is None and self._clock is not None:
            self._timer = self._clock.callLater(self._period, self._look)

    def _listen(
        self, broker: Any, watched: _Watched, now: float, heartbeat: Heartbeat
    ) -> None:
        """See whether a peer has given a sign of life, and ask it if need be."""
        # What was heard may have been heard just after the last look, and will be
        # looked at a little late: the limits hold all the same.
        if broker.heard:
            broker.heard = False
            watched.since = now
            watched.asked = None
        elif watched.asked is not None:
            if now - watched.asked >= heartbeat.answer - self._period:
                broker.give_up(PeerTimeout("heartbeat", heartbeat.answer))
        elif now - watched.since >= heartbeat.idle - 2 * self._period:
            watched.asked = now
            broker.session.outgoing.ask_for_life()


def as_heartbeat(heartbeat: Heartbeat | bool | None) -> Heartbeat | None:
    """Return what a factory's argument means: True is a heartbeat as usual.

    Raises:
        TypeError: It is something else, such as a number of seconds.
    """
    if heartbeat is True:
        return Heartbeat()
    given: Any = heartbeat
    if given and not isinstance(given, Heartbeat):
        kind = type(given).__qualname__
        raise TypeError(f"a heartbeat is True or Heartbeat(idle, answer), not a {kind}")
    return heartbeat or None
