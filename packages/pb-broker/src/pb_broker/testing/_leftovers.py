"""This module finds the leftovers of connections that are over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.task import Clock, LoopingCall

from pb_broker._connection.broker import Broker
from pb_broker.errors import shown_name

__all__ = ["Witness", "check", "due_calls", "left_behind", "left_of_ends"]

#: Most leftovers of a kind that are named.
_MOST_NAMED: Final = 5


def left_behind(broker: Broker) -> list[str]:
    """Return the leftovers of a broker whose connection is over.

    The work of a method for a peer that is gone is the program's own, and not listed.

    Args:
        broker: A broker of this package, at either end.

    Returns:
        A short text for each kind of leftover: calls that wait for answers, objects
        that the peer could call, caches, clean-ups, callbacks, timers, producers, and
        messages or bytes that wait to be sent or to be handled.  The first text says so
        if the connection is not over at all.  The list is empty without leftovers.
    """
    session = broker.session
    exports = session.exports
    # The tables are read without the published properties, which make missing ones.
    kept: dict[str, Iterable[Any]] = {
        "calls that wait for answers": map(
            _name_of_call, session.outgoing.pending.values()
        ),
        "objects that the peer can call": map(exports.find, exports.ids()),
        "objects that the peer has cached": _cached_there(session.caches),
        "caches of the peer's objects": session.caches.here.values(),
        "clean-ups": (exports.cleanups or {}).values(),
        "callbacks": _callbacks(broker),
        "timers": _timers(broker),
        "producers": broker._producers or (),
        "messages to be sent": map(_verb, session.codec.held),
        "releases to be sent": map(_released, session.releases.queue),
        "answers to be sent": broker.outbox.gathered or (),
        "bytes to be handled": broker.reading.unread or (),
    }
    left = [_listed(kind, list(things)) for kind, things in kept.items()]
    over = "" if broker.disconnected else "a connection that is not over"
    return [text for text in (over, *left) if text]


def _name_of_call(call: Any) -> str:
    # A program may have put a Deferred of its own into the table.
    return shown_name(getattr(call, "name", b"?"))


def _cached_there(table: Any) -> list[Any]:
    return [entry.object for entry in table.objects.values()]


def _callbacks(broker: Broker) -> list[Any]:
    lifecycle = broker.lifecycle
    lists = (lifecycle.disconnects, lifecycle.failures, lifecycle.connects)
    return [callback for each in lists for callback in each or ()]


def _timers(broker: Broker) -> list[str]:
    timers = {
        "for calls that are late": broker.session.outgoing.timer,
        "for what has arrived": broker.reading.continuation,
        "for what is not taken in": broker.outbox.clogged,
    }
    return [
        purpose
        for purpose, timer in timers.items()
        if timer is not None and timer.active()
    ]


def _released(release: tuple[Any, int]) -> str:
    return "decache" if release[1] else "decref"


def _verb(message: Any) -> str:
    return shown_name(bytes(message[0]))


def _listed(kind: str, things: list[Any]) -> str:
    """Return a text with the number of leftovers and the names of the first few."""
    if not things:
        return ""
    names = [_name_of(thing) for thing in things[:_MOST_NAMED]]
    if len(things) > _MOST_NAMED:
        names.append("...")
    return f"{kind} ({len(things)}): {', '.join(names)}"


def _name_of(thing: Any) -> str:
    """Return a name for a leftover; its ``repr`` may be of any length."""
    if isinstance(thing, str):
        return thing
    if isinstance(thing, bytes):
        return f"{len(thing)} bytes"
    if isinstance(thing, LoopingCall):
        return f"LoopingCall of {_name_of(thing.f)}"
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def due_calls(clock: Clock) -> list[str]:
    """Return a text for each pending call of a clock, up to a limit."""
    calls: list[Any] = list(clock.getDelayedCalls())
    now = clock.seconds()
    left = [
        f"a call that is due in {call.getTime() - now:g} s: {_name_of(call.func)}"
        for call in calls[:_MOST_NAMED]
    ]
    if len(calls) > _MOST_NAMED:
        left.append(f"{len(calls) - _MOST_NAMED} more calls that are due")
    return left


def left_of_ends(ends: dict[str, Any]) -> list[str]:
    """Return the leftovers of several brokers.

    Args:
        ends: The ends of connections, by name; those of another implementation are left
            out.
    """
    return [
        f"{name}: {text}"
        for name, end in ends.items()
        if isinstance(end, Broker)
        for text in left_behind(end)
    ]


class Witness:
    """A record of all brokers of a factory.

    Args:
        factory: The factory.

    Attributes:
        brokers: The brokers, the oldest first.
    """

    def __init__(self, factory: Any) -> None:
        self.brokers: list[Broker] = []
        self._made = factory.broker_made
        factory.broker_made = self._note

    def _note(self, broker: Broker) -> None:
        self.brokers.append(broker)
        self._made(broker)

    def left(self, name: str) -> list[str]:
        """Return the leftovers of the brokers.

        Args:
            name: Their name in the texts, which a number follows.
        """
        return left_of_ends(
            {f"{name} {number}": each for number, each in enumerate(self.brokers)}
        )


def check(left: list[str], note: str = "") -> None:
    """Check that there are no leftovers.

    Args:
        left: Texts on the leftovers.
        note: A remark for the error.

    Raises:
        AssertionError: There are leftovers.
    """
    # Hides this frame in pytest's traceback, which then ends in the test.
    __tracebackhide__ = True
    if left:
        lines = "".join(f"\n  {text}" for text in left)
        raise AssertionError(f"left behind{note}:{lines}")
