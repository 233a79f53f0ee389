"""This module makes exception copies, by pickle or copy, without their constructors.

Python restores an exception by calling its class with ``args``, which fails if the
constructor has other parameters than the message.  In another process that is worse
than an error: pools of processes wait for ever for a result that cannot be read.
"""

from __future__ import annotations

from typing import Any

__all__ = ["native_base", "reduced"]

#: The flag of a class that is not compiled into the interpreter: Py_TPFLAGS_HEAPTYPE.
_IS_PYTHONS = 1 << 9


def native_base(cls: Any) -> Any:
    """Return the builtin class that makes blank instances of ``cls``."""
    while cls.__flags__ & _IS_PYTHONS:
        cls = cls.__base__
    return cls


def _restored(cls: type[BaseException]) -> BaseException:
    """Return a blank exception, for its state to be set."""
    blank: BaseException = native_base(cls).__new__(cls)
    return blank


def reduced(self: BaseException) -> Any:
    """Return the function, class and state that restore an exception.

    Assigned as the ``__reduce__`` of a class, and inherited.  It is not put into a
    base class because the names of bases are sent to peers.  ``args``, the attributes
    and the cause are restored.
    """
    state: dict[str, Any] = {**vars(self), "args": self.args}
    if self.__cause__ is not None:
        state["__cause__"] = self.__cause__
    return _restored, (type(self),), state
