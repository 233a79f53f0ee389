"""This package holds the state that two ends share: calls, references and caches."""

from __future__ import annotations
