"""This module writes to the log, in which nothing that a peer wrote appears raw.

A peer chooses names of methods and of users, the texts of its exceptions, and through
its arguments the texts of ours.  Each field of an event, and each failure, passes here:
a field whose text has line ends, escapes, or characters that turn or hide others, is
replaced by its text with those escaped, and cut.  A failure is logged with the text of
its exception, of its notes and of its causes on one line after the traceback.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from pb_jelly.codec import visible

from .exception_copies import native_base
from .exception_details import MAX_TEXT, full_text, message_of

__all__ = ["SafeLogger", "for_log"]

#: Types of fields of which no text can do harm: numbers, and bytes, which are logged
#: as Python writes them.
_HARMLESS: Final = frozenset({type(None), bool, int, float, bytes})
#: Exceptions in the chain of one that are looked at.
_MOST_CHAINED: Final = 16


class SafeLogger(Logger):
    """A logger of Twisted's that shows the fields of its events escaped."""

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:
        """Log an event.

        Args:
            level: Its level.
            format: Its text, with names of fields in braces.
            **kwargs: Its fields.
        """
        fields = {name: _field(value) for name, value in kwargs.items()}
        super().emit(level, format, **fields)


def _field(value: object) -> object:
    """Return the value of a field, or its text where that has to be escaped."""
    if type(value) in _HARMLESS:
        return value
    if isinstance(value, Failure):
        return for_log(value)
    if isinstance(value, BaseException):
        return _shown_exception(value)
    text = message_of(value)
    shown = visible(text, MAX_TEXT)
    return value if shown == text else shown


def _shown_exception(error: BaseException) -> BaseException:
    """Return an exception, or one of its class that has its escaped text."""
    text = full_text(error)
    shown = visible(text, MAX_TEXT)
    if shown == message_of(error) and _is_chain_harmless(error):
        return error
    cls = type(error)
    try:
        return _stand_in(cls, cls, shown)
    except Exception:
        # There are classes that nothing can be derived from.
        return _stand_in(cls, Exception, shown)


class _StandIn:
    """The base of exceptions that have the escaped text of another, and no more."""

    args: tuple[Any, ...]

    def __init_subclass__(cls) -> None:
        """Keep the class from what its base does with classes that are derived."""

    def __str__(self) -> str:
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({self.args[0]!r})"


def _stand_in(
    cls: type[BaseException], base: type[BaseException], shown: str
) -> BaseException:
    """Return a blank exception of a class that has the name of another.

    Args:
        cls: The class whose name it has.
        base: The class that it is derived from.
        shown: Its text.
    """
    if issubclass(base, SyntaxError):
        # Python prints the parts of those.
        base = Exception
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    made: Any = type(cls.__name__, (_StandIn, base), names)
    stand_in: BaseException = native_base(made).__new__(made)
    stand_in.args = (shown,)
    return stand_in


def _is_chain_harmless(error: BaseException) -> bool:
    """Tell whether all that an observer may print with an exception can be shown.

    Its own notes and members are none.
    """
    chained: list[BaseException | None] = [error.__cause__, error.__context__]
    for _ in range(_MOST_CHAINED):
        if not chained:
            return True
        each = chained.pop()
        if each is not None:
            if visible(full_text(each), MAX_TEXT) != message_of(each):
                return False
            chained += [each.__cause__, each.__context__]
    return False


def for_log(failure: Failure) -> Failure:
    """Return a failure as it is logged: what it says is escaped, and not too long.

    Exceptions often say what they were given, such as a key that there is not.

    Args:
        failure: Any Failure; it is not changed.
    """
    value = failure.value
    if not isinstance(value, BaseException):
        return failure
    error = _shown_exception(value)
    if error is value:
        return failure
    shown = type(failure).__new__(type(failure))
    shown.__dict__.update(failure.__dict__)
    shown.value = error
    return shown
