"""This module has the group, the listeners at the other ends of many connections.

Theory of operation
-------------------
A group calls its members by one call to many, which serializes the arguments once for
all whose connections would write the same bytes.

A member that takes in less than it is sent would have the rest kept here.  So before
each call the bytes that wait for a member are counted: with more than the backlog, the
call does not go to that member, which has missed it and leaves the group.  Where a call
that is missed does no harm, the member may stay, to get later ones when it has caught
up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pb_broker._dialects.pb.messages import encoded_name
from pb_broker._event_loops.answers import Answer
from pb_broker._event_loops.asyncio_shell import AsyncioShell
from pb_broker._event_loops.clock import clock_of
from pb_broker._event_loops.shell import TWISTED, Shell, as_deferred
from pb_broker._objects.remote_reference import RemoteReference
from pb_broker._session.fan_out import FanOut
from pb_broker.errors import (
    CallTimeout,
    DeadReferenceError,
    ProtocolError,
    SlowMember,
    shown_name,
)

from .argument_checks import checked_options
from .running_loop import running_asyncio_loop

__all__ = ["Group", "GroupAnswers"]

_Interface = TypeVar("_Interface")

#: Default for the most bytes that wait for a member.
_BACKLOG: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GroupAnswers(Generic[_Interface]):
    """The answers to a call of all members of a group.

    Attributes:
        results: The result of each member that has answered.
        failures: The exception of each other member: its own, as a
            :class:`~pb_broker.RemoteError`; :class:`~pb_broker.CallTimeout`;
            :class:`~pb_broker.SlowMember`; or that of a lost connection.
    """

    results: dict[RemoteReference[_Interface], Any] = field(default_factory=dict)
    failures: dict[RemoteReference[_Interface], Exception] = field(default_factory=dict)


class Group(Generic[_Interface]):
    """References of many peers, which are called together.

    For example, in a server::

        listeners = pb.Group()

        class Chat(pb.Root):
            def remote_join(self, listener):
                listeners.add(listener)

            def remote_say(self, text):
                listeners.tell("hear", text)

    A member leaves the group when its connection ends.  ``len()`` gives the number of
    members, iteration the references in the order in which they came.

    Args:
        timeout: Seconds in which members have to answer a :meth:`call`; None for any
            time.
        backlog: Most bytes that wait to be taken in by a member: one with more does
            not get the next call.
        keeps_slow: True to keep a member in the group that has missed a call; False to
            remove it.
        on_removed: Called with the reference and the reason when a member is lost: a
            :class:`~pb_broker.DeadReferenceError`, or a
            :class:`~pb_broker.SlowMember`.  None for no notice.

    Raises:
        TypeError: A number is none.
        ValueError: A number is negative.
    """

    def __init__(
        self,
        *,
        timeout: float | None = 30.0,
        backlog: int = _BACKLOG,
        keeps_slow: bool = False,
        on_removed: Callable[[RemoteReference[_Interface], Exception], object]
        | None = None,
    ) -> None:
        checked_options(timeout=timeout)
        given: Any = backlog
        if type(given) is not int:
            raise TypeError("the backlog is a number of bytes")
        if backlog < 0:
            raise ValueError("the backlog is a number of bytes, and not negative")
        self.timeout = timeout
        self.backlog = backlog
        self.keeps_slow = keeps_slow
        self.on_removed = on_removed
        # The members; the values are not used.
        self._members: dict[RemoteReference[_Interface], None] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[RemoteReference[_Interface]]:
        # A copy: a member may leave meanwhile.
        return iter(list(self._members))

    def __contains__(self, reference: object) -> bool:
        return reference in self._members

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}>"

    def add(self, reference: RemoteReference[_Interface]) -> None:
        """Add a member; no effect for one that there is.

        Args:
            reference: The reference to the member.

        Raises:
            DeadReferenceError: Its connection is gone.
            TypeError: It is no reference.
        """
        given: Any = reference
        if not isinstance(given, RemoteReference):
            raise TypeError(
                "members are references to objects at other ends of connections; of a"
                " stub, pb.reference_of(stub) is the reference"
            )
        if reference not in self._members:
            reference.notifyOnDisconnect(self._lost)
            self._members[reference] = None

    def discard(self, reference: RemoteReference[_Interface]) -> None:
        """Remove a member; no effect for another reference.

        Args:
            reference: A reference to the member, or one that is equal to it.
        """
        for member in self:
            # The notice is registered with the reference that was added.
            if member == reference:
                del self._members[member]
                member.dontNotifyOnDisconnect(self._lost)

    def clear(self) -> None:
        """Remove all members."""
        for member in self:
            self.discard(member)

    def _lost(self, member: RemoteReference[Any]) -> None:
        """Forget a member whose connection is lost."""
        if member in self._members:
            del self._members[member]
            if self.on_removed is not None:
                self.on_removed(member, member.broker.gone())

    def call(
        self, _name: str | bytes, /, *args: Any, **kw: Any
    ) -> Answer[GroupAnswers[_Interface]]:
        """Call a method of each member.

        The calls are made at once; a member that joins later gets none.

        Args:
            _name: The method's name, without its prefix at the other ends.
            *args: Its positional arguments.
            **kw: Its keyword arguments.

        Returns:
            An :class:`Answer`, to be awaited: :class:`GroupAnswers`, when each member
            has answered, is lost or has had its time.  It does not fail; cancelling it
            forgets the calls.

        Raises:
            TypeError: The name is no text, or an answer is declined.
            WrongThread: This is another thread than that of a member's event loop.
        """
        name = encoded_name(_name)
        if "pbanswer" in kw:
            raise TypeError("call() is for answers; tell() is for calls without them")
        fan_out = FanOut(name, args, kw, True)
        calls = _GroupCall[_Interface]()
        members = list(self)
        for member in members:
            slow = self._slow(member)
            if slow is not None:
                calls.answers.failures[member] = slow
                continue
            try:
                answer = fan_out.send(member)
            except (DeadReferenceError, ProtocolError) as error:
                calls.answers.failures[member] = error
                continue
            calls.open[member] = as_deferred(answer)
        shell = members[0].broker.shell if members else _running_shell()
        if members and self.timeout is not None:
            clock = clock_of(members[0].broker)
            late = CallTimeout(shown_name(name), self.timeout)
            calls.timer = clock.callLater(self.timeout, calls.give_up, late)
        calls.begin()
        given: Answer[GroupAnswers[_Interface]] = shell.given(calls.done)
        return given

    def tell(self, _name: str | bytes, /, *args: Any, **kw: Any) -> int:
        """Call a method of each member, without answers.

        Args:
            _name: The method's name, without its prefix at the other ends.
            *args: Its positional arguments.
            **kw: Its keyword arguments.

        Returns:
            The number of members that the call was sent to.

        Raises:
            Exception: The arguments cannot be sent to a member; all others have been
                told.
            TypeError: The name is no text.
            WrongThread: This is another thread than that of a member's event loop.
        """
        kw.pop("pbanswer", None)
        fan_out = FanOut(encoded_name(_name), args, kw, False)
        told = 0
        unsent: Exception | None = None
        for member in self:
            if self._slow(member) is not None:
                continue
            try:
                answer = fan_out.send(member)
            except DeadReferenceError:
                # It is about to leave.
                continue
            error = None if answer is None else _error_of(answer)
            if error is None:
                told += 1
            else:
                unsent = unsent or error
        if unsent is not None:
            raise unsent
        return told

    def _slow(self, member: RemoteReference[_Interface]) -> SlowMember | None:
        """Return the error of a member with too many bytes waiting; None for others."""
        broker = member.broker
        waiting = broker.outbox.waiting()
        if waiting <= self.backlog:
            return None
        slow = SlowMember(waiting, self.backlog)
        if not self.keeps_slow and member in self._members:
            self.discard(member)
            if self.on_removed is not None:
                broker.peer_log.run(self.on_removed, member, slow)
        return slow


class _GroupCall(Generic[_Interface]):
    """A call of all members, until the last of them has answered.

    Attributes:
        answers: The answers that have come.
        done: Deferred of the answers.
        open: The calls without an answer, by member.
        timer: The timer of the time limit; None for none.
    """

    def __init__(self) -> None:
        self.answers: GroupAnswers[_Interface] = GroupAnswers()
        self.open: dict[RemoteReference[_Interface], Deferred[Any]] = {}
        self.done: Deferred[GroupAnswers[_Interface]] = Deferred(self._forget)
        self.timer: Any = None

    def begin(self) -> None:
        """Wait for the answers."""
        for member, answer in list(self.open.items()):
            answer.addBoth(self._ended, member)
        self._look()

    def _ended(self, result: Any, member: RemoteReference[_Interface]) -> None:
        if self.open.pop(member, None) is None:
            # Its time was up.
            return
        if isinstance(result, Failure):
            error: Any = result.value
            self.answers.failures[member] = error
        else:
            self.answers.results[member] = result
        self._look()

    def _look(self) -> None:
        """End the call if no answer is left to wait for."""
        if self.open or self.done.called:
            return
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.done.callback(self.answers)

    def give_up(self, error: CallTimeout) -> None:
        """Wait no longer.

        Args:
            error: The failure of each member that has not answered.
        """
        self.answers.failures.update(dict.fromkeys(self.open, error))
        self._cancel()
        self._look()

    def _cancel(self) -> None:
        still, self.open = self.open, {}
        for answer in still.values():
            answer.cancel()

    def _forget(self, done: object) -> None:
        """Forget the calls: the answers are not wanted any more."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self._cancel()


def _error_of(answer: Answer[Any]) -> Exception | None:
    """Return the error of a call that could not be sent; None if it will be sent."""
    untyped: Any = answer
    if not isinstance(untyped, Deferred):
        failed: Exception | None = untyped.exception() if untyped.done() else None
        return failed
    found: list[Any] = []
    untyped.addErrback(found.append)
    error: Exception | None = found[0].value if found else None
    return error


def _running_shell() -> Shell:
    """Return a shell for the running loop."""
    loop = running_asyncio_loop()
    return TWISTED if loop is None else AsyncioShell(loop)
