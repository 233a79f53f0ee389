"""This module is the API of pb-banana for the packages that go with it.

It is for packages that are made and released together with this one, such as pb-broker,
and for no program: a name here may change with each minor version.

It is the messages of the dialect "pb2": :class:`MessageExchange` writes and reads them,
:class:`FrameReader` puts together what comes, :class:`LaneQueue` sends the large ones,
as far as :class:`LaneWindow` lets it; `messages` has their numbers and `tags` those of
values.
"""

from __future__ import annotations

from ._pb2 import messages, tags
from ._pb2.class_hooks import Part, PartUnjellier
from ._pb2.connection_values import Path
from ._pb2.framing import HEAD_BYTES, FrameReader, LaneMark
from ._pb2.lane_window import LaneWindow
from ._pb2.lanes import NO_KEYS, Key, LaneMessage, LaneQueue
from ._pb2.message_exchange import (
    MessageExchange,
    Sent,
    farewell,
    hello,
    integers,
    readdressed,
    releases,
)
from ._pb2.reader import Refusal

__all__ = [
    "HEAD_BYTES",
    "NO_KEYS",
    "FrameReader",
    "Key",
    "LaneMark",
    "LaneMessage",
    "LaneQueue",
    "LaneWindow",
    "MessageExchange",
    "Part",
    "PartUnjellier",
    "Path",
    "Refusal",
    "Sent",
    "farewell",
    "hello",
    "integers",
    "messages",
    "readdressed",
    "releases",
    "tags",
]
