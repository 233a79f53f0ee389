"""This package keeps and checks passwords."""

from __future__ import annotations
