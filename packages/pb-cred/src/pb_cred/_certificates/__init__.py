"""This package verifies client certificates."""

from __future__ import annotations
