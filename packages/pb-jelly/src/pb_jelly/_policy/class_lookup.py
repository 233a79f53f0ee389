"""This module is the class lookup: it finds the target of a name, under a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pb_jelly._policy.compiled_policy import GENERIC, Target, registered, target_of
from pb_jelly._policy.named_objects import find_class, listed_classes
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types.type_table import HEADS, OBJECT
from pb_jelly.errors import InsecureJelly, MalformedJelly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pb_jelly._policy.compiled_policy import PolicyTable
    from pb_jelly._policy.taster import Taster

__all__ = ["Resolver", "head_of", "headless", "text_of"]


def text_of(atom: object) -> str:
    """Return the name that an atom holds.

    Raises:
        MalformedJelly: The atom is no string, or not UTF-8.
    """
    if type(atom) is bytes:
        try:
            return atom.decode("utf-8")
        except UnicodeDecodeError:
            pass
    elif type(atom) is str:
        return atom
    raise MalformedJelly(f"{shown(atom)} is not a name")


def head_of(sexp: list[Any]) -> Any:
    """Return the head of an expression, its first item.

    Raises:
        MalformedJelly: The expression is empty, or begins with a list.
    """
    if not sexp or type(sexp[0]) is list:
        raise headless(sexp)
    return sexp[0]


def headless(sexp: list[Any]) -> MalformedJelly:
    """Return the error for an expression that does not begin with a word."""
    if not sexp:
        return MalformedJelly("an empty expression")
    return MalformedJelly(f"an expression that begins with {shown(sexp[0])}")


class Resolver:
    """Resolves names for one unjellier, under its policy.

    Args:
        taster: The policy.
        table: The table of the policy, to which resolved heads are added.
        types: Names that are accepted without asking the policy; None for none.
        modern: True if the modern form is accepted.
    """

    def __init__(
        self,
        taster: Taster,
        table: PolicyTable,
        types: Mapping[bytes, Any] | None,
        modern: bool,
    ) -> None:
        self._taster = taster
        self._table = table
        self._types: Mapping[bytes, Any] = {} if types is None else types
        self._heads = HEADS[modern]
        self._targets: dict[bytes, Target] = {}
        self._listed: dict[str, type[Any]] | None = None

    def learned(self, sexp: list[Any]) -> list[Any] | None:
        """Add the word at an expression's head to the table, if the policy allows it.

        Args:
            sexp: An expression whose head is not in the table.

        Returns:
            The expression to read instead; None if its head is the name of a class.

        Raises:
            InsecureJelly: The policy does not allow the word.
            MalformedJelly: The head is no string.
        """
        head = head_of(sexp)
        if type(head) is str:
            # A str is written by hand: the wire has byte strings only.
            return [head.encode("utf-8", "replace"), *sexp[1:]]
        if type(head) is not bytes:
            raise headless(sexp)
        table = self._table
        if not table.asks or head not in self._heads or head in self._types:
            return None
        if registered(table.registry, head) is not None:
            return None
        self._ask(head)
        table.heads[head] = self._heads[head]
        return sexp

    def target(self, head: bytes) -> Target:
        """Return the target of an expression that begins with a name.

        Raises:
            InsecureJelly: The policy does not allow the name.
            MalformedJelly: The name is unknown here.
        """
        target = self._targets.get(head)
        if target is not None:
            return target
        if head in self._types:
            target = self._targets[head] = target_of(self._types[head])
            return target
        self._ask(head)
        table = self._table
        target = registered(table.registry, head)
        if target is not None:
            table.targets[head] = target
            table.heads[head] = OBJECT
            return target
        if b"." not in head:
            raise MalformedJelly(f"nothing is known by the name {shown(head)}")
        target = self._targets[head] = Target(GENERIC, self.find_class(text_of(head)))
        return target

    def find_class(self, name: str) -> type[Any]:
        """Return a class by its name.

        Raises:
            InsecureJelly: The policy does not allow the class.
            MalformedJelly: The name is unknown here.
        """
        if self._listed is None:
            self._listed = listed_classes(self._taster)
        return find_class(self._taster, name, self._listed)

    def find_type(self, name: str) -> type[Any]:
        """Return a class by its name, to make instances of it.

        Raises:
            InsecureJelly: The policy does not allow the type or the class.
            MalformedJelly: The name is unknown here.
        """
        self._ask(name.encode("utf-8", "replace"))
        return self.find_class(name)

    def _ask(self, head: bytes) -> None:
        """Ask the policy about a head; refuse a head that it does not allow."""
        if not self._taster.isTypeAllowed(head):
            raise InsecureJelly(f"the policy does not allow the type {shown(head)}")
