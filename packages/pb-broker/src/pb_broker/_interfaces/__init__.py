"""This package reads interfaces, finds exposed methods, and checks arguments."""

from __future__ import annotations
