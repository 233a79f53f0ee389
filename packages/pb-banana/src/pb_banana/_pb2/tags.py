"""This module names the tags of the dialect "pb2", and the kinds of its Python tag.

The numbers below 47536 are those of the IANA registry "CBOR Tags".  The block of
sixteen from there on is PB's own; it lies in the range that is given out first come,
first served.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BIG_NEGATIVE",
    "BIG_POSITIVE",
    "CACHED",
    "CACHE_MENTION",
    "COLUMN_MAJOR",
    "COMPLEX",
    "CONNECTION_TAGS",
    "DATE_TEXT",
    "DAYS",
    "DECIMAL",
    "DURATION",
    "EPOCH",
    "FAILURE",
    "FIRST_ARRAY",
    "FRACTION",
    "FROZENSET",
    "INSTANT",
    "LAST_ARRAY",
    "MEMBER",
    "MINE",
    "OBJECT",
    "PROMISE",
    "PYTHON",
    "RECORD",
    "REFERENCE",
    "ROW_MAJOR",
    "SELF_DESCRIBED",
    "SET",
    "SEXP",
    "SHARED",
    "STREAM",
    "TUPLE",
    "UUID",
    "YOURS",
]

# Registered.
INSTANT: Final = 0
EPOCH: Final = 1
BIG_POSITIVE: Final = 2
BIG_NEGATIVE: Final = 3
DECIMAL: Final = 4
SHARED: Final = 28
REFERENCE: Final = 29
FRACTION: Final = 30
UUID: Final = 37
ROW_MAJOR: Final = 40
FIRST_ARRAY: Final = 64
LAST_ARRAY: Final = 87
DAYS: Final = 100
SET: Final = 258
DURATION: Final = 1002
DATE_TEXT: Final = 1004
COLUMN_MAJOR: Final = 1040
COMPLEX: Final = 43000
SELF_DESCRIBED: Final = 55799

# PB's own.  The last two of the block are not given out yet.
TUPLE: Final = 47536
FROZENSET: Final = 47537
#: ``[class, state]``: an instance with attributes.
OBJECT: Final = 47538
#: ``[shape, *values]``: an instance with fields.
RECORD: Final = 47539
#: ``[class, name or number]``: a member of an enumeration.
MEMBER: Final = 47540
#: ``[kind, ...]``: a value of a type that Python alone has.
PYTHON: Final = 47541
#: ``[class, ...]``: the items of the expression that a ``jellyFor`` made.
SEXP: Final = 47542
#: An object of the sender's, and one of the receiver's, by its number.
MINE: Final = 47543
YOURS: Final = 47544
#: ``[number, class, state]``: a cached copy; and a later mention of it by its number.
CACHED: Final = 47545
CACHE_MENTION: Final = 47546
#: The number of a call whose answer is on its way.
PROMISE: Final = 47547
#: The number of a stream of the sender's.
STREAM: Final = 47548
#: ``[names, text, ...]``: an error that was raised.
FAILURE: Final = 47549

#: The tags whose content belongs to a connection and not to a value.
CONNECTION_TAGS: Final = (
    *(MINE, YOURS, CACHED, CACHE_MENTION),
    *(PROMISE, STREAM, FAILURE),
)

# The kinds of values under the tag PYTHON, as the first item of its array.
KIND_STR: Final = 0
KIND_DECIMAL: Final = 1
KIND_DATETIME: Final = 2
KIND_TIME: Final = 3
KIND_ZONE: Final = 4
KIND_RANGE: Final = 5
KIND_PATH: Final = 6
KIND_ORDERED: Final = 7
KIND_DEQUE: Final = 8
KIND_ARRAY: Final = 9
KIND_VIEW: Final = 10
KIND_CLASS: Final = 11
KIND_MODULE: Final = 12
KIND_FUNCTION: Final = 13
KIND_METHOD: Final = 14
KIND_SUBCLASS: Final = 15
KIND_EXCEPTION: Final = 16
#: A list within an expression, as opposed to a value that is a list.
KIND_EXPRESSION: Final = 17
