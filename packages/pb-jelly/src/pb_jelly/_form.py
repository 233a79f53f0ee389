"""This module says in which form the package is installed."""

from __future__ import annotations

from pb_jelly._deserialize import unjelly_loop

__all__ = ["is_compiled"]

#: True where the inner modules are compiled; False where they run as Python sources.
is_compiled: bool = not unjelly_loop.__file__.endswith(".py")
