"""Tables of exports and caches, and their counts."""

from __future__ import annotations

from typing import Any

import pytest

from pb_broker import Broker
from pb_broker._objects.identity import process_unique_id
from pb_broker._objects.viewable import ViewPoint
from pb_broker._session.exports import (
    CacheTable,
    ExportTable,
    Local,
    LocalIDs,
    LocalObjects,
)
from pb_broker.errors import ProtocolError


@pytest.fixture
def exports() -> ExportTable:
    return ExportTable(LocalIDs())


@pytest.fixture
def caches() -> CacheTable:
    return CacheTable(LocalIDs())


def add(exports: ExportTable, thing: object) -> int:
    return exports.add(thing, process_unique_id(thing))


def luid_of(exports: ExportTable, thing: object) -> int | None:
    return exports.luids.get(process_unique_id(thing))


def test_ids_are_not_used_twice(exports: ExportTable) -> None:
    thing = object()
    first = add(exports, thing)
    exports.decref(first)
    assert add(exports, thing) > first


def test_object_stays_as_long_as_its_count(exports: ExportTable) -> None:
    thing = object()
    luid = add(exports, thing)
    exports.count(luid)
    exports.count(luid)
    assert exports.decref(luid) is None
    assert exports.decref(luid) is None
    assert luid_of(exports, thing) == luid
    assert exports.decref(luid) is thing
    assert luid_of(exports, thing) is None
    assert exports.objects == {}
    assert exports.luids == {}
    assert len(exports) == 0


def test_sending_and_releasing_may_cross(exports: ExportTable) -> None:
    """The peer's decref is on its way while the object is sent again."""
    thing = object()
    luid = add(exports, thing)
    exports.count(luid)
    exports.decref(luid)  # for the first time it was sent
    assert exports.entry(luid).refcount == 1
    assert exports.decref(luid) is thing


def test_count_ends_with_its_object(exports: ExportTable) -> None:
    thing = object()
    luid = add(exports, thing)
    exports.count(luid)
    assert exports.entry(luid).refcount == 2
    exports.unregister(luid)
    again = add(exports, thing)
    assert exports.entry(again).refcount == 1
    assert exports.decref(again) is thing


def test_names_are_not_counted(exports: ExportTable) -> None:
    things = {b"root": object(), b"other": object(), b"third": object()}
    for name, thing in things.items():
        exports.name(name, thing)
    for name, thing in things.items():
        assert exports.decref(name) is None
        assert exports.find(name) is thing
        assert exports.entry(name).object is thing
    assert exports.decref(b"none") is None
    assert exports.find(b"none") is None
    assert len(exports) == 3


def test_name_may_be_given_to_another_object(exports: ExportTable) -> None:
    for name in (b"root", b"other"):
        for thing in (object(), object()):
            exports.name(name, thing)
            assert exports.find(name) is thing
    assert sorted(map(str, exports.ids())) == ["b'other'", "b'root'"]


def test_names_are_added_and_removed(exports: ExportTable) -> None:
    for name in (b"x", b"y", b"z"):
        exports.name(name, object())
    exports.unregister(b"x")
    thing = object()
    exports.name(b"y", thing)
    exports.name(b"w", thing)
    assert sorted(map(str, exports.ids())) == ["b'w'", "b'y'", "b'z'"]
    # One of the objects has two names.
    assert len(exports) == 2
    assert exports.unregister(b"y") is thing
    assert exports.find(b"y") is None
    assert len(exports) == 2


def test_late_release_of_a_withdrawn_object_is_ignored(exports: ExportTable) -> None:
    luid = add(exports, object())
    exports.unregister(luid)
    assert exports.decref(luid) is None
    with pytest.raises(KeyError):
        exports.unregister(luid)


@pytest.mark.parametrize("luid", [0, -1, 2, 10**30])
def test_release_of_an_unknown_luid_is_a_protocol_error(
    exports: ExportTable, luid: int
) -> None:
    add(exports, object())
    with pytest.raises(ProtocolError):
        exports.decref(luid)


def test_unregistered_names(exports: ExportTable) -> None:
    things = {b"x": object(), b"y": object()}
    for name, thing in things.items():
        exports.name(name, thing)
    for name, thing in things.items():
        assert exports.unregister(name) is thing
        assert exports.find(name) is None
        with pytest.raises(KeyError):
            exports.unregister(name)


def test_tables_are_empty_after_the_last_release(exports: ExportTable) -> None:
    luid = add(exports, object())
    exports.count(luid)
    exports.name(b"x", object())
    exports.name(b"y", object())
    exports.clear()
    assert (len(exports), exports.ids(), exports.luids) == (0, [], {})
    # Late: it was known once.
    assert exports.decref(luid) is None


def test_tables_of_two_connections_are_apart() -> None:
    one, other = ExportTable(LocalIDs()), ExportTable(LocalIDs())
    luid = add(one, object())
    one.count(luid)
    one.name(b"x", object())
    one.name(b"y", object())
    assert (len(other), other.ids(), other.luids) == (0, [], {})
    thing = object()
    assert add(other, thing) == luid
    assert other.decref(luid) is thing


def test_published_tables_are_those_of_one_broker() -> None:
    brokers = [Broker(), Broker()]
    for broker in brokers:
        tables: list[Any] = [
            broker.luids,
            broker.waitingForAnswers,
            broker.locallyCachedObjects,
            broker.remotelyCachedObjects,
            broker.remotelyCachedLUIDs,
            broker._localCleanup,
        ]
        for table in tables:
            assert table == {}
            table["of a program's own"] = broker
        lists: list[Any] = [
            broker.disconnects,
            broker.failures,
            broker.pageProducers,
        ]
        for some in lists:
            assert some == []
            some.append(broker)


def test_equal_viewpoints_are_one_object(exports: ExportTable) -> None:
    perspective, thing = object(), object()
    luid = add(exports, ViewPoint(perspective, thing))
    assert luid_of(exports, ViewPoint(perspective, thing)) == luid
    assert luid_of(exports, ViewPoint(object(), thing)) is None


def test_published_view_of_a_table(exports: ExportTable) -> None:
    thing, root = object(), object()
    luid = add(exports, thing)
    exports.name(b"root", root)
    published = LocalObjects(exports)
    assert luid in published
    assert b"other" not in published
    assert published[luid].object is thing
    assert {key: local.object for key, local in published.items()} == {
        b"root": root,
        luid: thing,
    }
    assert len(published) == 2
    with pytest.raises(KeyError):
        published[luid + 1]
    assert repr(published) == "<2 objects>"
    exports.clear()
    assert published == {}


def test_every_object_has_an_id() -> None:
    thing = object()
    assert process_unique_id(thing) == id(thing)


def test_cache_stops_observing_before_it_is_forgotten(caches: CacheTable) -> None:
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


def test_cache_sent_while_it_stops_observing_is_a_new_one(caches: CacheTable) -> None:
    thing = object()
    old = caches.add(thing, None)
    caches.decref(old)
    new = caches.add(thing, None)
    caches.forget(old)
    assert caches.find(thing) == new
    assert list(caches.objects) == [new]


def test_decache_of_an_unknown_luid_is_a_protocol_error(caches: CacheTable) -> None:
    with pytest.raises(ProtocolError):
        caches.decref(1)
    luid = caches.add(object(), None)
    caches.forget(luid)
    assert caches.decref(luid) is None


def test_repr_of_an_entry_names_the_class() -> None:
    class Secretive:
        def __repr__(self) -> str:
            raise AssertionError("its own repr may be anything")

    entry: Any = Local(Secretive())
    assert "Secretive" in repr(entry)
    assert (entry.incref(), entry.decref()) == (2, 1)
