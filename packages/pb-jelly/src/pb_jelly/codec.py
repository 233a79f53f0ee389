"""This module has what a codec needs to go between objects and bytes in one step.

It is for packages that go with this one, such as pb-banana, and is made for their use:
the table of types compiled with a policy, and the functions for its leaves.  What a
policy allows, and what is made of it, is decided here and nowhere else.  So is how text
of a peer is shown to people: :func:`visible`.

Its numbers are compiled into packages that are: they stay what they are as long as the
minor version does.
"""

from __future__ import annotations

from pb_jelly._deserialize.forward_references import FEW_KEYS, takes_hashing
from pb_jelly._deserialize.references import MOST_NUMBER
from pb_jelly._policy.compiled_policy import (
    CurrentTables,
    PolicyTable,
    Target,
    current_tables,
)
from pb_jelly._sexp.abbreviation import visible
from pb_jelly._types.attributes import attributes_of, set_attributes
from pb_jelly._types.type_table import (
    BOOL,
    BYTEARRAY,
    COPIED,
    DEREFERENCE,
    DICT,
    FROZENSET,
    LEAVES,
    LIST,
    NONE,
    OBJECT,
    ORDERED,
    PLAIN,
    REFERENCE,
    SET,
    TEXT,
    TUPLE,
)

__all__ = [
    "BOOL",
    "BYTEARRAY",
    "COPIED",
    "DEREFERENCE",
    "DICT",
    "FEW_KEYS",
    "FROZENSET",
    "LEAVES",
    "LIST",
    "MOST_NUMBER",
    "NONE",
    "OBJECT",
    "ORDERED",
    "PLAIN",
    "REFERENCE",
    "SET",
    "TEXT",
    "TUPLE",
    "CurrentTables",
    "PolicyTable",
    "Target",
    "attributes_of",
    "current_tables",
    "set_attributes",
    "takes_hashing",
    "visible",
]
