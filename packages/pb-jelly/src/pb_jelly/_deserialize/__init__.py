"""This package turns s-expressions into objects."""

from __future__ import annotations
