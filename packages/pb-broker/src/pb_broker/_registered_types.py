"""This module registers PB's wire types for jelly that is read without a connection.

It is imported before the first name of the package is.
"""

from __future__ import annotations

from pb_jelly import setUnjellyableForClass

from ._objects.wire_types import PB_TYPES

__all__: list[str] = []

for _name, _unjellyable in PB_TYPES.items():
    setUnjellyableForClass(_name, _unjellyable)
