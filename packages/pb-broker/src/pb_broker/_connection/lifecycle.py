"""This module is the lifecycle of a connection: its states and their callbacks.

States, and what an event leads to from each; other events change nothing:

============  ===========  ==========  ==========  ==========  ======
state         AGREED       GREETED     DRAINED     HUNG_UP     LOST
============  ===========  ==========  ==========  ==========  ======
NEGOTIATING   GREETING                             HANGING_UP  LOST
GREETING                   READY                   HANGING_UP  LOST
READY                                  DRAINING    HANGING_UP  LOST
DRAINING                                           HANGING_UP  LOST
HANGING_UP                                                     LOST
LOST
============  ===========  ==========  ==========  ==========  ======

- NEGOTIATING: no dialect is spoken.  Messages to be sent are held.
- GREETING: a dialect is spoken.  Our greeting goes out, then the held messages.
- READY: the callbacks of notifyOnConnect have run, and calls go either way.
- DRAINING: no call of the peer's is begun any more.  The connection is closed when
  those that have begun are answered (:mod:`pb_broker._connection.closing`).  A drain
  that is asked for before READY is noted, and begins there.
- HANGING_UP: this end has ended the connection, and drops bytes that still come.
- LOST: the transport is gone; calls, streams and pagers have ended.

Besides, in every state reading may be held and the transport paused
(:class:`~pb_broker._connection.reading.Reading`), and the peer may be clogged
(:class:`~pb_broker._connection.writing.TransportOutbox`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from pb_broker._objects.disconnect_notices import Notices

from .closing import Closing, ClosingConnection

__all__ = ["TRANSITIONS", "Event", "Lifecycle", "State"]


class State(Enum):
    """The state of a connection; see the head of this module."""

    NEGOTIATING = "negotiating"
    GREETING = "greeting"
    READY = "ready"
    DRAINING = "draining"
    HANGING_UP = "hanging up"
    LOST = "lost"


class Event(Enum):
    """An event of a connection; see the head of this module."""

    AGREED = "agreed"
    GREETED = "greeted"
    DRAINED = "drained"
    HUNG_UP = "hung up"
    LOST = "lost"


#: The state after an event; an event that is not listed changes no state.
TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.NEGOTIATING, Event.AGREED): State.GREETING,
    (State.GREETING, Event.GREETED): State.READY,
    (State.READY, Event.DRAINED): State.DRAINING,
    **{
        (state, Event.HUNG_UP): State.HANGING_UP
        for state in State
        if state not in (State.HANGING_UP, State.LOST)
    },
    **{(state, Event.LOST): State.LOST for state in State},
}


class Lifecycle:
    """The state of one connection, and the callbacks for its changes.

    Attributes:
        closing: The drain of the connection; None before it begins.
        connects: Callbacks for the moment when the connection is ready; None once it
            is, or was lost.
        disconnects: Callbacks for its loss; None for none.
        failures: Callbacks for its loss before it was ready; None for none.
        state: The state.
    """

    __slots__ = ("closing", "connects", "disconnects", "failures", "state")

    def __init__(self) -> None:
        self.state: State = State.NEGOTIATING
        self.closing: Closing | None = None
        self.connects: list[Callable[[], object]] | None = []
        self.disconnects: Notices | None = None
        self.failures: list[Callable[[], object]] | None = None

    def enter(self, event: Event) -> bool:
        """Go on to the state that an event leads to.

        Args:
            event: The event.

        Returns:
            True if the state has changed.
        """
        after = TRANSITIONS.get((self.state, event), self.state)
        has_changed = after is not self.state
        self.state = after
        return has_changed

    def greeted(self) -> list[Callable[[], object]]:
        """Enter READY, or DRAINING; return the callbacks of notifyOnConnect."""
        self.enter(Event.GREETED)
        if self.closing is not None:
            self.enter(Event.DRAINED)
        connects, self.connects = self.connects, None
        return connects or []

    def drain(self, broker: ClosingConnection, linger: float) -> None:
        """Close the connection when the calls that have begun are answered.

        Args:
            broker: The connection's broker.
            linger: Least number of seconds between the last answer and the end.
        """
        if self.closing is None and self.state is not State.LOST:
            self.enter(Event.DRAINED)
            self.closing = Closing(broker, linger)
            self.closing.begin()

    def take_loss_callbacks(self) -> list[Callable[..., object]]:
        """Return the callbacks for the loss of the connection, and drop their rest."""
        callbacks: list[Callable[..., object]] = list(self.disconnects or ())
        if self.connects is not None:
            callbacks += self.failures or ()
        self.connects = None
        return callbacks

    def forget(self) -> None:
        """Drop all callbacks."""
        self.disconnects = self.failures = None

    def disconnect_notices(self) -> Notices:
        """Return the list of callbacks for the connection's loss, made if need be."""
        if self.disconnects is None:
            self.disconnects = Notices()
        return self.disconnects

    def failure_callbacks(self) -> list[Any]:
        """Return the list of callbacks for an early loss, made if need be."""
        if self.failures is None:
            self.failures = []
        return self.failures
