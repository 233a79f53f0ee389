"""This module tells misdirected calls, a peer's mistake, from methods that fail.

A call is misdirected if there is no such method, or if the method does not take such
arguments.  Calls are not looked at beforehand, which would cost each of them: the
traceback of one that has failed shows whether it has reached a method.
"""

from __future__ import annotations

import inspect
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import Any, Final

from pb_broker.errors import NoSuchMethod, RemoteError

__all__ = ["is_misdirected"]

#: Names of the functions through which a call goes to a method, in our flavors and in
#: those that programs override.  Ours keep the method, and the arguments, in variables
#: called ``method``, ``args`` and ``kw``.
_ENTRIES: Final = frozenset(
    {
        "find_method",
        "perspectiveMessageReceived",
        "received",
        "remoteMessageReceived",
    }
)
#: The module whose ``call`` each call from a peer begins in.
_BEGINNING: Final = "pb_broker._session.incoming_calls"
#: Modules that run the coroutine of an entry that a program has overridden.
_LOOPS: Final = (
    "asyncio.",
    "pb_broker._event_loops.asyncio_shell",
    "pb_broker._event_loops.shell",
    "twisted.",
)
#: The module of a root object that passes calls on when there is another to take them.
_LATER: Final = "pb_broker._objects.deferred_root"
_OURS: Final = ("pb_broker.", "pb_cred.")
_PACKAGES: Final = ("asyncio", "pb_broker", "pb_cred", "twisted")


def is_misdirected(error: object, traceback: TracebackType | None) -> bool:
    """Tell whether a call has failed without having reached a method.

    Args:
        error: The exception that the call has failed with.
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
    # Raised by the call itself; or by the wrapper that a decorator has made.
    return not beyond or not _fits(last.f_locals)


def _way(traceback: TracebackType | None) -> tuple[list[FrameType], bool]:
    """Return the entries that a call went through, and whether it went any further."""
    entries: list[FrameType] = []
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name in _ENTRIES or _is_beginning(frame):
            entries.append(frame)
        elif entries and not _is_beginning(entries[-1]):
            return entries, True
        elif not _module(frame).startswith((*_LOOPS, _LATER)):
            # No entry at all: the way began in a method.
            return [], True
        traceback = traceback.tb_next
    return entries, False


def _is_beginning(frame: FrameType) -> bool:
    """Tell whether a frame is the one in which a call from a peer begins."""
    return frame.f_code.co_name == "call" and _module(frame) == _BEGINNING


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    if name is not None:
        return str(name)
    # Older versions of Twisted keep no more of a frame than what can be printed.
    parts = PurePath(frame.f_code.co_filename).with_suffix("").parts
    roots = [place for place, part in enumerate(parts) if part in _PACKAGES]
    return ".".join(parts[roots[-1] :]) if roots else ""


def _fits(variables: Any) -> bool:
    """Tell whether a method takes the arguments of a call, as far as can be told."""
    method = variables.get("method")
    args, kw = variables.get("args"), variables.get("kw")
    if method is None or type(args) is not tuple or type(kw) is not dict:
        return True
    try:
        inspect.signature(method).bind(*args, **kw)
    except ValueError:
        # A method that is compiled may have no signature.
        return True
    except TypeError:
        return False
    return True
