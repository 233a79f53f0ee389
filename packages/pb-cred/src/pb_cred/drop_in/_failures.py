"""This module defines the copied failures of ``twisted.spread``."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import pb_broker
from pb_broker.extending import WIRE_NAME

__all__ = ["FAILURES", "CopiedFailure"]


class CopiedFailure(pb_broker.CopiedFailure):
    """A failure that happened at the other end."""

    remote_type_bytes: ClassVar[bool] = True


FAILURES: Final[dict[bytes, Any]] = {WIRE_NAME: CopiedFailure}
"""Class of a received failure, by its type on the wire."""
