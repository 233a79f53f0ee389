"""This module is the API of pb-banana for the packages that go with it.

It is for packages that are made and released together with this one, such as pb-broker,
and for no program: a name here may change with each minor version.

It is the messages of the dialect "pb2": :class:`MessageExchange` writes and reads them,
:class:`FrameReader` puts together what comes, :class:`LaneQueue` sends the large ones,
as far as :class:`LaneWindow` lets it; :class:`CallCore` takes the ordinary calls all
the way, and :class:`CreditGiven` and :class:`CreditTaken` count credit; `messages` has
the numbers of messages, and `tags` those of values.
"""

from __future__ import annotations

from ._call_state import CallState
from ._in_force import LimitsInForce
from ._pb2 import messages, tags
from ._pb2.asked_values import AskedReceived, AskedSent, Journal, MessageValues
from ._pb2.class_hooks import Part, PartUnjellier
from ._pb2.connection_values import Path
from ._pb2.core import CallCore
from ._pb2.credit import CreditGiven, CreditTaken
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
from ._pb2.value_policy import ValuePolicy

__all__ = [
    "HEAD_BYTES",
    "NO_KEYS",
    "AskedReceived",
    "AskedSent",
    "CallCore",
    "CallState",
    "CreditGiven",
    "CreditTaken",
    "FrameReader",
    "Journal",
    "Key",
    "LaneMark",
    "LaneMessage",
    "LaneQueue",
    "LaneWindow",
    "LimitsInForce",
    "MessageExchange",
    "MessageValues",
    "Part",
    "PartUnjellier",
    "Path",
    "Refusal",
    "Sent",
    "ValuePolicy",
    "farewell",
    "hello",
    "integers",
    "messages",
    "readdressed",
    "releases",
    "tags",
]
