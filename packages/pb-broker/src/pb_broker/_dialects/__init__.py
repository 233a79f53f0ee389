"""This package says how messages are written and read, one folder for each dialect."""

from __future__ import annotations
