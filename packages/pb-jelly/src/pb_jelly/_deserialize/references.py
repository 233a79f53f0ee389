"""This module holds the table of references: objects of one message by number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly._deserialize.forward_references import IDLE, ForwardReferences, known
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types.attributes import hashed_fields
from pb_jelly.errors import MalformedJelly

if TYPE_CHECKING:
    from pb_jelly._deserialize.forward_references import Pending

__all__ = ["MOST_NUMBER", "References", "Running", "check_dereference", "is_number"]

#: Largest reference number.  Senders count from 1; among larger integers a peer could
#: choose numbers with equal hashes, which make a dict slow.
MOST_NUMBER: Final = 2**31 - 1


def is_number(value: Any) -> bool:
    """Return True for a valid reference number."""
    return type(value) is int and 0 <= value <= MOST_NUMBER


def check_dereference(sexp: list[Any]) -> None:
    """Refuse a dereference whose items are other than one number.

    Raises:
        MalformedJelly: The dereference is malformed.
    """
    if len(sexp) != 2 or not is_number(sexp[1]):
        raise MalformedJelly("a dereference takes a number")


class Running:
    """A hook that is running.

    Attributes:
        number: Reference number of its object; None if the object is not shared.
        has_defined: True once the number stands for an object of this hook.
        is_met: True once the object of the number has been referred to.  From then on
            the hook cannot replace the object.
        waits: Steps that will give the object its state.
    """

    __slots__ = ("has_defined", "is_met", "number", "waits")

    def __init__(self, number: int | None) -> None:
        self.number = number
        self.has_defined = False
        self.is_met = False
        self.waits: list[Any] = []


class References:
    """The references of one unjellier.

    Args:
        nodes: Largest number of values read by hashing, in total.

    Attributes:
        forward: The forward references; `IDLE` until there is one.
        objects: Objects by number.
        unfinished: Running hooks that will give an instance its state, by the number of
            the instance; None for an instance whose state no hook gives.
        undefined: Placeholders by number, for numbers that have been referred to but
            not defined yet.
    """

    def __init__(self, nodes: int) -> None:
        self.forward = IDLE
        self.objects: dict[int, Any] = {}
        self.unfinished: dict[int, Running | None] = {}
        self.undefined: dict[int, Pending] = {}
        self._nodes = nodes

    def _waiting(self) -> ForwardReferences:
        """Return forward references that can be written to, made at first use."""
        if self.forward is IDLE:
            self.forward = ForwardReferences(self._nodes)
        return self.forward

    def define(self, number: int, value: Any) -> None:
        """Define the object of a number.

        Raises:
            MalformedJelly: The number has been defined before.
        """
        later = self.undefined.pop(number, None) if self.undefined else None
        if later is None and number in self.objects:
            raise MalformedJelly(f"the reference {shown(number)} is defined twice")
        self.objects[number] = value
        if later is not None:
            self.forward.settle(later, value)

    def define_blank(
        self, number: int, value: Any, running: Running | None = None
    ) -> None:
        """Define the object of a number, an instance that has no state yet.

        Args:
            number: The number.
            value: The blank instance.
            running: The hook that will give the instance its state; None if no hook
                will.

        Raises:
            MalformedJelly: The number has been defined before.
        """
        if running is not None:
            running.is_met = number in self.undefined
            running.has_defined = True
        self.define(number, value)
        self.unfinished[number] = running

    def redefine(self, running: Running, number: int, value: Any) -> None:
        """Define or replace the object of a running hook's number.

        Raises:
            MalformedJelly: The number belongs to another object, or to an earlier
                object of the hook that has been referred to.
        """
        if not running.has_defined:
            running.is_met = number in self.undefined
            running.has_defined = True
            self.define(number, value)
        elif self.objects[number] is not value:
            if running.is_met:
                raise MalformedJelly("another object than the one referred to before")
            self.objects[number] = value

    def not_defined(self, sexp: list[Any]) -> Pending:
        """Return a placeholder for an object that has not been defined yet.

        Args:
            sexp: The dereference.

        Raises:
            MalformedJelly: The dereference is malformed.
        """
        check_dereference(sexp)
        value = self.undefined[sexp[1]] = self._waiting().value()
        self.objects[sexp[1]] = value
        return value

    def watched(self, number: int, value: Any) -> Any:
        """Note a reference to an object that may not be whole.

        Returns:
            The object, or its placeholder.
        """
        if number in self.unfinished:
            running = self.unfinished[number]
            if running is not None:
                running.is_met = True
            self._waiting().met(value)
        elif (value and isinstance(value, tuple)) or hashed_fields(type(value)):
            # Hashing it reads all its parts, again at each occurrence.
            self.be_wary()
        return known(value)

    def be_wary(self) -> None:
        """Note a value that may take long to hash or to compare."""
        self._waiting().is_wary = True

    def check(self) -> None:
        """Refuse undefined numbers and waiting steps, after the whole has been read.

        Raises:
            MalformedJelly: A number is undefined, or a step waits for itself.
        """
        for number in self.undefined:
            raise MalformedJelly(f"the reference {shown(number)} is never defined")
        if not self.forward.is_complete():
            raise MalformedJelly("a cycle that cannot be made")
