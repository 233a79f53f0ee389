"""This package holds one connection: its reading, writing, deadlines and closing."""

from __future__ import annotations
