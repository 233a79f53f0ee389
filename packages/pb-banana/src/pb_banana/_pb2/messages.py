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
    "CREDIT",
    "DEADLINE",
    "DROP",
    "END",
    "ERROR",
    "FINISH",
    "GOAWAY",
    "HELLO",
    "ITEMS",
    "KEEP",
    "METADATA",
    "METADATA_BYTES",
    "METADATA_NAMES",
    "PING",
    "PONG",
    "RELEASE",
    "STOP",
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
FINISH: Final = 5
RELEASE: Final = 6
UPDATE: Final = 7
UNCACHE: Final = 8
ITEMS: Final = 9
END: Final = 10
CREDIT: Final = 11
ACK: Final = 12
PING: Final = 13
PONG: Final = 14
GOAWAY: Final = 15
DROP: Final = 18
STOP: Final = 19

#: The messages that are counted, so that the other end can say how many it has.
COUNTED: Final = frozenset(
    {
        *(CALL, ANSWER, ERROR, CANCEL, FINISH, RELEASE, UPDATE, UNCACHE),
        *(ITEMS, END, CREDIT, GOAWAY, STOP),
    }
)

# The options of a call.
#: Milliseconds in which the answer has to be there.
DEADLINE: Final = 0
#: Texts by name, such as a trace's context.
METADATA: Final = 1
#: The most text in it, names included, in bytes; and the most names.
METADATA_BYTES: Final = 8_192
METADATA_NAMES: Final = 64
#: Whether methods of the answer are called before it is known.
KEEP: Final = 2
#: Stands for each option that is not known and has to be understood.
UNKNOWN: Final = -1
