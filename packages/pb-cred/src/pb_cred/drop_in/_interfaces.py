"""This module stands in for ``twisted.spread.interfaces``."""

from __future__ import annotations

from pb_broker import IJellyable, IUnjellyable

from . import _imported

__all__ = ["IJellyable", "IUnjellyable"]

__getattr__ = _imported.of("interfaces")
