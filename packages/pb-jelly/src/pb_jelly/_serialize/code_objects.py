"""This module writes code objects: classes, modules, functions and methods, by name."""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from pb_jelly._sexp.atoms import class_atom, function_atom, method_atom, module_atom
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types.qualified_names import leads_to, qual
from pb_jelly._types.type_table import CLASS, FUNCTION, METHOD, MODULE
from pb_jelly.errors import InsecureJelly, UnjellyableType

if TYPE_CHECKING:
    from pb_jelly._policy.taster import Taster
    from pb_jelly._serialize.type_dispatch import TypeDispatch

__all__ = ["CODE", "write_code"]

#: Operations of the type table that this module handles.
CODE: Final = (CLASS, MODULE, FUNCTION, METHOD)


def write_code(
    op: int, value: Any, taster: Taster, kinds: TypeDispatch, *, lenient: bool
) -> tuple[list[Any], tuple[Any, Any] | None]:
    """Begin the expression of a class, module, function or method.

    Args:
        op: Its operation in the type table.
        value: The class, module, function or method.
        taster: The policy.
        kinds: The jellier's dispatch by type.
        lenient: True to write any name, as twisted.spread does; False to refuse names
            that the policy does not allow, or that the receiver could not find.

    Returns:
        The expression, and for a method the objects to append to it; None for others.

    Raises:
        InsecureJelly: The policy refuses the name.
        UnjellyableType: The name does not lead to the object.
    """
    if op == METHOD:
        return _method(value, lenient)
    if op == CLASS:
        head, name = class_atom, kinds.name(value)
        allowed = lenient or kinds.allows_class(value)
        listed = getattr(taster, "allowedClasses", ())
        is_found = value in listed or leads_to(value, name)
    elif op == MODULE:
        head, name = module_atom, value.__name__
        is_found = True
        allowed = lenient or taster.isModuleAllowed(name)
    else:
        head, name = function_atom, f"{value.__module__}.{value.__qualname__}"
        is_found = "<" not in name
        allowed = lenient or taster.isModuleAllowed(value.__module__ or "")
    if not allowed:
        raise InsecureJelly(f"the policy does not allow {shown(name)}")
    if not (is_found or lenient):
        raise UnjellyableType(f"{shown(name)} cannot be found by its name")
    return [head, name.encode("utf-8")], None


def _method(method: MethodType, lenient: bool) -> tuple[list[Any], tuple[Any, Any]]:
    """Begin the expression of a bound method: its name, its object, and the class."""
    name = getattr(method, "__name__", "")
    owner = method.__self__
    if not lenient:
        spaces = (vars(base) for base in type(owner).__mro__)
        found = next((space[name] for space in spaces if name in space), None)
        if found is not method.__func__ or type(found) is not FunctionType:
            kind = shown(qual(type(owner)))
            raise UnjellyableType(f"{shown(name)} cannot be found in the class {kind}")
    return [method_atom, name.encode("utf-8")], (owner, owner.__class__)
