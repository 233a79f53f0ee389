"""This module carries failures from one end of a connection to the other.

On the wire an exception is a *copyable failure*: the names of its class and of that
class's bases, its text, and perhaps a traceback.  No class is made or imported for a
name that a peer sent: the name is looked up in the table of exceptions that are known
here (builtin ones, PB's own, and those that the program registered).

PB's own exceptions keep their published names on the wire
(``twisted.spread.pb.Error`` ...), so that ``failure.trap(pb.NoSuchMethod)`` works with
every implementation at the other end.
"""

from __future__ import annotations

import builtins
import inspect
from functools import cached_property
from typing import Any, ClassVar, Final, TextIO

from twisted.python import log
from twisted.python.failure import Failure

from pb_banana import BananaError
from pb_broker._dialects.pb.messages import COPYABLE_FAILURE
from pb_broker._errors.exception_copies import native_base
from pb_broker._errors.exception_details import (
    MAX_NAME,
    MAX_PARENTS,
    MAX_TEXT,
    PART_NAMES,
    Details,
    cut,
    details_of,
    full_text,
    message_of,
    named,
    set_details,
    take_details,
)
from pb_broker.errors import (
    ClosingDown,
    DeadReferenceError,
    Error,
    InvalidArgument,
    NoSuchMethod,
    NotExecuted,
    PBConnectionLost,
    ProtocolError,
    RemoteError,
)
from pb_jelly import InsecureJelly, MalformedJelly, Unjellier, qual
from pb_jelly.codec import visible

from .copyable import Copyable, RemoteCopy, attributes_of

__all__ = [
    "WIRE_NAME",
    "CopiedFailure",
    "CopyableFailure",
    "failure2Copyable",
    "is_refused",
    "register_exception",
    "remote_error",
    "wire_name",
]

WIRE_NAME = COPYABLE_FAILURE
NO_TRACEBACK = "Traceback unavailable\n"

#: Longest text of an exception, and of a traceback, that is received, in characters:
#: some peers send more than :data:`MAX_TEXT`.
MAX_RECEIVED_TEXT: Final = 65_536

_WIRE_NAMES: dict[type, str] = {
    Error: "twisted.spread.pb.Error",
    ProtocolError: "twisted.spread.pb.ProtocolError",
    DeadReferenceError: "twisted.spread.pb.DeadReferenceError",
    PBConnectionLost: "twisted.spread.pb.PBConnectionLost",
    RemoteError: "twisted.spread.pb.RemoteError",
    NoSuchMethod: "twisted.spread.flavors.NoSuchMethod",
    InsecureJelly: "twisted.spread.jelly.InsecureJelly",
    BananaError: "twisted.spread.banana.BananaError",
}


def wire_name(cls: type) -> str:
    """Return the name of an exception class on the wire.

    Args:
        cls: The class.

    Returns:
        Its full name; for the classes that PB has published, the published one.
    """
    return _WIRE_NAMES.get(cls) or qual(cls)


_GROUP: Final[Any] = getattr(builtins, "ExceptionGroup", None)
#: Builtin exceptions that no remote exception becomes an instance of.  Two of them
#: would end a loop at the caller; the others are no errors of a call, or have a state
#: of their own.
_UNUSABLE: Final = (StopIteration, StopAsyncIteration, SyntaxError, Warning)


def _known_exceptions() -> dict[str, type[Exception]]:
    known: dict[str, type[Exception]] = {
        wire_name(cls): cls
        for cls in (
            *(BananaError, ClosingDown, InsecureJelly),
            *(InvalidArgument, NoSuchMethod, NotExecuted, ProtocolError),
        )
    }
    for value in vars(builtins).values():
        if (
            isinstance(value, type)
            and issubclass(value, Exception)
            and value not in (Exception, _GROUP)
            and not issubclass(value, _UNUSABLE)
        ):
            known[f"builtins.{value.__name__}"] = value
            # The name at peers on Python 2.
            known[f"exceptions.{value.__name__}"] = value
    return known


class _ErrorClasses:
    """The table of remote classes, and a class of RemoteError for each one needed."""

    def __init__(self) -> None:
        self._known = _known_exceptions()
        self._made: dict[type[Exception], type[RemoteError]] = {}

    def register(self, cls: type[Exception], name: str) -> None:
        self._known[name] = cls

    def known(self, name: str) -> type[Exception] | None:
        """Return the class of a name on the wire; None if it is not known here."""
        return self._known.get(name)

    def find(self, names: tuple[str, ...], is_group: bool) -> type[RemoteError]:
        """Return the class for an exception, by the names of its class and bases."""
        for name in names:
            cls = self._known.get(name)
            if cls is not None:
                return self._made.get(cls) or self._make(cls)
        if is_group and _GROUP is not None:
            return self._made.get(_GROUP) or self._make(_GROUP)
        return RemoteError

    def _make(self, cls: type[Exception]) -> type[RemoteError]:
        made = type(
            f"Remote{cls.__name__}",
            (RemoteError, cls),
            {
                "__doc__": f"A {cls.__name__} that was raised at the other end.",
                "__module__": __name__,
                "__reduce__": _reduced,
            },
        )
        self._made[cls] = made
        return made


_classes = _ErrorClasses()


def register_exception(
    cls: type[Exception], name: str | None = None
) -> type[Exception]:
    """Register an exception class, so that remote exceptions of it are caught by it.

    The RemoteError that is raised here for one is then also an instance of ``cls``,
    made without calling ``cls.__new__`` or ``cls.__init__``: it has the text, and no
    other state but that of a builtin base, such as ``errno``.  Can be used as a
    decorator.

    Args:
        cls: The exception class.
        name: Its full name at the other end; None for the name that it has here.

    Returns:
        ``cls``.

    Raises:
        TypeError: ``cls`` is no subclass of Exception.
    """
    given: Any = cls
    if not (isinstance(given, type) and issubclass(given, Exception)):
        raise TypeError("only subclasses of Exception can be registered")
    _classes.register(cls, wire_name(cls) if name is None else name)
    return cls


def remote_error(
    type_name: str | bytes,
    text: str,
    traceback: str = NO_TRACEBACK,
    parents: tuple[str, ...] = (),
    details: Details | None = None,
) -> RemoteError:
    """Return the exception to raise here for an exception of the other end.

    Args:
        type_name: Full name of the remote class, for ``RemoteError.remoteType``.
        text: The remote exception's text.
        traceback: The remote traceback.
        parents: Full names of the remote class and its bases, nearest first.
        details: Parts of the remote exception; None for the text alone.

    Returns:
        A RemoteError; it is an instance of the nearest known class too.
    """
    details = {} if details is None else details
    members = [_inner_error(each) for each in details.get("exceptions", ())]
    error = _blank(type_name, parents, details.get("message", text), members)
    RemoteError.__init__(error, type_name, text, traceback, parents)
    if members and not _is_group(error):
        # Python 3.10 has no class of groups.
        error.exceptions = tuple(members)  # type: ignore[attr-defined]
    set_details(error, details, _inner_error)
    return error


def _inner_error(described: Details) -> RemoteError:
    """Return the exception of an entry within another: a member or a cause."""
    return remote_error(
        described["type"],
        described["value"],
        parents=described["parents"],
        details=described["details"],
    )


def _is_group(error: RemoteError) -> bool:
    return _GROUP is not None and isinstance(error, _GROUP)


def _blank(
    type_name: str | bytes,
    parents: tuple[str, ...],
    message: str,
    members: list[RemoteError],
) -> RemoteError:
    """Return a blank exception of the nearest known class."""
    name = (
        type_name.decode("utf-8", "replace")
        if isinstance(type_name, bytes)
        else type_name
    )
    cls = _classes.find((name, *parents), bool(members))
    if _GROUP is not None and issubclass(cls, _GROUP):
        if not members:
            # Python has no empty groups.
            return RemoteError.__new__(RemoteError)
        group: RemoteError = _GROUP.__new__(cls, message, members)
        return group
    # Constructors of the class are not called: they may have other parameters.
    error: RemoteError = native_base(cls).__new__(cls)
    return error


#: Errors of a call that a method has made itself.  Their promise about that call does
#: not hold for the method, but their names are published, and peers look for them.
_OUTCOMES = (DeadReferenceError, PBConnectionLost)
#: Beginning of the names, on the wire, of errors that promise whether a call was
#: executed.
_OWN = f"{NotExecuted.__module__}."


def _name_text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _without_promise(names: list[str]) -> list[str]:
    """Return the names of a remote class and its bases without those that promise.

    A method that has begun may fail with the error of a call of its own, which promises
    that it was not executed; for the method's caller that is not true.

    Args:
        names: The full names, nearest first.
    """
    last = -1
    for number, name in enumerate(names):
        cls = _classes.known(name)
        if name == wire_name(NotExecuted) or (
            cls is not None and issubclass(cls, NotExecuted)
        ):
            last = number
    return names[last + 1 :] or [wire_name(Error)]


def _reduced(error: RemoteError) -> Any:
    """Return the function, arguments and state that restore a made class."""
    state = dict(vars(error))
    state["args"] = error.args
    state["__cause__"] = error.__cause__
    for part in PART_NAMES:
        value = getattr(error, part, None)
        if value is not None:
            state[part] = value
    members = list(getattr(error, "exceptions", ()))
    message = str(getattr(error, "message", ""))
    return _restored, (error.remoteType, error.remote_parents, message, members), state


def _restored(
    type_name: str | bytes,
    parents: tuple[str, ...],
    message: str,
    members: list[RemoteError],
) -> RemoteError:
    """Return a blank exception from a pickle, for its state to be set.

    A process that has not registered the class takes the nearest one that it knows.
    """
    return _blank(type_name, parents, message, members)


def _sendable(text: str) -> str:
    # A lone surrogate cannot be sent.
    return cut(text, MAX_TEXT).encode("utf-8", "replace").decode()


def _blank_failure(cls: type[Failure]) -> Failure:
    """Return a blank failure from a pickle, for its state to be set."""
    return cls.__new__(cls)


class CopyableFailure(Failure, Copyable):
    """A Failure that goes to a peer as a copy.

    Args:
        x: A Failure, a :class:`CopiedFailure` or an exception; None for the exception
            that is being handled.

    Attributes:
        type: Class of the exception.
        value: The exception; ``str()`` of it is the message.
        explains: True to send notes, members of a group and causes, in the text and as
            named parts.
        unsafeTracebacks: True to send the traceback, which discloses paths and source
            lines of this program.
    """

    unsafeTracebacks: Any = False
    explains: bool = True

    def __init__(self, x: Any = None) -> None:
        Failure.__init__(self, x.value if isinstance(x, CopiedFailure) else x)
        #: Type, parents and traceback of a failure that came from a peer; None for a
        #: failure of this process.
        self._forwarded: tuple[bytes, list[str], str] | None = None
        value = self.value
        if isinstance(value, RemoteError):
            name, parents = named(value, wire_name)
            self._forwarded = name.encode(), parents, value.remoteTraceback

    @cached_property
    def traceback(self) -> str:
        """Text of the traceback; for a failure that came from a peer, the peer's."""
        if self._forwarded is not None:
            return self._forwarded[2]
        text: str = self.getTraceback()
        return text

    def getTypeToCopy(self) -> bytes:
        """Return the name of a copyable failure on the wire."""
        return WIRE_NAME

    def getStateToCopy(self) -> dict[str, Any]:
        """Return the state for the peer, of names and texts alone."""
        if self._forwarded is not None:
            name, parents, traceback = self._forwarded
            if isinstance(self.value, NotExecuted):
                parents = _without_promise([_name_text(name), *parents])
                name = parents[0].encode()
        else:
            cls: Any = self.type
            parents = [wire_name(base) for base in inspect.getmro(cls)]
            if issubclass(cls, _OUTCOMES):
                parents = [each for each in parents if not each.startswith(_OWN)]
            name = parents[0].encode()
            traceback = _sendable(self.getTraceback()) if self.unsafeTracebacks else ""
        if not self.unsafeTracebacks:
            # Nor is a peer's traceback shown to another peer.
            traceback = NO_TRACEBACK
        value = self.value
        text = full_text(value) if self.explains else message_of(value)
        # Legacy peers set each of these as an attribute of a Failure.
        state = {
            "count": self.count,
            "type": name,
            "value": _sendable(text),
            "captureVars": False,
            "tb": None,
            "pickled": 1,
            "parents": parents,
            "frames": [],
            "stack": [],
            "traceback": traceback,
        }
        details = details_of(value, wire_name) if self.explains else {}
        if details:
            state["details"] = details
        return state

    def __reduce__(self) -> Any:
        """Return the function and state that restore this class, not a Failure."""
        state: Any = Failure.__getstate__(self)
        return _blank_failure, (type(self),), state

    def check(self, *errorTypes: Any) -> Any:
        """Return the first of ``errorTypes`` that this failure is, or None."""
        if self._forwarded is not None:
            return _check(set(self._forwarded[1]), self.value, errorTypes)
        return Failure.check(self, *errorTypes)


def _check(names: set[str], value: Any, error_types: tuple[Any, ...]) -> Any:
    for wanted in error_types:
        if inspect.isclass(wanted):
            if wire_name(wanted) in names or qual(wanted) in names:
                return wanted
            # trap() has to agree with an except clause for the exception raised here.
            if isinstance(value, wanted):
                return wanted
        elif wanted in names:
            return wanted
    return None


class CopiedFailure(RemoteCopy, Failure):
    """A failure that happened at the other end.

    Attributes:
        type: Full name of the remote class, as the peer sent it (``bytes``).
        value: The :class:`~pb_broker.RemoteError` that is raised here for it.
        traceback: The remote traceback as text.
        parents: Full names of the remote class and its bases.
    """

    remote_type_bytes: ClassVar[bool] = False

    # Annotated anew: Failure's annotations are those of a failure of this process.
    type: Any
    value: Any
    traceback: str

    def __init__(self) -> None:
        # Instances are blanks that setCopyableState fills.
        raise TypeError("a CopiedFailure comes from the wire")

    def setCopyableState(self, state: Any) -> None:
        """Set the parts of a failure from the peer's state, and ignore all others.

        Raises:
            MalformedJelly: The state is not a failure's.
        """
        attributes = attributes_of(state)
        kind = attributes.get("type")
        if isinstance(kind, str):
            kind = kind.encode()
        value = attributes.get("value")
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        traceback = attributes.get("traceback", NO_TRACEBACK)
        parents = attributes.get("parents", [])
        if not isinstance(kind, bytes) or not isinstance(value, str):
            raise MalformedJelly("a failure is the name of a class and a text")
        if not isinstance(traceback, str) or not isinstance(parents, (list, tuple)):
            raise MalformedJelly("a failure's traceback is text, its parents are names")
        names = [
            name.decode("utf-8", "replace") if isinstance(name, bytes) else name
            for name in parents[:MAX_PARENTS]
        ]
        if not all(isinstance(name, str) for name in names):
            raise MalformedJelly("a failure's parents are names")
        details = take_details(attributes.get("details", {}))
        # Bounded, for all of it may be logged, and passed on to other peers.
        names = [name[:MAX_NAME] for name in names]
        kind = kind[:MAX_NAME]
        traceback = cut(traceback, MAX_RECEIVED_TEXT)
        type_name = kind.decode("utf-8", "replace")
        error = remote_error(
            kind if self.remote_type_bytes else type_name,
            cut(value, MAX_RECEIVED_TEXT),
            traceback,
            tuple(names),
            details,
        )
        self.__dict__ = {
            "count": 0,
            "type": kind,
            "value": error,
            "traceback": traceback,
            "tb": None,
            "captureVars": False,
        }
        self.parents = names
        # The traceback comes as text, without frames.
        self.frames: list[Any] = []

    def unjellyFor(self, unjellier: Unjellier, jellyList: list[Any]) -> Any:
        """Fill this blank instance from ``jellyList`` and return it."""
        if len(jellyList) != 2:
            raise MalformedJelly("a failure is its type and its state")
        unjellier.unjelly_state(jellyList[1], self.setCopyableState)
        return self

    def check(self, *errorTypes: Any) -> Any:
        """Return the first of ``errorTypes`` that the remote exception is, or None.

        Args:
            *errorTypes: Classes, or full names of classes.
        """
        names: Any = self.parents
        return _check(set(names), self.value, errorTypes)

    def cleanFailure(self) -> None:
        """Drop the frames of this process that the exception was raised through."""
        self.value.__traceback__ = None

    def __reduce__(self) -> Any:
        """Return the function and state that restore this class, not a Failure."""
        return _blank_failure, (type(self),), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state, which is all the peer's."""
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        """Set the state of a pickle."""
        self.__dict__.update(state or {})

    def printTraceback(
        self,
        file: TextIO | None = None,
        elideFrameworkCode: object = False,
        detail: str = "default",
    ) -> None:
        """Write one line on the remote failure, with the peer's text escaped.

        Args:
            file: The file to write to; None for the log.
            elideFrameworkCode: Ignored; Failure has it.
            detail: Ignored; Failure has it.
        """
        out: Any = log.logfile if file is None else file
        name = visible(self.type.decode("utf-8", "replace"))
        text = visible(str(self.value))
        out.write(f"Traceback from remote host -- {name}: {text}\n")

    def printBriefTraceback(
        self, file: TextIO | None = None, elideFrameworkCode: object = False
    ) -> None:
        """Write the same as :meth:`printTraceback`."""
        self.printTraceback(file)

    def printDetailedTraceback(
        self, file: TextIO | None = None, elideFrameworkCode: object = False
    ) -> None:
        """Write the same as :meth:`printTraceback`."""
        self.printTraceback(file)

    def __repr__(self) -> str:
        """Name the remote class."""
        return f"<CopiedFailure {self.type[:100]!r}>"


def failure2Copyable(
    fail: Failure, unsafeTracebacks: object = False
) -> CopyableFailure:
    """Return a Failure that can be sent.

    Args:
        fail: Any Failure.
        unsafeTracebacks: True to send its traceback.
    """
    copyable = CopyableFailure(fail)
    copyable.unsafeTracebacks = unsafeTracebacks
    return copyable


def is_refused(error: object) -> bool:
    """Return True for an error that is meant for the caller, and is no defect here."""
    return isinstance(error, Error) and not isinstance(
        error, (DeadReferenceError, PBConnectionLost, RemoteError)
    )
