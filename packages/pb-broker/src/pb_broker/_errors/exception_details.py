"""This module has the exception details: the full text, and the named parts.

The dialect "pb" has one text for an exception, so the text has all of it: notes, the
members of a group and causes follow the message, each on a line of its own.  Besides,
the parts that a program may ask for by name (``errno``, ``__notes__``, ``exceptions``,
``__cause__``) go as data under the key ``details``, which older peers ignore.

All of it is bounded, in number, in depth and in characters.  Only the parts that the
author of the exception put into it are sent: the implicit ``__context__`` stays here,
and so does a file name that the message does not have.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Any, Final

from pb_banana import BananaError
from pb_broker.errors import RemoteError
from pb_jelly import JellyError, MalformedJelly, qual

from .call_endings import ENDINGS
from .caught_failure import class_name

__all__ = [
    "MAX_NAME",
    "MAX_PARENTS",
    "MAX_TEXT",
    "PART_NAMES",
    "Details",
    "attribute_of",
    "cut",
    "details_of",
    "full_text",
    "message_of",
    "named",
    "set_details",
    "take_details",
]

#: The entry ``details`` of a failure's state: the parts of an exception, by name.
Details = dict[str, Any]

#: Longest text of an exception that is sent, in characters.
MAX_TEXT: Final = 16_384
#: Most class names in a received failure, and their greatest length in characters.
MAX_PARENTS: Final = 64
MAX_NAME: Final = 1024

#: Most notes of one exception, most members of one group, and most levels of groups
#: and causes within each other.  A level takes five levels of lists on the wire.
_MOST_NOTES: Final = 16
_MOST_MEMBERS: Final = 16
_MOST_LEVELS: Final = 4
#: Most exceptions within one, and most characters of one part.
_MOST_EXCEPTIONS: Final = 32
_MOST_PART: Final = 1024

#: Named parts by class of exception, with their types.
_PARTS: Final[dict[type[Exception], dict[str, tuple[type, ...]]]] = {
    OSError: {
        "errno": (int,),
        "strerror": (str,),
        "filename": (str, bytes, int),
        "filename2": (str, bytes, int),
    },
    ImportError: {"name": (str,)},
    UnicodeError: {
        "encoding": (str,),
        "start": (int,),
        "end": (int,),
        "reason": (str,),
    },
}
_ALL_PARTS: Final = {
    part: types for parts in _PARTS.values() for part, types in parts.items()
}
#: Names of all parts.
PART_NAMES: Final = tuple(_ALL_PARTS)
#: Most bits of a numeric part: a larger number does not fit into some exceptions.
_MOST_BITS: Final = 63

_ERRNO: Final = re.compile(r"\[Errno (\d{1,9})\] ")
_ERRNO_OF: Final[dict[Any, int]] = {
    name: code for code, name in errno.errorcode.items()
}


def cut(text: str, length: int) -> str:
    """Return ``text``, or the beginning of a longer one with its length.

    Args:
        text: The text.
        length: The most characters to return of it.
    """
    if len(text) <= length:
        return text
    return f"{text[:length]}... ({len(text)} characters)"


def message_of(value: object) -> str:
    """Return the text of an exception alone, even if its ``__str__`` fails."""
    try:
        # Of a subclass of str as well, the text alone.
        return str.__str__(str(value))
    except ENDINGS as error:
        return f"<{_qualname(value)}; no text: {_qualname(error)}>"


def _qualname(value: object) -> str:
    """Return the qualified name of an object's class, past its metaclass."""
    name: str = type.__dict__["__qualname__"].__get__(type(value))
    return name


def attribute_of(error: object, name: str) -> Any:
    """Return an attribute of an exception; None if there is none, or it raises."""
    try:
        return getattr(error, name, None)
    except ENDINGS:
        return None


def full_text(error: object) -> str:
    """Return the text of an exception with its notes, members and causes."""
    return _explained(error, [_MOST_EXCEPTIONS], 0)


def _explained(error: object, left: list[int], level: int) -> str:
    message = message_of(error)
    if not isinstance(error, BaseException):
        return message
    lines = [message]
    # The text of an exception that came from a peer has its notes already.
    lines += [note for note in _notes(error) if note not in message]
    if level < _MOST_LEVELS and not isinstance(error, RemoteError):
        for label, inner in _inner(error):
            if left[0] == 0:
                lines.append("...")
                break
            left[0] -= 1
            try:
                text = _explained(inner, left, level + 1).replace("\n", "\n  ")
                name = _short_name(inner)
            except ENDINGS:
                name, text = _qualname(inner), "cannot be read"
            lines.append(f"{label} {name}: {text}" if text else f"{label} {name}")
    return "\n".join(lines)


def _inner(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """Yield the exceptions within one, each with a label."""
    for member in _members(error):
        yield "-", member
    cause = _cause(error)
    if cause is not None:
        yield "caused by", cause


def _short_name(error: BaseException) -> str:
    if isinstance(error, RemoteError):
        name = error.remoteType
        text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
        return text.rpartition(".")[2]
    return type(error).__qualname__


def _notes(error: BaseException) -> list[str]:
    notes = attribute_of(error, "__notes__")
    if type(notes) not in {list, tuple}:
        return []
    return [str.__str__(note) for note in notes[:_MOST_NOTES] if isinstance(note, str)]


def _members(error: BaseException) -> tuple[BaseException, ...]:
    """Return the members of a group, or of a library's group class on Python 3.10."""
    if not any(base.__name__ == "BaseExceptionGroup" for base in type(error).__mro__):
        is_remote_group = isinstance(error, RemoteError) and "exceptions" in vars(error)
        if not is_remote_group:
            return ()
    members: Any = attribute_of(error, "exceptions") or ()
    return tuple(
        member
        for member in members[:_MOST_MEMBERS]
        if isinstance(member, BaseException)
    )


def _cause(error: BaseException) -> BaseException | None:
    # A codec's error is written for the peer; its cause may have more than it may know.
    if isinstance(error, (JellyError, BananaError)):
        return None
    cause: BaseException | None = attribute_of(error, "__cause__")
    return cause


def named(error: BaseException, name_of: Any = qual) -> tuple[str, list[str]]:
    """Return the full name of an exception's class, and the names of it and its bases.

    Args:
        error: The exception; one that came from a peer keeps its names of there.
        name_of: Function from a class to its name.
    """
    if isinstance(error, RemoteError):
        name = error.remoteType
        text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
        parents = list(error.remote_parents)
        return text, parents or [name_of(base) for base in type(error).__mro__]
    return name_of(type(error)), [name_of(base) for base in type(error).__mro__]


def _sendable(text: str) -> str:
    # A lone surrogate cannot be sent.
    return cut(text, _MOST_PART).encode("utf-8", "replace").decode()


def details_of(error: object, name_of: Any = qual) -> Details:
    """Return the named parts of an exception.

    Args:
        error: The exception; an object that is none has no parts.
        name_of: Function from a class to its name.
    """
    if not isinstance(error, BaseException):
        return {}
    return _details(error, name_of, [_MOST_EXCEPTIONS], 0)


def _details(
    error: BaseException, name_of: Any, left: list[int], level: int
) -> Details:
    details = _parts(error)
    notes = _notes(error)
    if notes:
        details["notes"] = [_sendable(note) for note in notes]
    if level < _MOST_LEVELS:
        members = [
            _described(member, name_of, left, level)
            for member in _members(error)
            if left[0] > 0
        ]
        if members:
            details["message"] = _sendable(message_of(getattr(error, "message", "")))
            details["exceptions"] = members
        cause = _cause(error)
        if cause is not None and left[0] > 0:
            details["cause"] = _described(cause, name_of, left, level)
    return details


def _described(
    error: BaseException, name_of: Any, left: list[int], level: int
) -> dict[str, Any]:
    left[0] -= 1
    try:
        return _readable(error, name_of, left, level)
    except ENDINGS:
        name = class_name(error)
        return {"type": name, "parents": [name], "value": "cannot be read"}


def _readable(
    error: BaseException, name_of: Any, left: list[int], level: int
) -> dict[str, Any]:
    name, parents = named(error, name_of)
    described: dict[str, Any] = {
        "type": name,
        "parents": parents[:_MOST_MEMBERS],
        "value": _sendable(full_text(error)),
    }
    details = _details(error, name_of, left, level + 1)
    if details:
        described["details"] = details
    return described


def _parts(error: BaseException) -> Details:
    """Return the parts that are attributes of the exception's class."""
    details: Details = {}
    message = message_of(error)
    for cls, parts in _PARTS.items():
        if isinstance(error, cls):
            for part, types in parts.items():
                value = attribute_of(error, part)
                if type(value) in types and _is_said(value, message):
                    details[part] = _sendable(value) if type(value) is str else value
    name = errno.errorcode.get(details.get("errno", 0))
    if name is not None:
        # The numbers differ between operating systems.
        details["errno_name"] = name
    return details


def _is_said(value: Any, message: str) -> bool:
    """Return True if a message has a value already, which then discloses no more."""
    if type(value) is int:
        return value.bit_length() <= _MOST_BITS
    return repr(value) in message or (type(value) is str and value in message)


def take_details(given: Any) -> Details:
    """Return the details that a peer has sent, bounded and of the right types.

    Args:
        given: The entry ``details`` of a received state, unchecked.

    Raises:
        MalformedJelly: The entry is malformed.
    """
    return _taken(given, [_MOST_EXCEPTIONS], 0)


def _taken(given: Any, left: list[int], level: int) -> Details:
    if type(given) is not dict:
        raise MalformedJelly("the details of a failure are a dictionary")
    details = _taken_parts(given)
    notes, members = given.get("notes", []), given.get("exceptions", [])
    if type(notes) is not list or not all(type(note) is str for note in notes):
        raise MalformedJelly("the notes of a failure are text")
    if type(members) is not list:
        raise MalformedJelly("the members of a group are a list")
    details["notes"] = [cut(note, _MOST_PART) for note in notes[:_MOST_NOTES]]
    if level < _MOST_LEVELS:
        details["exceptions"] = [
            _taken_exception(member, left, level) for member in members[:_MOST_MEMBERS]
        ]
        if "cause" in given:
            details["cause"] = _taken_exception(given["cause"], left, level)
    return details


def _taken_parts(given: dict[Any, Any]) -> Details:
    details: Details = {}
    for part, types in (*_ALL_PARTS.items(), ("message", (str,))):
        value: Any = given.get(part)
        if type(value) is int and int in types:
            if value.bit_length() <= _MOST_BITS:
                details[part] = value
        elif isinstance(value, str | bytes) and type(value) in types:
            details[part] = value[:_MOST_PART]
    number = _ERRNO_OF.get(str(given.get("errno_name")))
    if number is not None:
        details["errno"] = number
    return details


def _taken_exception(given: Any, left: list[int], level: int) -> dict[str, Any]:
    left[0] -= 1
    if left[0] < 0:
        raise MalformedJelly("a failure has too many exceptions within")
    if type(given) is not dict:
        raise MalformedJelly("an exception within a failure is a dictionary")
    name, value = given.get("type"), given.get("value")
    parents = given.get("parents")
    if type(name) is not str or type(value) is not str or type(parents) is not list:
        raise MalformedJelly("an exception within a failure has names and a text")
    if not all(type(parent) is str for parent in parents):
        raise MalformedJelly("a failure's parents are names")
    return {
        "type": name[:MAX_NAME],
        "value": cut(value, MAX_TEXT),
        "parents": tuple(parent[:MAX_NAME] for parent in parents[:MAX_PARENTS]),
        "details": _taken(given.get("details", {}), left, level + 1),
    }


def set_details(error: RemoteError, details: Details, make: Any) -> None:
    """Set the named parts of an exception that came from a peer.

    Args:
        error: The exception; it has none of its parts yet.
        details: The parts, as :func:`take_details` returns them.
        make: Function from the entry of a member or a cause to an exception.
    """
    for cls, parts in _PARTS.items():
        if isinstance(error, cls):
            for part in parts.keys() & details.keys():
                setattr(error, part, details[part])
    if isinstance(error, UnicodeDecodeError):
        # The data itself is not sent.
        error.object = b""
    elif isinstance(error, (UnicodeEncodeError, UnicodeTranslateError)):
        error.object = ""
    if isinstance(error, OSError) and error.errno is None:
        # Legacy peers send the text alone, which begins with the number.
        found = _ERRNO.match(str(error))
        if found is not None:
            error.errno = int(found[1])
    if details.get("notes"):
        # The attribute that add_note sets; Python 3.10 has no such method.
        error.__notes__ = list(details["notes"])  # type: ignore[attr-defined]
    if "cause" in details:
        error.__cause__ = make(details["cause"])
