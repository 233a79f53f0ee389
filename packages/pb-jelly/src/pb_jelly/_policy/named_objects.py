"""This module finds named objects: modules, classes and functions that a policy allows.

A peer's name is looked up under the policy only.  A class is found among those that the
policy lists; a module is imported only if the policy allows exactly that module; from a
module or a class only a name in its own namespace is taken, never one that a
``__getattr__`` would make up, and never a name with two underscores at both ends.  The
object found is checked against the policy again, because a module also holds objects
that it has imported from others.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Any

from pb_jelly._policy.taster import Taster
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types.qualified_names import full_name, qual
from pb_jelly.errors import InsecureJelly, MalformedJelly

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["find_class", "find_function", "find_module", "listed_classes"]

FUNCTION_TYPES = (types.FunctionType, types.BuiltinFunctionType)


def find_module(taster: Taster, name: str) -> types.ModuleType:
    """Import a module that the policy allows.

    Raises:
        InsecureJelly: The policy does not allow the module.
        MalformedJelly: The module does not exist here, or cannot be imported.
    """
    if not taster.isModuleAllowed(name):
        raise InsecureJelly(f"the policy does not allow the module {shown(name)}")
    try:
        return importlib.import_module(name)
    except Exception as error:
        # The body of the module is a program's code and may raise any exception; the
        # sender of the name is told no more than that the import failed.
        raise MalformedJelly(f"cannot import the module {shown(name)}") from error


def find_class(taster: Taster, name: str, listed: Mapping[str, type[Any]]) -> type[Any]:
    """Find a class that the policy allows.

    Args:
        taster: The policy.
        name: The `qual` or the `full_name` of the class.
        listed: The `listed_classes` of the policy.

    Raises:
        InsecureJelly: The policy does not allow the class.
        MalformedJelly: The name is unknown here.
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

    A function that the module has only imported is found if the policy allows its home
    module as well.

    Raises:
        InsecureJelly: The policy does not allow the function.
        MalformedJelly: The name is unknown here.
    """
    found = _find(taster, name)
    if not isinstance(found, FUNCTION_TYPES):
        raise InsecureJelly(f"{shown(name)} is not a function")
    home = found.__module__ or ""
    if not taster.isModuleAllowed(home):
        raise InsecureJelly(f"the policy does not allow the module of {shown(name)}")
    return found


def listed_classes(taster: Taster) -> dict[str, type[Any]]:
    """Return the classes that a policy lists together with their modules, by name.

    A name that two classes share stands for neither.
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
    """Find the object of a dotted name, before the policy is asked about the object.

    The longest allowed prefix of the name that is a module is taken for the module.
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
    """Return True if an import failed because the module itself does not exist."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return False
    return f"{module_name}.".startswith(f"{error.name}.")


def _member(holder: object, part: str, name: str) -> object:
    """Return a member of a module's or a class's own namespace."""
    if part.startswith("__") and part.endswith("__"):
        raise InsecureJelly(f"{shown(name)} is not a name that may be looked up")
    spaces = holder.__mro__ if isinstance(holder, type) else (holder,)
    for space in spaces:
        if part in space.__dict__:
            found: object = space.__dict__[part]
            return found.__func__ if isinstance(found, staticmethod) else found
    raise MalformedJelly(f"there is nothing here named {shown(name)}")
