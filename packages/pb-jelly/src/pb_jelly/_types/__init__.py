"""This package holds the rules by which each Python type becomes an expression."""

from __future__ import annotations
