"""This module keeps the deadlines of connections: handshake, login, sign of life.

Theory of operation
-------------------
A connection has to be ready, and its peer logged in, within so many seconds; after
that, if the factory has a heartbeat, a peer that has been silent for long is asked for
a sign of life.  None of these is exact to the millisecond, so there is no timer for
each connection: one timer checks all connections of a factory every second or so, and
there is none as long as there is no connection to check.

The question is a call to an object that no peer has.  Each peer answers it with an
error, ``twisted.spread`` included, and neither end logs a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Final

from pb_broker.errors import PeerTimeout

__all__ = ["ConnectionDeadlines", "Heartbeat", "as_heartbeat"]

#: Longest and shortest time between two checks of all connections, in seconds.
_LONGEST_PERIOD: Final = 1.0
_SHORTEST_PERIOD: Final = 0.01
#: Number of checks within the shortest deadline, within the bounds above.
_LOOKS: Final = 10


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A check for peers that have vanished without closing their connection.

    Any byte that arrives from a peer is a sign of life.

    Args:
        idle: Seconds without a sign of life after which the peer is asked for one.
        answer: Seconds in which it has to give one, or the connection ends.
    """

    idle: float = 60.0
    answer: float = 20.0


class _Watched:
    """The times of one connection, in seconds on the factory's clock.

    Attributes:
        since: Time at which the connection was made, or of the last check that found a
            sign of life.
        asked: Time of a question for a sign of life that is not answered; None if no
            question is open.
    """

    __slots__ = ("asked", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.asked: float | None = None


class ConnectionDeadlines:
    """The deadlines of a factory's connections.

    Args:
        handshake_timeout: Seconds in which a dialect has to be agreed on.
        login_timeout: Seconds in which a peer has to have logged in.
        heartbeat: Times for the question to a silent peer; None for no question.
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
        """Watch the connections that are added from now on.

        Args:
            clock: An ``IReactorTime``.
        """
        self._clock = clock

    def stop(self) -> None:
        """Forget all connections, and stop the timer."""
        self._clock = None
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, broker: Any) -> None:
        """Watch a connection, whose time begins now."""
        if self._clock is None or self._shortest == inf:
            return
        self._watched[broker] = _Watched(self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(self._period, self._look)

    def discard(self, broker: Any) -> None:
        """Forget a connection."""
        self._watched.pop(broker, None)

    def _look(self) -> None:
        """Check all connections, and set the timer anew if any are left."""
        self._timer = None
        now = self._clock.seconds()
        # A copy: a connection that ends removes itself from the table.
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
        """Note a peer's sign of life, ask a silent peer for one, or give it up."""
        # A sign of life may be up to a period older than the check that finds it, and
        # a check up to a period late; the subtracted periods keep the limits all the
        # same.
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
    """Return the heartbeat of a factory's argument; True means the default one.

    Raises:
        TypeError: The argument is of another type, such as a number of seconds.
    """
    if heartbeat is True:
        return Heartbeat()
    given: Any = heartbeat
    if given and not isinstance(given, Heartbeat):
        kind = type(given).__qualname__
        raise TypeError(f"a heartbeat is True or Heartbeat(idle, answer), not a {kind}")
    return heartbeat or None
