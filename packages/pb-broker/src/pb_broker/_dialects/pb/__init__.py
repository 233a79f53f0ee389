"""This package has the messages of the dialect "pb"."""

from __future__ import annotations
