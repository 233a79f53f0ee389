"""This module has the stop signals, SIGTERM and SIGINT, that end a server in order.

Theory of operation
-------------------
A server is *covered* for as long as its ``async with`` lasts, and on asyncio during
``serve_forever`` besides; nothing else here touches the signals of a process.

On Twisted's reactor the signals stay the reactor's: its handlers stop it, and so does a
program that calls ``reactor.stop()``.  The shutdown waits for the drain, by a trigger
of the reactor's "before" phase.  Only then are its handlers replaced, since a second
signal would find a reactor that has been stopped already, and have no effect.

On asyncio nothing ends a block at SIGTERM, and Ctrl-C ends the program with a
``KeyboardInterrupt``.  So handlers are set for both, where the program has none of its
own, and given back with the last block.  At the first signal ``serve_forever`` returns,
if the task of the block waits for it; any other body is cancelled, and its block raises
``SystemExit(0)`` after the drain: a server may be in a task beside others, and the
whole program has been told to end.

At a second signal before that, the process ends by that signal at once.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.python import threadable

__all__ = ["Cover", "StoppableServer", "cover"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StoppableServer(Protocol):
    """A server, as far as signals are concerned with it."""

    def told_to_stop(self) -> set[object]:
        """Let ``serve_forever`` return; return the asyncio tasks that wait for it."""
        ...

    def drained(self, grace: float | None) -> Deferred[Any]:
        """Begin to close unless that has begun; return a Deferred of its end."""
        ...


class Cover(Protocol):
    """The cover of one server: the signals are seen to for as long as it lasts."""

    def leave(self) -> None:
        """Note that the block is left, whose drain no signal is to cancel."""
        ...

    def end(self) -> bool:
        """End the cover, and return True if the program is to be ended now."""
        ...


def cover(server: StoppableServer, grace: float | None, reactor: Any) -> Cover:
    """Let the stop signals end a server in order, until the cover is ended.

    Args:
        server: The server.
        grace: Seconds in which calls may end; None for any time.
        reactor: The reactor that the server runs on; None for asyncio.
    """
    if reactor is None and threadable.isInIOThread():
        # A reactor that runs on this loop has the signals.
        installed = _installed()
        if getattr(installed, "running", False):
            reactor = installed
    if reactor is None:
        return _TaskCover(server)
    return _ReactorCover(server, grace, reactor)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _installed() -> Any:
    """Return the installed reactor; None before one is, since an import installs it."""
    return sys.modules.get("twisted.internet.reactor")


class _Handlers:
    """Handlers for the stop signals in place of those that were there before."""

    def __init__(self) -> None:
        # The handlers of the time before, by the numbers of their signals.
        self._previous: dict[int, Any] = {}
        # The handler that took their place.
        self._ours: Any = None

    def take(
        self, handler: Callable[[int, FrameType | None], None], replaces: Any
    ) -> None:
        """Set a handler for each of the signals whose present one may be replaced.

        Args:
            handler: The handler.
            replaces: Tells whether a handler may be replaced.
        """
        if not _is_main_thread():
            # Python runs, and sets, handlers in the main thread alone.
            return
        self._ours = handler
        for number in _SIGNALS:
            present = signal.getsignal(number)
            if present != handler and replaces(present):
                self._previous[number] = present
                signal.signal(number, handler)

    def give_back(self) -> None:
        """Set the previous handlers again, where the program has not set others."""
        previous, self._previous = self._previous, {}
        for number, handler in previous.items():
            if signal.getsignal(number) == self._ours:
                signal.signal(number, _lasting(handler))


def _lasting(handler: Any) -> Any:
    """Return a handler, or Python's own for that of an ``asyncio.run`` that is over."""
    main = getattr(handler, "keywords", {}).get("main_task")
    return signal.default_int_handler if main is not None and main.done() else handler


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """End the process by a signal, as if there were no handler."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


# Twisted's reactor


class _Shutdown:
    """The handlers during the drains of a reactor's shutdown.

    Attributes:
        drains: Number of servers that have yet to drain.
    """

    def __init__(self) -> None:
        self.drains = 0
        self._handlers = _Handlers()

    def begin(self, reactor: Any) -> None:
        """Count a drain, and let a second signal end the process."""
        self.drains += 1
        if self.drains == 1:
            self._handlers.take(_end_at_once, partial(_is_reactors, reactor))

    def end(self) -> None:
        """Count a drain no more."""
        self.drains -= 1
        if not self.drains:
            self._handlers.give_back()


_shutdown = _Shutdown()


def _is_reactors(reactor: Any, handler: Any) -> bool:
    """Tell whether a handler is the reactor's, or Python's own."""
    return _is_pythons(handler) or getattr(handler, "__self__", None) is reactor


class _ReactorCover:
    """The cover of a server on Twisted's reactor.

    Args:
        server: The server.
        grace: Seconds in which calls may end; None for any time.
        reactor: The reactor.
    """

    def __init__(
        self, server: StoppableServer, grace: float | None, reactor: Any
    ) -> None:
        self._server = server
        self._grace = grace
        self._reactor = reactor
        # None for a reactor without a shutdown, and once it has begun.
        self._trigger: Any = None
        if hasattr(reactor, "addSystemEventTrigger"):
            self._trigger = reactor.addSystemEventTrigger(
                "before", "shutdown", self._shut_down
            )

    def _shut_down(self) -> Deferred[Any]:
        """Return a Deferred that fires when the server is closed."""
        self._trigger = None
        _shutdown.begin(self._reactor)
        self._server.told_to_stop()
        drained = self._server.drained(self._grace)

        def ended(result: Any) -> Any:
            _shutdown.end()
            return result

        return drained.addBoth(ended)

    def leave(self) -> None:
        """Have no effect: the reactor's shutdown waits for any drain."""

    def end(self) -> bool:
        """End the cover; the reactor ends the program."""
        trigger, self._trigger = self._trigger, None
        if trigger is not None:
            self._reactor.removeSystemEventTrigger(trigger)
        return False


# asyncio


class _LoopSignals:
    """The handlers while servers on asyncio loops of the main thread are covered."""

    def __init__(self) -> None:
        self._handlers = _Handlers()
        self._covers: list[_TaskCover] = []

    def add(self, cover: _TaskCover) -> None:
        """Count a cover, and set the handlers that are not set."""
        if not _is_main_thread():
            # Its loop has no part in signals.
            return
        self._covers.append(cover)
        self._handlers.take(self._told, _is_replaced_on_asyncio)

    def remove(self, cover: _TaskCover) -> None:
        """Count a cover no more, and give the handlers back with the last."""
        if cover not in self._covers:
            return
        self._covers.remove(cover)
        # Those of a closed loop were left behind.
        self._covers = [each for each in self._covers if not each.loop.is_closed()]
        if not self._covers:
            self._handlers.give_back()

    def _told(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; anything may be going on in the main thread."""
        covers = [each for each in self._covers if each.loop.is_running()]
        if not covers:
            self._handlers.give_back()
            signal.raise_signal(number)
        elif all(each.is_told for each in covers):
            _end_at_once(number, frame)
        else:
            for each in covers:
                each.is_told = True
            for loop in {each.loop for each in covers}:
                loop.call_soon_threadsafe(self._stop, loop)

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop the servers on a loop."""
        by_task: dict[asyncio.Task[Any] | None, list[_TaskCover]] = {}
        waiting: set[object] = set()
        for each in self._covers:
            if each.loop is loop:
                by_task.setdefault(each.task, []).append(each)
                waiting |= each.server.told_to_stop()
        for task, covers in by_task.items():
            if task is None or task in waiting:
                continue
            for each in covers:
                each.ends_program = True
            # The drain of an inner block goes on to its end, which ends the outer one.
            if not any(each.is_leaving for each in covers):
                task.cancel()


_loop_signals = _LoopSignals()


def _is_pythons(handler: Any) -> bool:
    """Tell whether a handler is Python's own, or the default of the system."""
    return handler in (signal.SIG_DFL, signal.default_int_handler)


def _is_replaced_on_asyncio(handler: Any) -> bool:
    """Tell whether a handler is Python's, of ``asyncio.run``, or of a past reactor."""
    function = getattr(handler, "func", None)
    if getattr(function, "__module__", None) == "asyncio.runners":
        return True
    owner = getattr(handler, "__self__", None)
    # A reactor leaves its handlers behind when it has run.
    is_past = owner is not None and owner is _installed() and not owner.running
    return is_past or _is_pythons(handler)


class _TaskCover:
    """The cover of a server on asyncio, by the task that has entered its block.

    Args:
        server: The server.

    Attributes:
        ends_program: True if the program is to be ended after the drain.
        is_leaving: True once the block is left.
        is_told: True once a signal has come.
        loop: The loop.
        server: As above.
        task: The task; None outside of tasks.
    """

    def __init__(self, server: StoppableServer) -> None:
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task()
        self.ends_program = False
        self.is_leaving = False
        self.is_told = False
        _loop_signals.add(self)

    def leave(self) -> None:
        """Note that the block is left, whose drain no signal is to cancel."""
        self.is_leaving = True

    def end(self) -> bool:
        """End the cover, and return True if the program is to be ended now."""
        _loop_signals.remove(self)
        return self.ends_program
