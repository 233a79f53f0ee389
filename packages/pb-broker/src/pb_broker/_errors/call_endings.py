"""This module says which exceptions end one call and nothing else.

Theory of operation
-------------------
A method that a peer calls, a hook of a value or a callback is the program's own code,
and may raise anything.  Not all of that is an ``Exception``: a coroutine or a task that
was cancelled raises ``asyncio.CancelledError``, ``sys.exit()`` raises ``SystemExit``.
Whatever it is, it ends the call that it was raised in, and is no reason to end the
others of the connection, which have no part in it.

One of them may not be the program's: where Ctrl-C is left to Python, a
``KeyboardInterrupt`` is raised in whatever code runs just then.  It ends the call as
well, and afterwards the event loop gets it as it would have without a call.
"""

from __future__ import annotations

import builtins
import signal
import threading
from asyncio import CancelledError
from typing import Any, Final

__all__ = ["ENDINGS", "UNUSUAL", "is_ctrl_c"]

#: Exceptions that are no ``Exception``, and are taken for the end of a call.
UNUSUAL: Final[tuple[type[BaseException], ...]] = (
    CancelledError,
    GeneratorExit,
    KeyboardInterrupt,
    SystemExit,
    # Of a task group whose tasks raise one of the above; Python 3.10 has none.
    getattr(builtins, "BaseExceptionGroup", GeneratorExit),
)

#: All that ends one call.
ENDINGS: Final[tuple[type[BaseException], ...]] = (Exception, *UNUSUAL)


def is_ctrl_c(error: Any) -> bool:
    """Tell whether an exception may be Ctrl-C, and nobody else sees to that."""
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
