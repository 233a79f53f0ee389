"""This module gives received failures the form that they have in twisted.spread."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import pb_broker
from pb_broker.extending import WIRE_NAME

__all__ = ["FAILURES", "CopiedFailure"]


class CopiedFailure(pb_broker.CopiedFailure):
    """A failure that happened at the other end."""

    remote_type_bytes: ClassVar[bool] = True


FAILURES: Final[dict[bytes, Any]] = {WIRE_NAME: CopiedFailure}
"""What a failure on the wire is turned into."""
