"""This package describes the channel of a login: TLS, certificates, the address."""

from __future__ import annotations
