"""This package holds the flavors: classes of objects that cross a connection."""

from __future__ import annotations
