"""This module defines a secret password, which neither a repr nor a traceback shows."""

from __future__ import annotations

from .scram_verifier import saslprep

__all__ = ["Password"]


class Password:
    """A password on its way: neither its repr nor a traceback shows it.

    Args:
        password: It, as text or bytes.
    """

    __slots__ = ("raw",)

    def __init__(self, password: bytes | str) -> None:
        if isinstance(password, str):
            password = password.encode("utf-8", "surrogatepass")
        self.raw: bytes = password

    def __repr__(self) -> str:
        return "<a password>"

    def prepared(self) -> bytes:
        """Return it as it is hashed: as SASLprep has it, or else as it is."""
        try:
            return saslprep(self.raw)
        except ValueError:
            return self.raw
