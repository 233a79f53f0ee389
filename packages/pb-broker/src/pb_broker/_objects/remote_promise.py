"""This module has promises: answers that are called before they are known.

Theory of operation
-------------------
A promise is of a call, and stands for a part of its answer.  Where the dialect is
modern, the other end keeps the answer (:class:`PromisedAnswer`), so that a call of the
part is sent at once; elsewhere it waits here.  Which of both it is makes no difference
to a program, but for the time that it takes.
"""

from __future__ import annotations

from asyncio import _get_running_loop, isfuture
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Generic, Literal, TypeVar, overload

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pb_broker._dialects.message_codec import KEPT_ANSWER
from pb_broker._dialects.pb.messages import encoded_name
from pb_broker._dialects.pb2.kept_answers import followed, replaced
from pb_broker._event_loops.answers import Answer
from pb_broker._event_loops.asyncio_shell import AsyncioShell
from pb_broker._event_loops.shell import TWISTED, Shell, result_of
from pb_broker.errors import Error
from pb_jelly import Jellier, UnjellyableType, leaf_hook

from .passed import Passed
from .streams import RemoteStream
from .stubs import Caller, Stub, reference_of

__all__ = [
    "PromiseUnknown",
    "PromisedAnswer",
    "RemotePromise",
    "has_promises",
    "kept_call",
    "promised",
    "then",
    "with_promises_kept",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class PromiseUnknown(UnjellyableType):
    """A promise is in a value whose receiver does not have the answer.

    The value can be sent when the answer is known here.
    """


class PromisedAnswer:
    """The answer of one call, which promises are of.

    Args:
        session: The session that the call is made over.
        perspective: The perspective that calls of the answer are made for.
        answer: What becomes of the call.
        request: The number of the call, whose answer the other end keeps; None if it
            does not.

    Attributes:
        perspective: As above.
        request: As above.
        session: As above.
    """

    __slots__ = (
        *("__weakref__", "_answer", "_error", "_is_known", "_is_looked_at"),
        *("_value", "_waiting"),
        *("perspective", "request", "session"),
    )

    def __init__(
        self, session: Any, perspective: Any, answer: Any, request: int | None
    ) -> None:
        self.session = session
        self.perspective = perspective
        self.request = request
        self._is_known = False
        self._is_looked_at = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiting: list[Callable[[], None]] = []
        self._answer: Any = answer
        if isinstance(answer, Deferred):
            answer.addCallbacks(self._came, self._failed)
        else:
            answer.add_done_callback(self._done)

    def _came(self, value: Any) -> Any:
        self._value = value
        self._known()
        return value

    def _failed(self, failure: Failure) -> Failure:
        self._error = failure.value
        self._known()
        return failure

    def _done(self, answer: Any) -> None:
        if answer.cancelled():
            self._error = CancelledError()
        elif answer.exception() is None:
            self._value = answer.result()
        else:
            self._error = answer.exception()
        self._known()

    def _known(self) -> None:
        self._is_known = True
        answer: Any = self._answer
        if self._is_looked_at:
            self._answer = None
        elif getattr(answer, "promised", None) is self:
            # No promise was made of it, so that nothing has to be kept.
            answer.promised = None
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def looked_at(self) -> None:
        """Have its failure not be logged: a caller deals with it."""
        if not self._is_looked_at:
            self._is_looked_at = True
            answer = self._answer
            if self._is_known:
                self._answer = None
            self.session.broker.shell.ignore(answer)

    def cancel(self) -> None:
        """Forget the call."""
        answer = self._answer
        self.looked_at()
        if answer is not None:
            answer.cancel()

    async def known(self) -> Any:
        """Wait for the answer and return it.

        Raises:
            Exception: What the call has failed with.
        """
        self.looked_at()
        if not self._is_known:
            waiting, wake = self.session.broker.shell.waiter()
            self._waiting.append(wake)
            await waiting
        if self._error is not None:
            raise self._error
        return self._value

    @property
    def is_kept(self) -> bool:
        """True if the other end keeps the answer, so that calls of it can be sent."""
        return self.request is not None and not self.session.broker.disconnected

    def __del__(self) -> None:
        """Have the other end keep the answer no longer."""
        if self.request is not None:
            self.session.releases.add(self.request, KEPT_ANSWER)


class RemotePromise(Caller, Generic[_T_co]):
    """An answer that may be on its way, or a part of one.

    It can be awaited, for the value; called, for a method of the object that it will
    be; indexed, for a part of it; and passed as an argument, or in lists, tuples and
    dicts that are arguments.  In the dialect "pb2" a call of it takes no more time than
    a call of an object that is there already.

    Args:
        answer: The answer.
        keys: The indexes and keys of the part.
    """

    __slots__ = ("_answer", "_keys")

    def __init__(
        self, answer: PromisedAnswer, keys: tuple[int | str, ...] = ()
    ) -> None:
        self._answer = answer
        self._keys = keys

    def __await__(self) -> Generator[Any, Any, _T_co]:
        """Wait for the value; it may be awaited several times.

        Raises:
            Exception: What the call has failed with.
        """
        return self._known().__await__()

    async def _known(self) -> _T_co:
        value: _T_co = followed(await self._answer.known(), self._keys)
        return value

    def __getitem__(self, key: int | str) -> RemotePromise[Any]:
        """Return a promise of an item of a list or tuple, or of a value of a dict.

        Args:
            key: The index, from 0 on, or the key, a text.

        Raises:
            TypeError: The key is of another type.
            IndexError: The index is negative.
        """
        if type(key) not in (int, str):
            kind = type(key).__qualname__
            raise TypeError(f"a promise is indexed by an integer or a text, not {kind}")
        if isinstance(key, int) and not 0 <= key < 2**53:
            raise IndexError("a promise is indexed by integers from 0 to 2**53 - 1")
        return RemotePromise(self._answer, (*self._keys, key))

    #: Without this, ``in`` and ``for`` would try one index after the other, for ever.
    __iter__ = None
    __contains__ = None

    def __repr__(self) -> str:
        """Name the call and the part."""
        keys = "".join(f"[{key!r}]" for key in self._keys)[:200]
        return f"<RemotePromise of call {self._answer.request}{keys}>"

    def __reduce__(self) -> Any:
        """Refuse to be pickled: a promise is of no use on another connection."""
        raise TypeError("a promise cannot be pickled")

    @overload
    def callRemote(  # pyright: ignore[reportOverlappingOverload]
        self, _name: str | bytes, /, *args: Any, pbanswer: Literal[False], **kw: Any
    ) -> None: ...

    @overload
    def callRemote(
        self, _name: str | bytes, /, *args: Any, **kw: Any
    ) -> Answer[Any]: ...

    def callRemote(self, _name: str | bytes, /, *args: Any, **kw: Any) -> Any:
        """Call a method of the object that this will be; see `RemoteReference`.

        The call fails with the promise's own error if there is one, and with
        :class:`~pb_broker.Error` if the promise is of no object that can be called.
        """
        return self._call(_name, args, kw, False)

    def promise(
        self, _name: str | bytes, /, *args: Any, **kw: Any
    ) -> RemotePromise[Any]:
        """Call a method, and return a promise of its answer; see `RemoteReference`."""
        kw.pop("pbanswer", None)
        answer = self._call(_name, args, kw, True)
        return promised(self._answer.session, self._answer.perspective, answer)

    def _kept_call(self, _name: str, /, *args: Any, **kw: Any) -> Any:
        """Call a method of a stub, whose result may be called before it is there."""
        answer = self._call(_name, args, kw, True)
        return kept_call(self._answer.session, self._answer.perspective, answer)

    def stream(
        self, _name: str, /, *args: Any, batch: int = 100, **kw: Any
    ) -> RemoteStream[Any]:
        """Call a method that yields its results one by one; see `RemoteReference`."""
        return RemoteStream(lambda: self.callRemote(_name, *args, **kw), batch)

    def cancel(self) -> None:
        """Forget the call that the promise is of; see :class:`Answer`."""
        self._answer.cancel()

    def _call(
        self, name: str | bytes, args: tuple[Any, ...], kw: dict[str, Any], keep: bool
    ) -> Any:
        promised = self._answer
        promised.looked_at()
        session = promised.session
        if promised.is_kept:
            path = (promised.request, *self._keys)
            answer = session.broker._sendMessage(
                *(b"", promised.perspective, path, encoded_name(name), args, kw),
                keep=keep,
            )
            if answer is not None:
                # What is called is not let go of before the call has been answered.
                answer.called_on = promised
            return answer
        shell = session.broker.shell
        answer = shell.given(shell.run(self._call_later(name, args, kw)))
        if kw.get("pbanswer", True):
            return answer
        shell.ignore(answer)
        return None

    async def _call_later(
        self, name: str | bytes, args: tuple[Any, ...], kw: dict[str, Any]
    ) -> Any:
        """Call the object when it is known here."""
        found: Any = await self._known()
        call = getattr(found, "callRemote", None)
        if call is None:
            kind = type(found).__qualname__
            raise Error(f"the promise is of a {kind}, which cannot be called")
        answer = call(name, *args, **kw)
        return None if answer is None else await answer

    # As a value

    def path_for(self, session: Any) -> Any:
        """Return what stands for this in a message of "pb2".

        Args:
            session: The session that the message is of.

        Raises:
            PromiseUnknown: The other end does not have the answer.
        """
        answer = self._answer
        answer.looked_at()
        if answer.session is not session or not answer.is_kept:
            raise PromiseUnknown("a promise whose answer is not known here yet")
        return [answer.request, *self._keys] if self._keys else answer.request

    @leaf_hook
    def jellyFor(self, jellier: Jellier) -> Any:
        """Refuse: in "pb" the answer has to be known first.

        Raises:
            PromiseUnknown: In any case.
        """
        raise PromiseUnknown("a promise whose answer is not known here yet")


def promised(session: Any, perspective: Any, answer: Any) -> RemotePromise[Any]:
    """Return a promise of the answer of a call.

    Args:
        session: The session that the call was made over.
        perspective: The perspective that calls of the answer are made for.
        answer: What becomes of the call.
    """
    request = answer.request if getattr(answer, "is_kept", False) else None
    return RemotePromise(PromisedAnswer(session, perspective, answer, request))


def kept_call(session: Any, perspective: Any, answer: Any) -> Any:
    """Return the answer of a call, of which a promise can be made as long as it waits.

    Args:
        session: The session that the call was made over.
        perspective: The perspective that calls of the answer are made for.
        answer: What becomes of the call.
    """
    if getattr(answer, "is_kept", False):
        answer.promised = PromisedAnswer(session, perspective, answer, answer.request)
    return answer


class _Loop:
    """Stands for the session and the broker of an answer that is waited for here.

    Args:
        shell: The event loop.
    """

    __slots__ = ("broker", "disconnected", "shell")

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.broker = self
        self.disconnected = True


def _of_awaitable(answer: Any) -> PromisedAnswer:
    """Return the answer of any call or coroutine, which is waited for here."""
    loop = _get_running_loop()
    shell: Shell
    if isinstance(answer, Deferred) or loop is None:
        shell = TWISTED
    else:
        shell = AsyncioShell(loop)
    if not isinstance(answer, Deferred) and not isfuture(answer):
        answer = shell.given(shell.run(result_of(answer)))
    return PromisedAnswer(_Loop(shell), None, answer, None)


@overload
def then(answer: Awaitable[Passed[_T]]) -> _T: ...
@overload
def then(answer: Awaitable[_T]) -> _T: ...
@overload
def then(answer: Awaitable[Any], interface: Callable[..., _T]) -> _T: ...


def then(answer: Any, interface: Any = None) -> Any:
    """Return an object with the methods of an answer that is on its way.

    The methods can be called at once, and the object be passed on as an argument::

        user = pb.then(directory.lookup("alice"))
        print(await user.name())

    Where the answer is of a call of a stub, whose interface says what the method gives,
    and both ends speak "pb2", both calls take the time of one.

    Args:
        answer: The call.
        interface: The interface of the answer; None if the call's own says it, as that
            of ``async def lookup(self, name: str) -> pb.RemoteReference[User]``.

    Raises:
        TypeError: The interface is not known, or the argument is no call.
    """
    if interface is None:
        interface = getattr(answer, "interface", None)
    if interface is None:
        raise TypeError(
            "the interface of the answer is not known: name it, as in "
            "pb.then(call, User), or call reference.promise(name, ...)"
        )
    if isinstance(answer, RemotePromise):
        return answer.stub(interface)
    if not hasattr(type(answer), "__await__"):
        raise TypeError(f"a {type(answer).__qualname__} is no call")
    held = getattr(answer, "promised", None)
    if held is None:
        held = _of_awaitable(answer)
    return RemotePromise(held).stub(interface)


def has_promises(args: tuple[Any, ...], kw: dict[str, Any]) -> bool:
    """Tell whether promises are arguments, or in lists, tuples and dicts that are.

    Args:
        args: The positional arguments.
        kw: The keyword arguments.
    """
    return bool(_promises_in((args, kw)))


def _promises_in(value: Any) -> list[tuple[Any, RemotePromise[Any]]]:
    """Return the promises in lists, tuples and dicts, and what stands for each."""
    promises: list[tuple[Any, RemotePromise[Any]]] = []

    def find(value: Any) -> Any:
        promise = _promise_of(value)
        if promise is not None:
            promises.append((value, promise))
        return value

    replaced(value, find, set())
    return promises


def _promise_of(value: Any) -> RemotePromise[Any] | None:
    """Return the promise that a value is, or is a stub of; None for another value."""
    if isinstance(value, Stub):
        value = reference_of(value)
    return value if isinstance(value, RemotePromise) else None


async def with_promises_kept(
    args: tuple[Any, ...], kw: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Wait for all promises in arguments, and return the arguments with their values.

    Args:
        args: The positional arguments.
        kw: The keyword arguments.

    Raises:
        Exception: What one of the calls has failed with.
    """
    known: dict[int, Any] = {}
    for value, promise in _promises_in((args, kw)):
        known[id(value)] = await promise
    # Copies: the caller's own lists and dicts are not to be changed.
    found: tuple[tuple[Any, ...], dict[str, Any]] = _copied((args, kw), known, {})
    return found


def _copied(value: Any, known: Mapping[int, Any], made: dict[int, Any]) -> Any:
    """Return a value with the values of promises in their places.

    Args:
        value: The value: lists, tuples and dicts in it are copied.
        known: The values of promises, by their ids.
        made: The copies of lists and dicts, by the ids of the originals.
    """
    kind = type(value)
    if kind is tuple:
        return tuple(_copied(each, known, made) for each in value)
    if kind is not list and kind is not dict:
        return known.get(id(value), value)
    copy: Any = made.get(id(value))
    if copy is None:
        copy = made[id(value)] = kind()
        if kind is list:
            copy.extend(_copied(each, known, made) for each in value)
        else:
            for key, each in value.items():
                copy[key] = _copied(each, known, made)
    return copy
