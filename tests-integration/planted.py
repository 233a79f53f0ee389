"""This module is the watch for secrets of pb-cred's tests, for those of this folder."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["plant", "plant_key", "watching"]

_planted: Any = import_module("packages.pb-cred.tests.planted")

plant = _planted.plant
plant_key = _planted.plant_key
watching = _planted.watching
