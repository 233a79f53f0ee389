"""This module names the messages of the dialect "pb2" by their numbers.

The shapes of all of them are in ``docs/protocol-pb2.md``, "Messages".
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACK",
    "ANSWER",
    "CALL",
    "CANCEL",
    "COUNTED",
    "DEADLINE",
    "DROP",
    "ERROR",
    "GOAWAY",
    "HELLO",
    "METADATA",
    "PING",
    "PONG",
    "RELEASE",
    "UNCACHE",
    "UNKNOWN",
    "UPDATE",
    "VERSION",
]

#: The version of the dialect.
VERSION: Final = 1

HELLO: Final = 0
CALL: Final = 1
ANSWER: Final = 2
ERROR: Final = 3
CANCEL: Final = 4
RELEASE: Final = 6
UPDATE: Final = 7
UNCACHE: Final = 8
ACK: Final = 12
PING: Final = 13
PONG: Final = 14
GOAWAY: Final = 15
DROP: Final = 18

#: The messages that are counted, so that the other end can say how many it has.
COUNTED: Final = frozenset(
    {CALL, ANSWER, ERROR, CANCEL, RELEASE, UPDATE, UNCACHE, GOAWAY}
)

# The options of a call.
#: Milliseconds in which the answer has to be there.
DEADLINE: Final = 0
#: Texts by name, such as a trace's context.
METADATA: Final = 1
#: Stands for each option that is not known and has to be understood.
UNKNOWN: Final = -1
