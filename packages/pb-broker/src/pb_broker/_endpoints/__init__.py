"""This package opens and accepts connections at endpoints, on both event loops."""

from __future__ import annotations
