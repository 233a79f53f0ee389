"""This package follows logins from their beginning to their end."""

from __future__ import annotations
