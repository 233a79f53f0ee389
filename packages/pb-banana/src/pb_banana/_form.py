"""This module says in which form the package is installed."""

from __future__ import annotations

from pb_banana._pb import object_writer

__all__ = ["is_compiled"]

#: True where the inner modules are compiled; False where they run as Python sources.
is_compiled: bool = not object_writer.__file__.endswith(".py")
