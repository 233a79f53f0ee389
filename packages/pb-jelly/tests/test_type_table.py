from __future__ import annotations

import pathlib
import uuid
from typing import Any

from pb_jelly._types.type_table import (
    HEADS,
    LEAF,
    LEAVES,
    MODERN_HEADS,
    TEXT,
    TYPES,
    VALUE_TYPES,
    late_entry,
)


def test_entries_and_leaf_numbers_are_unique() -> None:
    forms = [(entry.python, entry.head) for entry in VALUE_TYPES]
    assert len(set(forms)) == len(forms)
    leaves = [entry.op for entry in VALUE_TYPES if entry.op >= LEAF]
    assert len(set(leaves)) == len(leaves)


def test_entries_have_both_functions_or_none() -> None:
    for entry in VALUE_TYPES:
        assert (entry.dump is None) == (entry.load is None)
        assert (entry.op in LEAVES) == (entry.dump is not None)


def test_modern_heads_differ_from_words_and_class_names() -> None:
    for head in MODERN_HEADS:
        assert head.startswith(b"@")
        assert b"." not in head
        assert not head.decode().isidentifier()
        assert head not in HEADS[False]


def test_legacy_table_has_no_modern_entries() -> None:
    assert set(TYPES[False]) < set(TYPES[True])
    assert not any(entry.is_modern for entry in TYPES[False].values())
    assert TYPES[True][str].op == TEXT


def test_types_of_modules_imported_late() -> None:
    entry = late_entry(uuid.UUID)
    assert entry is not None
    assert entry.head == b"@uuid"
    posix = late_entry(pathlib.PurePosixPath)
    assert posix is not None
    assert posix.head == b"@path"


def test_namesakes_of_late_types_have_no_entry() -> None:
    fake: Any = type("UUID", (), {"__module__": "uuid"})
    assert late_entry(fake) is None
    assert late_entry(type("Other", (), {"__module__": "uuid"})) is None
