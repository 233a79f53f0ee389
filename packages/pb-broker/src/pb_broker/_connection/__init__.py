"""This package holds one connection: what is read, written, limited and ended."""

from __future__ import annotations
