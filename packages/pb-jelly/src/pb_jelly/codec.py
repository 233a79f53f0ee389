"""This module is the API for codecs that go between objects and bytes in one step.

Its users are the sibling packages, pb-banana for one.  It has the table of types
compiled with a policy, the functions for leaves, and :func:`visible`, which escapes a
peer's text for people.  The decisions of a policy are made in this package alone: a
codec looks them up in the compiled table.

The operation numbers are compiled into the siblings as constants, so they do not change
within a minor version.
"""

from __future__ import annotations

from pb_jelly._deserialize.forward_references import ForwardReferences
from pb_jelly._deserialize.hash_limits import (
    FEW_KEYS,
    check_hashes,
    check_work,
    has_own_hash,
    not_hashed,
    takes_hashing,
)
from pb_jelly._deserialize.rare_forms import ABSENT, Build, open_special
from pb_jelly._deserialize.references import MOST_NUMBER
from pb_jelly._policy.class_lookup import Resolver
from pb_jelly._policy.compiled_policy import (
    CALL,
    COPIED_TARGET,
    FACTORY,
    GENERIC,
    HOOK,
    STATE,
    CurrentTables,
    PolicyTable,
    Target,
    current_tables,
)
from pb_jelly._policy.observed_dict import ALL_EDITS
from pb_jelly._serialize.code_objects import CODE, write_code
from pb_jelly._serialize.type_dispatch import TypeDispatch, TypeHandler
from pb_jelly._sexp.visible_text import attribute, item, shown, visible
from pb_jelly._types.attributes import attributes_of, set_attributes
from pb_jelly._types.builtin_subclasses import enum_key, exception_parts, plain_value
from pb_jelly._types.exact_scalars import load_zone, zone_items
from pb_jelly._types.instance_state import check_names, state_of
from pb_jelly._types.type_table import (
    BOOL,
    BYTEARRAY,
    CLASS,
    COPIED,
    DEQUE,
    DEREFERENCE,
    DICT,
    ENUM,
    EXCEPTION,
    FROZENSET,
    FUNCTION,
    LEAVES,
    LIST,
    METHOD,
    MODERN_OPS,
    MODULE,
    NONE,
    OBJECT,
    ORDERED,
    PLAIN,
    REFERENCE,
    REFUSED,
    SELF_JELLIED,
    SELF_STATED,
    SET,
    SUBCLASS,
    TEXT,
    TUPLE,
)

__all__ = [
    "ABSENT",
    "ALL_EDITS",
    "BOOL",
    "BYTEARRAY",
    "CALL",
    "CLASS",
    "CODE",
    "COPIED",
    "COPIED_TARGET",
    "DEQUE",
    "DEREFERENCE",
    "DICT",
    "ENUM",
    "EXCEPTION",
    "FACTORY",
    "FEW_KEYS",
    "FROZENSET",
    "FUNCTION",
    "GENERIC",
    "HOOK",
    "LEAVES",
    "LIST",
    "METHOD",
    "MODERN_OPS",
    "MODULE",
    "MOST_NUMBER",
    "NONE",
    "OBJECT",
    "ORDERED",
    "PLAIN",
    "REFERENCE",
    "REFUSED",
    "SELF_JELLIED",
    "SELF_STATED",
    "SET",
    "STATE",
    "SUBCLASS",
    "TEXT",
    "TUPLE",
    "Build",
    "CurrentTables",
    "ForwardReferences",
    "PolicyTable",
    "Resolver",
    "Target",
    "TypeDispatch",
    "TypeHandler",
    "attribute",
    "attributes_of",
    "check_hashes",
    "check_names",
    "check_work",
    "current_tables",
    "enum_key",
    "exception_parts",
    "has_own_hash",
    "item",
    "load_zone",
    "not_hashed",
    "open_special",
    "plain_value",
    "set_attributes",
    "shown",
    "state_of",
    "takes_hashing",
    "visible",
    "write_code",
    "zone_items",
]
