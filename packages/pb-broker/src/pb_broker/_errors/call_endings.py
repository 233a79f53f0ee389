"""This module lists the call endings: exceptions that end one call alone.

Theory of operation
-------------------
A method that a peer calls, a hook of a value or a callback is the program's own code,
and may raise any exception.  Some are no ``Exception``: a coroutine or a task that was
cancelled raises ``asyncio.CancelledError``, ``sys.exit()`` raises ``SystemExit``.  Each
ends the call in which it was raised, and is no reason to end the other calls of the
connection.

One of them may not be the program's: if Python handles Ctrl-C, a ``KeyboardInterrupt``
is raised in the code that is running.  It ends the call as well, and then goes to the
event loop, as it would have without a call.
"""

from __future__ import annotations

import builtins
import signal
import threading
from asyncio import CancelledError
from typing import Any, Final

__all__ = ["ENDINGS", "UNUSUAL", "is_ctrl_c"]

#: Call endings that are no ``Exception``.
UNUSUAL: Final[tuple[type[BaseException], ...]] = (
    CancelledError,
    GeneratorExit,
    KeyboardInterrupt,
    SystemExit,
    # Raised by a task group whose tasks raise one of the above; Python 3.10 has none.
    getattr(builtins, "BaseExceptionGroup", GeneratorExit),
)

#: All call endings.
ENDINGS: Final[tuple[type[BaseException], ...]] = (Exception, *UNUSUAL)


def is_ctrl_c(error: Any) -> bool:
    """Return True if an exception may be Ctrl-C, and no other handler sees to it."""
    return (
        # Of an exception that refuses to be read, the type alone is known.
        issubclass(type(error), KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
