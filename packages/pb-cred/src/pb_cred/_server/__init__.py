"""This package holds the server's side of a login."""

from __future__ import annotations
