"""This module stands in for ``twisted.spread.util``."""

from __future__ import annotations

from pb_broker.local import LocalAsRemote, LocalAsyncForwarder, LocalMethod
from pb_broker.paging import (
    CallbackPageCollector,
    FilePager,
    Pager,
    StringPager,
    getAllPages,
)

from . import _imported

__all__ = [
    "CallbackPageCollector",
    "FilePager",
    "LocalAsRemote",
    "LocalAsyncForwarder",
    "LocalMethod",
    "Pager",
    "StringPager",
    "getAllPages",
]

__getattr__ = _imported.of("util")
