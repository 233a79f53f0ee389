"""This module stands in for ``twisted.spread.publish``."""

from __future__ import annotations

from pb_broker.publishing import Publishable, RemotePublished, whenReady

from . import _imported

__all__ = ["Publishable", "RemotePublished", "whenReady"]

__getattr__ = _imported.of("publish")
