"""This module imports the public names of a package at their first use.

A program pays for the parts of a package that it uses, and `import` of the package
itself costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["on_first_use"]


def on_first_use(
    module: str, names: Mapping[str, str], *, before: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a module.

    Checkers of types do not see them: a misspelt name stays an error there.  They see
    the same imports under ``TYPE_CHECKING``, and a test holds the two equal.

    Args:
        module: Name of the module that is to have the names.
        names: Public names with spaces between, by the module that defines them,
            relative to *module*'s package or absolute.  A public submodule is an
            attribute as well, and may have no names.
        before: Module to import before the first name is; None for none.
    """
    package = sys.modules[module].__spec__.parent  # type: ignore[union-attr]
    places = {name: place for place, some in names.items() for name in some.split()}
    submodules = {place[1:]: place for place in names if _is_public_submodule(place)}

    def first_use(name: str) -> Any:
        """Import a public name, which is an attribute of the module from then on."""
        if name in submodules:
            # Importing it makes it an attribute.
            return import_module(submodules[name], package)
        if name not in places:
            raise AttributeError(
                f"module {module!r} has no attribute {name!r}",
                name=name,
                obj=sys.modules[module],
            )
        if before is not None:
            import_module(before, package)
        value = getattr(import_module(places[name], package), name)
        setattr(sys.modules[module], name, value)
        return value

    def directory() -> list[str]:
        """Return the names of the module, imported or not."""
        return sorted({*vars(sys.modules[module]), *places, *submodules})

    return first_use, directory


def _is_public_submodule(place: str) -> bool:
    return place.startswith(".") and place[1:].isidentifier() and place[1] != "_"
