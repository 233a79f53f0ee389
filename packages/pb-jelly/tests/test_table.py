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


def test_one_entry_for_each_form() -> None:
    forms = [(entry.python, entry.head) for entry in VALUE_TYPES]
    assert len(set(forms)) == len(forms)
    leaves = [entry.op for entry in VALUE_TYPES if entry.op >= LEAF]
    assert len(set(leaves)) == len(leaves)


def test_an_entry_has_both_directions_or_is_done_in_place() -> None:
    for entry in VALUE_TYPES:
        assert (entry.dump is None) == (entry.load is None)
        assert (entry.op in LEAVES) == (entry.dump is not None)


def test_modern_heads_cannot_be_mistaken() -> None:
    for head in MODERN_HEADS:
        assert head.startswith(b"@")
        assert b"." not in head
        assert not head.decode().isidentifier()
        assert head not in HEADS[False]


def test_the_wire_knows_nothing_of_the_modern_form() -> None:
    assert set(TYPES[False]) < set(TYPES[True])
    assert not any(entry.is_modern for entry in TYPES[False].values())
    assert TYPES[True][str].op == TEXT


def test_types_that_are_found_late() -> None:
    entry = late_entry(uuid.UUID)
    assert entry is not None
    assert entry.head == b"@uuid"
    posix = late_entry(pathlib.PurePosixPath)
    assert posix is not None
    assert posix.head == b"@path"


def test_nothing_else_passes_for_one() -> None:
    fake: Any = type("UUID", (), {"__module__": "uuid"})
    assert late_entry(fake) is None
    assert late_entry(type("Other", (), {"__module__": "uuid"})) is None
