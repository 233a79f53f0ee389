"""This package verifies JSON Web Tokens (RFC 7519)."""

from __future__ import annotations
