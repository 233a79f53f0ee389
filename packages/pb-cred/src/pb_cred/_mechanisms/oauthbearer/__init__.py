"""This package is the mechanism OAUTHBEARER (RFC 7628)."""

from __future__ import annotations
