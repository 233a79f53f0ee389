"""This package holds the kinds of object that cross a connection."""

from __future__ import annotations
