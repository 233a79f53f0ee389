"""This module has the notes on the connection's values in a message that is sent."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pb_banana.extending import Key
from pb_broker._dialects.serving_context import ServingContext

__all__ = ["NOTHING", "Noted"]


class Noted(NamedTuple):
    """The connection's values in one message that is sent.

    Attributes:
        carried: Keys of what the message takes the peer to have from then on.
        mentioned: Keys of what it names of the peer's, which has to be there.
        streams: The streams in it.
        context: The journal of what was counted for it; None for nothing.
    """

    carried: list[Key]
    mentioned: list[Key]
    streams: list[Any]
    context: ServingContext | None


#: What is noted for a message without such values; none of it is to be changed.
NOTHING: Final = Noted([], [], [], None)
