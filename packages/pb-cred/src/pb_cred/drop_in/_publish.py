"""This module stands in for ``twisted.spread.publish``."""

from __future__ import annotations

from pb_broker.publishing import Publishable, RemotePublished, whenReady

__all__ = ["Publishable", "RemotePublished", "whenReady"]
