from typing import TypeVar

from mypy_extensions import mypyc_attr as mypyc_attr

_Error = TypeVar("_Error", bound=Exception)

UNLIMITED: int

def caused(error: _Error, cause: Exception | None) -> _Error: ...
