"""This package adapts brokers to the event loops that they run on."""

from __future__ import annotations
