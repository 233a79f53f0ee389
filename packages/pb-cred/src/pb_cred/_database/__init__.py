"""This package opens SQL databases."""

from __future__ import annotations
