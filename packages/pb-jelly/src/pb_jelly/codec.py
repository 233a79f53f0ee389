"""This module is the API for codecs that go between objects and bytes in one step.

Its users are the sibling packages, pb-banana for one.  It has the table of types
compiled with a policy, the functions for leaves, and :func:`visible`, which escapes a
peer's text for people.  The decisions of a policy are made in this package alone: a
codec looks them up in the compiled table.

The operation numbers are compiled into the siblings as constants, so they do not change
within a minor version.
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
