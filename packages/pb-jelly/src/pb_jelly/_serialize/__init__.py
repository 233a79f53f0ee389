"""This package turns objects into s-expressions."""

from __future__ import annotations
