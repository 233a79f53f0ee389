"""This package holds the client's side of a login."""

from __future__ import annotations
