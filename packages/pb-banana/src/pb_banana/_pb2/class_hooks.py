"""This module lets the hooks of classes, which know s-expressions, work on values.

A ``jellyFor`` that asks its jellier for a part is given the part itself, as a `Part`,
so that it is written where it is, with all that it shares with others.  On the other
side parts have been read before the ``unjellyFor`` is called; it is given the objects,
and where one is a list a `Part` for it, since a list stands for an expression there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pb_jelly import Jellier, Unjellier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pb_jelly import Limits, Taster

__all__ = ["Expression", "Part", "PartJellier", "PartUnjellier"]

#: The word in the place of a part, where the whole of an expression is unjellied.
_PART = b"@part"


class Part:
    """A value within an expression.

    Attributes:
        value: The value.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: Any = value


class Expression:
    """A list within an expression, as opposed to a value that is a list.

    Attributes:
        items: What is in it.
    """

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class PartJellier(Jellier):
    """The jellier that hooks are handed."""

    def jelly(self, obj: Any) -> Any:
        """Return a number or a byte string as it is, and another object as a `Part`."""
        kind = type(obj)
        if kind is int or kind is float or kind is bytes:
            return obj
        return Part(obj)

    def prepare(self, object: Any) -> list[Any]:
        """Return an empty list, to be extended to the expression."""
        return []

    def preserve(self, object: Any, sexp: Any) -> Any:
        """Return the expression as a list."""
        return sexp if type(sexp) is list else list(sexp)


class PartUnjellier(Unjellier):
    """The unjellier that hooks are handed.

    Args:
        taster: The policy.
        invoker: For the use of hooks.
        context: For the use of hooks.
        types: Names that are accepted whatever the policy says.
        limits: How deep an expression may be.
    """

    def __init__(
        self,
        taster: Taster,
        invoker: Any = None,
        *,
        context: Any = None,
        types: Mapping[bytes, Any] | None = None,
        limits: Limits | None = None,
    ) -> None:
        known = {**(types or {}), _PART: self._part}
        super().__init__(
            taster,
            None,
            invoker,
            context=context,
            types=known,
            modern=True,
            limits=limits,
        )
        self._parts: list[Any] = []

    def unjelly(self, sexp: Any) -> Any:
        """Return the object of a part, or of an expression that may have parts."""
        if type(sexp) is Part:
            return sexp.value
        if not isinstance(sexp, list):
            return sexp
        first = len(self._parts)
        try:
            return super().unjelly(self._numbered(sexp))
        finally:
            del self._parts[first:]

    def unjelly_state(self, sexp: Any, setter: Callable[[Any], Any]) -> None:
        """Set the state of an object, which has been read before."""
        setter(self.unjelly(sexp))

    def unjellyInto(self, obj: Any, loc: Any, jel: Any) -> Any:
        """Put an object into a container, and return it."""
        obj[loc] = value = self.unjelly(jel)
        return value

    def announce(self, obj: Any) -> None:
        """Accept an object; no reference to it is read before it is made."""

    def take_callbacks(self) -> list[Callable[[], Any]]:
        """Return the calls that are due once all is read, and forget them."""
        callbacks, self._callbacks = self._callbacks, []
        return callbacks

    def _numbered(self, sexp: list[Any]) -> list[Any]:
        """Return an expression with the number of each part in its place."""
        result: list[Any] = []
        todo: list[tuple[list[Any], list[Any]]] = [(sexp, result)]
        while todo:
            source, target = todo.pop()
            for item in source:
                if type(item) is Part:
                    self._parts.append(item.value)
                    target.append([_PART, len(self._parts) - 1])
                elif type(item) is list:
                    inner: list[Any] = []
                    target.append(inner)
                    todo.append((item, inner))
                else:
                    target.append(item)
        return result

    def _part(self, unjellier: Any, sexp: list[Any]) -> Any:
        """Return the part with a number."""
        return self._parts[sexp[1]]
