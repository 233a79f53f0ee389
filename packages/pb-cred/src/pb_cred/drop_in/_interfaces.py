"""This module stands in for ``twisted.spread.interfaces``."""

from __future__ import annotations

from pb_broker import IJellyable, IUnjellyable

__all__ = ["IJellyable", "IUnjellyable"]
