"""This package adapts brokers to their event loops: Twisted's and asyncio's."""

from __future__ import annotations
