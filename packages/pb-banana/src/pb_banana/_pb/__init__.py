"""This package reads and writes the dialect "pb", the one of ``twisted.spread``."""

from __future__ import annotations
