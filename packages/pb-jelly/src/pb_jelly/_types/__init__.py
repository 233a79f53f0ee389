"""This package says how each Python type becomes an expression, and comes back."""

from __future__ import annotations
