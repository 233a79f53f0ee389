"""This package holds the words and the limits of s-expressions."""

from __future__ import annotations
