"""This module is the escaped log: its logger escapes and cuts all text of a peer's.

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

from .call_endings import ENDINGS
from .caught_failure import caught_failure, class_name, readable_failure
from .exception_copies import native_base
from .exception_details import MAX_TEXT, attribute_of, full_text, message_of

__all__ = ["SafeLogger", "for_log", "without_traceback"]

#: Types of fields whose text is harmless: numbers, and bytes, of which the repr is
#: logged.
_HARMLESS: Final = frozenset({type(None), bool, int, float, bytes})
#: Most exceptions of a chain that are checked.
_MOST_CHAINED: Final = 16


class SafeLogger(Logger):
    """A logger of Twisted's that shows the fields of its events escaped."""

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:
        """Log an event.

        Args:
            level: The level of the event.
            format: The text, with names of fields in braces.
            **kwargs: The fields.
        """
        fields = {name: _field(value) for name, value in kwargs.items()}
        super().emit(level, format, **fields)

    def failure(
        self,
        format: str,
        failure: Failure | None = None,
        *level: Any,
        **kwargs: Any,
    ) -> None:
        """Log a failure.

        Args:
            format: The text, with names of fields in braces.
            failure: The failure; None for the exception that is being handled.
            *level: The level of the event; critical if it is left out.
            **kwargs: The fields.
        """
        super().failure(format, failure or caught_failure(), *level, **kwargs)


def _field(value: object) -> object:
    """Return the value of a field, or its escaped text if it needs escaping."""
    if type(value) in _HARMLESS:
        return value
    try:
        return _shown_field(value)
    except ENDINGS:
        # An exception, or another object, that raises when its class is asked for.
        return f"<{visible(class_name(value), MAX_TEXT)}; it cannot be read>"


def _shown_field(value: object) -> object:
    if isinstance(value, Failure):
        return for_log(value)
    if isinstance(value, BaseException):
        return _shown_exception(value)
    text = message_of(value)
    shown = visible(text, MAX_TEXT)
    return value if shown == text else shown


def _shown_exception(error: BaseException) -> BaseException:
    """Return an exception, or a stand-in of the same class with escaped text."""
    text = full_text(error)
    shown = visible(text, MAX_TEXT)
    if shown == message_of(error) and _is_chain_harmless(error):
        return error
    return _shown_as(error, shown)


def _shown_as(error: BaseException, shown: str) -> BaseException:
    cls = type(error)
    try:
        return _stand_in(cls, cls, shown)
    except Exception:
        # Some classes cannot be derived from.
        return _stand_in(cls, Exception, shown)


def without_traceback(error: object) -> object:
    """Return a stand-in for an exception, which keeps nothing of its frames alive.

    A log may keep its events for long, and the frames have the arguments of a call.

    Args:
        error: The exception; any other object is returned as it is.
    """
    if not isinstance(error, BaseException):
        return error
    return _shown_as(error, visible(full_text(error), MAX_TEXT))


class _StandIn:
    """The base of stand-ins, which have the escaped text of an exception alone."""

    args: tuple[Any, ...]

    def __init_subclass__(cls) -> None:
        """Skip the hook of the exception's class for derived classes."""

    def __str__(self) -> str:
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({self.args[0]!r})"


def _stand_in(
    cls: type[BaseException], base: type[BaseException], shown: str
) -> BaseException:
    """Return a stand-in: a blank exception under the name of a class.

    Args:
        cls: The class that gives the name.
        base: The class to derive from.
        shown: The escaped text.
    """
    if issubclass(base, SyntaxError):
        # Python prints the attributes of a SyntaxError, not its text.
        base = Exception
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    made: Any = type(cls.__name__, (_StandIn, base), names)
    stand_in: BaseException = native_base(made).__new__(made)
    stand_in.args = (shown,)
    return stand_in


def _is_chain_harmless(error: BaseException) -> bool:
    """Return True if the causes and contexts of an exception need no escaping.

    Its own notes and members are checked by the caller.
    """
    chained = _chained(error)
    for _ in range(_MOST_CHAINED):
        if not chained:
            return True
        each = chained.pop()
        if each is not None:
            if visible(full_text(each), MAX_TEXT) != message_of(each):
                return False
            chained += _chained(each)
    return False


def _chained(error: BaseException) -> list[BaseException | None]:
    return [attribute_of(error, "__cause__"), attribute_of(error, "__context__")]


def for_log(failure: Failure) -> Failure:
    """Return a failure to be logged: with escaped and bounded texts.

    Texts of exceptions often have a peer's argument in them, such as a missing key.

    Args:
        failure: Any Failure; it is not changed.
    """
    value = failure.value
    try:
        if not isinstance(value, BaseException):
            return failure
        error = _shown_exception(value)
    except ENDINGS:
        return readable_failure(failure)
    if error is value:
        return failure
    shown = type(failure).__new__(type(failure))
    shown.__dict__.update(failure.__dict__)
    shown.value = error
    return shown
