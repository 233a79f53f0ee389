"""This module holds older published names of functions, and two published numbers."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from pb_jelly import (
    setUnjellyableFactoryForClass,
    setUnjellyableForClass,
    setUnjellyableForClassTree,
    unjellyableRegistry,
)

from ._limits import BrokerLimits

__all__ = [
    "MAX_BROKER_REFS",
    "copyTags",
    "portno",
    "setCopierForClass",
    "setCopierForClassTree",
    "setFactoryForClass",
]

#: The TCP port assigned to PB.
portno: Final = 8787

#: Default for the most references that one peer may hold.
MAX_BROKER_REFS: int = BrokerLimits().exported_references

setCopierForClass = setUnjellyableForClass
setCopierForClassTree = setUnjellyableForClassTree
setFactoryForClass = setUnjellyableFactoryForClass
copyTags: MutableMapping[Any, Any] = unjellyableRegistry
