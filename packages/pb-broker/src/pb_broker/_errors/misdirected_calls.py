"""This module tells misdirected calls, a peer's mistake, from methods that fail.

A call is misdirected if there is no such method, or if the method does not take such
arguments.  Checking beforehand would cost time in every call; the traceback of a failed
call shows whether it has reached a method.
"""

from __future__ import annotations

import inspect
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import Any, Final

from pb_broker.errors import NoSuchMethod, RemoteError

__all__ = ["is_misdirected"]

#: Names of the functions through which a call goes to a method, in our flavors and in
#: programs' overrides of them.  Ours keep the method, and the arguments, in variables
#: called ``method``, ``args`` and ``kw``.
_ENTRIES: Final = frozenset(
    {
        "find_method",
        "perspectiveMessageReceived",
        "received",
        "remoteMessageReceived",
    }
)
#: The functions, with their modules, in which each call from a peer begins.
_BEGINNINGS: Final = frozenset(
    {
        ("call", "pb_broker._session.incoming_calls"),
        ("_run", "pb_banana._pb2.core"),
    }
)
_BEGINNING_NAMES: Final = frozenset(name for name, _ in _BEGINNINGS)
#: Modules that run the coroutine of a program's override of an entry.
_LOOPS: Final = (
    "asyncio.",
    "pb_broker._event_loops.asyncio_shell",
    "pb_broker._event_loops.shell",
    "twisted.",
)
#: The module of the stand-in for a root object, which passes calls on to it.
_LATER: Final = "pb_broker._objects.deferred_root"
_OURS: Final = ("pb_broker.", "pb_cred.")
_PACKAGES: Final = ("asyncio", "pb_banana", "pb_broker", "pb_cred", "twisted")


def is_misdirected(error: object, traceback: TracebackType | None) -> bool:
    """Return True if a call has failed without having reached a method.

    Args:
        error: The exception with which the call has failed.
        traceback: The exception's traceback.
    """
    if isinstance(error, RemoteError) or not isinstance(
        error, (NoSuchMethod, TypeError)
    ):
        return False
    entries, beyond = _way(traceback)
    if not entries:
        return False
    if isinstance(error, NoSuchMethod):
        return not beyond
    last = entries[-1]
    if not _module(last).startswith(_OURS):
        return False
    # Raised by the call itself, or by a decorator's wrapper around the method.
    return not beyond or not _fits(last.f_locals)


def _way(traceback: TracebackType | None) -> tuple[list[FrameType], bool]:
    """Return the entries that a call went through, and True if it went further."""
    entries: list[FrameType] = []
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name in _ENTRIES or _is_beginning(frame):
            entries.append(frame)
        elif entries and not _is_beginning(entries[-1]):
            return entries, True
        elif not _module(frame).startswith((*_LOOPS, _LATER)):
            # Without an entry, the traceback begins in a method.
            return [], True
        traceback = traceback.tb_next
    return entries, False


def _is_beginning(frame: FrameType) -> bool:
    """Return True for the frame in which a call from a peer begins."""
    name = frame.f_code.co_name
    # Most frames are told by the name alone.
    return name in _BEGINNING_NAMES and (name, _module(frame)) in _BEGINNINGS


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    if name is not None:
        return str(name)
    # Older versions of Twisted keep of a frame only the parts of its printed form.
    parts = PurePath(frame.f_code.co_filename).with_suffix("").parts
    roots = [place for place, part in enumerate(parts) if part in _PACKAGES]
    return ".".join(parts[roots[-1] :]) if roots else ""


def _fits(variables: Any) -> bool:
    """Return True if a method takes the arguments of a call, or shows no signature."""
    method = variables.get("method")
    args, kw = variables.get("args"), variables.get("kw")
    if method is None or type(args) is not tuple or type(kw) is not dict:
        return True
    try:
        inspect.signature(method).bind(*args, **kw)
    except ValueError:
        # A compiled method may have no signature.
        return True
    except TypeError:
        return False
    return True
