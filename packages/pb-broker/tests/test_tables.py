"""Counts of what each end holds for the other."""

from __future__ import annotations

from typing import Any

import pytest

from pb_broker._tables import (
    CacheTable,
    ExportTable,
    Local,
    LocalIDs,
    process_unique_id,
)
from pb_broker._viewable import ViewPoint
from pb_broker.errors import ProtocolError


@pytest.fixture
def exports() -> ExportTable:
    return ExportTable(LocalIDs())


@pytest.fixture
def caches() -> CacheTable:
    return CacheTable(LocalIDs())


def test_an_id_is_not_used_twice(exports: ExportTable) -> None:
    thing = object()
    first = exports.add(thing)
    exports.decref(first)
    assert exports.add(thing) > first


def test_an_entry_lives_as_long_as_its_count(exports: ExportTable) -> None:
    thing = object()
    luid = exports.add(thing)
    assert exports.find(thing) == luid
    assert exports.decref(luid) is None
    gone = exports.decref(luid)
    assert gone is not None
    assert gone.object is thing
    assert exports.find(thing) is None
    assert exports.objects == {}
    assert exports.luids == {}


def test_sending_and_letting_go_may_cross(exports: ExportTable) -> None:
    """The peer's decref is on its way while the object is sent again."""
    thing = object()
    luid = exports.add(thing)
    assert exports.find(thing) == luid
    exports.decref(luid)  # for the first time it was sent
    assert exports.objects[luid].refcount == 1
    assert exports.decref(luid) is not None


def test_a_name_is_not_counted(exports: ExportTable) -> None:
    thing = object()
    exports.name(b"root", thing)
    assert exports.decref(b"root") is None
    assert exports.objects[b"root"].object is thing


def test_late_decref_of_what_was_taken_back_is_ignored(exports: ExportTable) -> None:
    luid = exports.add(object())
    exports.unregister(luid)
    assert exports.decref(luid) is None
    with pytest.raises(KeyError):
        exports.unregister(luid)


@pytest.mark.parametrize("luid", [0, -1, 2, 10**30])
def test_decref_of_what_never_was_is_the_peers_mistake(
    exports: ExportTable, luid: int
) -> None:
    exports.add(object())
    with pytest.raises(ProtocolError):
        exports.decref(luid)


def test_unregistering_a_name(exports: ExportTable) -> None:
    thing = object()
    exports.name(b"x", thing)
    assert exports.unregister(b"x").object is thing
    exports.clear()
    assert exports.objects == {}


def test_viewpoints_on_the_same_thing_are_one(exports: ExportTable) -> None:
    perspective, thing = object(), object()
    luid = exports.add(ViewPoint(perspective, thing))
    assert exports.find(ViewPoint(perspective, thing)) == luid
    assert exports.find(ViewPoint(object(), thing)) is None


def test_anything_has_an_id() -> None:
    thing = object()
    assert process_unique_id(thing) == id(thing)


def test_a_cache_says_farewell_before_it_is_forgotten(caches: CacheTable) -> None:
    thing = object()
    luid = caches.add(thing, "someone")
    assert caches.find(thing, count=True) == luid
    assert caches.decref(luid) is None
    entry = caches.decref(luid)
    assert entry is not None
    assert entry.perspective == "someone"
    # Still known, so that its last update can go; but not to be sent again.
    assert caches.find(thing) == luid
    assert caches.find(thing, count=True) is None
    assert caches.decref(luid) is None
    caches.forget(luid)
    assert caches.objects == {}
    assert caches.luids == {}
    caches.forget(luid)


def test_a_cache_sent_during_its_farewell_is_a_new_one(caches: CacheTable) -> None:
    thing = object()
    old = caches.add(thing, None)
    caches.decref(old)
    new = caches.add(thing, None)
    caches.forget(old)
    assert caches.find(thing) == new
    assert list(caches.objects) == [new]


def test_decache_of_what_never_was(caches: CacheTable) -> None:
    with pytest.raises(ProtocolError):
        caches.decref(1)
    luid = caches.add(object(), None)
    assert [entry.refcount for entry in caches.clear()] == [1]
    assert caches.decref(luid) is None


def test_an_entry_is_shown_by_class() -> None:
    class Secretive:
        def __repr__(self) -> str:
            raise AssertionError("its own repr may be anything")

    entry: Any = Local(Secretive())
    assert "Secretive" in repr(entry)
    assert (entry.incref(), entry.decref()) == (2, 1)
