"""This package is the mechanism SCRAM-SHA-256 (RFC 5802, RFC 7677)."""

from __future__ import annotations
