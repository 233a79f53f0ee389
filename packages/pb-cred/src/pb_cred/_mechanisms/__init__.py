"""This package holds the login mechanisms."""

from __future__ import annotations
