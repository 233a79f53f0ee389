"""This module finds named objects: modules, classes and functions that a policy allows.

A name that a peer sends is looked up under a policy, and only there.  A class is
found among those that the policy lists by itself; a module is imported only when the
policy allows that very module; from a module or a class only a name in its own
namespace is taken, never one that an ``__getattr__`` would make up, and never a name
with two underscores at either end.  What has been found is put to the policy once
more, because a module also holds what it has imported from others.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Any

from pb_jelly._policy.taster import Taster
from pb_jelly._sexp.abbreviation import shown
from pb_jelly._types.qualified_names import full_name, qual
from pb_jelly.errors import InsecureJelly, MalformedJelly

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["find_class", "find_function", "find_module", "listed_classes"]

FUNCTION_TYPES = (types.FunctionType, types.BuiltinFunctionType)


def find_module(taster: Taster, name: str) -> types.ModuleType:
    """Import a module that the policy allows.

    Raises:
        InsecureJelly: The policy does not allow it.
        MalformedJelly: There is no such module here, or it cannot be imported.
    """
    if not taster.isModuleAllowed(name):
        raise InsecureJelly(f"the policy does not allow the module {shown(name)}")
    try:
        return importlib.import_module(name)
    except Exception as error:
        # Whatever the body of the module raises: to the one who sent the name it is
        # all the same.
        raise MalformedJelly(f"cannot import the module {shown(name)}") from error


def find_class(taster: Taster, name: str, listed: Mapping[str, type[Any]]) -> type[Any]:
    """Find a class that the policy allows.

    Args:
        taster: The policy.
        name: What `qual` returned for the class, or its full name.
        listed: What `listed_classes` returns for the policy.

    Raises:
        InsecureJelly: The policy does not allow it.
        MalformedJelly: There is nothing of that name here.
    """
    if name in listed:
        return listed[name]
    found = _find(taster, name)
    if not isinstance(found, type):
        raise InsecureJelly(f"{shown(name)} is not a class")
    if not taster.isClassAllowed(found):
        raise InsecureJelly(f"the policy does not allow the class {shown(name)}")
    return found


def find_function(taster: Taster, name: str) -> Any:
    """Find a function in a module that the policy allows.

    A function that the module has only imported is given out if the policy allows the
    module that it comes from as well.

    Raises:
        InsecureJelly: The policy does not allow it.
        MalformedJelly: There is nothing of that name here.
    """
    found = _find(taster, name)
    if not isinstance(found, FUNCTION_TYPES):
        raise InsecureJelly(f"{shown(name)} is not a function")
    home = found.__module__ or ""
    if not taster.isModuleAllowed(home):
        raise InsecureJelly(f"the policy does not allow the module of {shown(name)}")
    return found


def listed_classes(taster: Taster) -> dict[str, type[Any]]:
    """Return the classes that a policy lists in full, under each of their names.

    A name that two of them share stands for neither.
    """
    names: dict[str, type[Any]] = {}
    shared: set[str] = set()
    for cls in getattr(taster, "allowedClasses", ()):
        if not (taster.isModuleAllowed(cls.__module__) and taster.isClassAllowed(cls)):
            continue
        for name in {qual(cls), full_name(cls)}:
            if names.setdefault(name, cls) is not cls:
                shared.add(name)
    for name in shared:
        del names[name]
    return names


def _find(taster: Taster, name: str) -> object:
    """Find what a dotted name stands for, without judging it.

    The longest allowed part of the name that is a module is taken for the module.
    """
    parts = name.split(".")
    allowed = False
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        if not taster.isModuleAllowed(module_name):
            continue
        allowed = True
        try:
            found: object = find_module(taster, module_name)
        except MalformedJelly as error:
            if _is_absent(module_name, error.__cause__):
                continue
            raise
        for depth, part in enumerate(parts[length:]):
            if depth and not (isinstance(found, type) and taster.isClassAllowed(found)):
                raise InsecureJelly(f"the policy does not allow {shown(name)}")
            found = _member(found, part, name)
        return found
    if allowed:
        raise MalformedJelly(f"there is nothing here named {shown(name)}")
    raise InsecureJelly(f"the policy does not allow the module of {shown(name)}")


def _is_absent(module_name: str, error: BaseException | None) -> bool:
    """Say whether an import failed because the module itself is not there."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return False
    return f"{module_name}.".startswith(f"{error.name}.")


def _member(holder: object, part: str, name: str) -> object:
    """Return what a module or a class has in its own namespace."""
    if part.startswith("__") and part.endswith("__"):
        raise InsecureJelly(f"{shown(name)} is not a name that may be looked up")
    spaces = holder.__mro__ if isinstance(holder, type) else (holder,)
    for space in spaces:
        if part in space.__dict__:
            found: object = space.__dict__[part]
            return found.__func__ if isinstance(found, staticmethod) else found
    raise MalformedJelly(f"there is nothing here named {shown(name)}")
