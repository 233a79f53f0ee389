"""This package opens and accepts connections."""

from __future__ import annotations
