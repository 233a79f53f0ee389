"""This module defines a secret token, which neither a repr nor a traceback shows."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["MAX_TOKEN", "Secret"]

#: Length of the longest token, in bytes: a login's message is not much longer.
MAX_TOKEN: Final = 15 * 1024

#: RFC 6750, section 2.1, says which characters.
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")


class Secret:
    """A token on its way: neither its repr nor a traceback shows it.

    Args:
        raw: It, as text or bytes; anything else is none.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: Any) -> None:
        if isinstance(raw, str):
            raw = raw.encode(errors="replace")
        self.raw: bytes = raw if isinstance(raw, bytes) else b""

    def __repr__(self) -> str:
        return "<a token>"

    def is_token(self) -> bool:
        """Tell whether it can be sent."""
        is_one = _TOKEN.fullmatch(self.raw) is not None
        return is_one and len(self.raw) <= MAX_TOKEN
