"""This package finds the methods that a peer may call, and checks their arguments."""

from __future__ import annotations
