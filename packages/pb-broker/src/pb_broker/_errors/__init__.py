"""This package shows, carries and logs exceptions."""

from __future__ import annotations
