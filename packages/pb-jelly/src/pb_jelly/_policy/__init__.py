"""This package holds policies, registries of classes, and their compiled tables."""

from __future__ import annotations
