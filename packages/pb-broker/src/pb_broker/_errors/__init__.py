"""This package holds the handling of errors: their details, copies and logging."""

from __future__ import annotations
