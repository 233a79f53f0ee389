"""This package runs work in threads, and waits for it."""

from __future__ import annotations
