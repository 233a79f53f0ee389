"""This module stands in for ``twisted.spread.flavors``."""

from __future__ import annotations

from typing import Final

from pb_broker import (
    Cacheable,
    Copyable,
    IPBRoot,
    NoSuchMethod,
    Referenceable,
    RemoteCache,
    RemoteCacheMethod,
    RemoteCacheObserver,
    RemoteCopy,
    Root,
    Serializable,
    Viewable,
    ViewPoint,
)
from pb_broker.extending import unjellyCached, unjellyLCache, unjellyLocal

from . import _imported
from ._jelly import (
    Jellyable,
    Unjellyable,
    _createBlank,
    getInstanceState,
    setInstanceState,
    setUnjellyableFactoryForClass,
    setUnjellyableForClass,
    setUnjellyableForClassTree,
    unjellyableRegistry,
)

__all__ = [
    "Cacheable",
    "Copyable",
    "IPBRoot",
    "Jellyable",
    "NoSuchMethod",
    "Referenceable",
    "RemoteCache",
    "RemoteCacheMethod",
    "RemoteCacheObserver",
    "RemoteCopy",
    "Root",
    "Serializable",
    "Unjellyable",
    "ViewPoint",
    "Viewable",
    "cache_atom",
    "cached_atom",
    "copyTags",
    "copy_atom",
    "getInstanceState",
    "remote_atom",
    "setCopierForClass",
    "setCopierForClassTree",
    "setFactoryForClass",
    "setInstanceState",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "unjellyCached",
    "unjellyLCache",
    "unjellyLocal",
    "unjellyableRegistry",
]

copy_atom: Final = b"copy"
cache_atom: Final = b"cache"
cached_atom: Final = b"cached"
remote_atom: Final = b"remote"

setCopierForClass = setUnjellyableForClass
setCopierForClassTree = setUnjellyableForClassTree
setFactoryForClass = setUnjellyableFactoryForClass
copyTags = unjellyableRegistry

# Name that programs import from the original although it is not exported.
_ALSO = (_createBlank,)

__getattr__ = _imported.of("flavors")
