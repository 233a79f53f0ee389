"""This module keeps what the references in an expression stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly._deserialize.forward_references import IDLE, ForwardReferences, known
from pb_jelly._sexp.abbreviation import shown
from pb_jelly._types.attributes import hashed_fields
from pb_jelly.errors import MalformedJelly

if TYPE_CHECKING:
    from pb_jelly._deserialize.forward_references import Pending

__all__ = ["MOST_NUMBER", "References", "Running", "check_dereference", "is_number"]

#: References are numbered from 1 by everybody.  Larger numbers could be chosen so that
#: they all have the same hash.
MOST_NUMBER: Final = 2**31 - 1


def is_number(value: Any) -> bool:
    """Say whether a reference may have this for a number."""
    return type(value) is int and 0 <= value <= MOST_NUMBER


def check_dereference(sexp: list[Any]) -> None:
    """Refuse a dereference of anything but one number.

    Raises:
        MalformedJelly: It is one.
    """
    if len(sexp) != 2 or not is_number(sexp[1]):
        raise MalformedJelly("a dereference takes a number")


class Running:
    """A hook that is running.

    Attributes:
        number: The number by which its object can be referred to, if it has one.
        has_defined: Whether the number stands for an object of this hook.
        is_met: Whether what the number stands for so far has been referred to.
        waits: The steps that will give the object its state.
    """

    __slots__ = ("has_defined", "is_met", "number", "waits")

    def __init__(self, number: int | None) -> None:
        self.number = number
        self.has_defined = False
        self.is_met = False
        self.waits: list[Any] = []


class References:
    """What numbers stand for, in what one unjellier reads.

    Args:
        nodes: How many values hashing may have to look at, over all.

    Attributes:
        forward: What waits for what is not there yet.
        objects: What each number stands for.
        unfinished: The numbers of instances that have no state yet, and the hooks that
            will give it; None where it is not a hook that will.
        undefined: What stands for the numbers that have been referred to, and not been
            defined so far.
    """

    def __init__(self, nodes: int) -> None:
        self.forward = IDLE
        self.objects: dict[int, Any] = {}
        self.unfinished: dict[int, Running | None] = {}
        self.undefined: dict[int, Pending] = {}
        self._nodes = nodes

    def _waiting(self) -> ForwardReferences:
        """Return what waits, now that there is something to wait for."""
        if self.forward is IDLE:
            self.forward = ForwardReferences(self._nodes)
        return self.forward

    def define(self, number: int, value: Any) -> None:
        """Note what a number stands for.

        Raises:
            MalformedJelly: It has been defined before.
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
        """Note what a number stands for that has no state yet.

        Args:
            number: The number.
            value: The blank instance.
            running: The hook that will give it its state, if it is a hook that will.

        Raises:
            MalformedJelly: The number has been defined before.
        """
        if running is not None:
            running.is_met = number in self.undefined
            running.has_defined = True
        self.define(number, value)
        self.unfinished[number] = running

    def redefine(self, running: Running, number: int, value: Any) -> None:
        """Note what object a hook makes that its number stands for.

        Raises:
            MalformedJelly: The number is that of something else, or has been defined
                as another object of the hook, and that has been referred to.
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
        """Return what stands for an object that has not been defined yet.

        Args:
            sexp: The dereference.

        Raises:
            MalformedJelly: It is not one.
        """
        check_dereference(sexp)
        value = self.undefined[sexp[1]] = self._waiting().value()
        self.objects[sexp[1]] = value
        return value

    def watched(self, number: int, value: Any) -> Any:
        """Note that something has been referred to that may not be whole.

        Returns:
            The object, or what stands for it.
        """
        if number in self.unfinished:
            running = self.unfinished[number]
            if running is not None:
                running.is_met = True
            self._waiting().met(value)
        elif (value and isinstance(value, tuple)) or hashed_fields(type(value)):
            # To hash it is to hash all that is in it, each time anew.
            self.be_wary()
        return known(value)

    def be_wary(self) -> None:
        """Note that there is something that may take long to hash or to compare."""
        self._waiting().is_wary = True

    def check(self) -> None:
        """Refuse what is not whole although all has been read.

        Raises:
            MalformedJelly: A number stands for nothing, or something waits for itself.
        """
        for number in self.undefined:
            raise MalformedJelly(f"the reference {shown(number)} is never defined")
        if not self.forward.is_complete():
            raise MalformedJelly("a cycle that cannot be made")
