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
