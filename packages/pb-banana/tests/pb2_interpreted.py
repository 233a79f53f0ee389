"""This module loads the sources of pb2's writer and reader beside the installed form.

Where the package is compiled, that is the other form of the same modules; elsewhere it
is a second copy of them.  Both share the tables and classes of pb-jelly.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pb_banana._pb2

__all__ = ["InterpretedReader", "InterpretedWriter"]

_NAME = "pb2_interpreted_form"
_FOLDER = Path(pb_banana._pb2.__path__[0])


class _SourceFinder:
    """Finds modules of the copy by their sources, and never by compiled files."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not name.startswith(f"{_NAME}."):
            return None
        place = str(_FOLDER / f"{name.rpartition('.')[2]}.py")
        loader = SourceFileLoader(name, place)
        return importlib.util.spec_from_file_location(name, place, loader=loader)


def _loaded(name: str) -> ModuleType:
    if _NAME not in sys.modules:
        package = ModuleType(_NAME)
        package.__path__ = []
        sys.modules[_NAME] = package
        sys.meta_path.insert(0, _SourceFinder)
    return importlib.import_module(f"{_NAME}.{name}")


InterpretedReader: Any = _loaded("reader").Reader
InterpretedWriter: Any = _loaded("writer").Writer
