"""Exports of owners, and their withdrawal."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

import pb_broker as pb
from pb_broker._session.ownership import Owner, Ownership
from pb_broker.testing import Pair

from .support import Child, connected, failure_of, result_of, root_of


class News(pb.Cacheable, pb.RemoteCache):
    """Keeps observers."""

    def __init__(self) -> None:
        self.observers: list[Any] = []

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)

    def observe_told(self, thing: Any) -> str:
        self.__dict__.setdefault("kept", []).append(thing)
        return "kept"


pb.setUnjellyableForClass(News, News)


class Shelf(pb.Referenceable):
    """First object of a user, in the role of an avatar."""

    def __init__(self) -> None:
        self.child = Child()
        self.news = News()
        self.waiting: list[Deferred[Any]] = []
        self.heard: list[Any] = []
        self.closed = 0
        # As that of a pb_cred avatar, which is its own.
        self.perspective = self

    def remote_child(self) -> Any:
        return self.child

    def remote_shelf(self) -> Any:
        return Shelf()

    def remote_news(self) -> Any:
        return self.news

    def remote_later(self) -> Any:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    async def remote_rows(self) -> Any:
        try:
            while True:
                yield 1
        finally:
            self.closed += 1

    def remote_take(self, listener: Any) -> None:
        self.heard.append(listener)

    def remote_tell(self, listener: Any) -> Any:
        return listener.callRemote("keep", Child()).addCallback(lambda _: None)

    def remote_plain(self) -> Any:
        plain = Shelf()
        plain.perspective = None
        plain.waiting, plain.heard = self.waiting, self.heard
        return plain

    async def remote_tell_late(self, told: Any) -> None:
        """Send later, by a reference of the call or by an earlier one."""
        self.waiting.append(Deferred())
        for reference in await self.waiting[-1] or [told]:
            try:
                self.heard.append(await reference.callRemote("keep", Child()))
            except pb.Error as error:
                self.heard.append(str(error))

    def remote_tell_by_callback(self, told: Any) -> Any:
        waiting: Deferred[Any] = Deferred()
        waiting.addCallback(lambda _: told.callRemote("keep", Child()))
        waiting.addErrback(lambda failure: self.heard.append(str(failure.value)))
        self.waiting.append(waiting)
        return waiting

    async def remote_ask_late(self, told: Any) -> None:
        other = await told.callRemote("other")
        self.waiting.append(Deferred())
        self.waiting[-1].addCallback(lambda _: other.callRemote("keep", Child()))
        self.waiting[-1].addErrback(lambda failure: self.heard.append(failure.value))

    async def remote_change_late(self) -> None:
        self.waiting.append(Deferred())
        await self.waiting[-1]
        for observer in self.news.observers:
            self.heard.append(await observer.callRemote("told", Child()))


class Root(pb.Root):
    def __init__(self) -> None:
        self.shelves: list[Shelf] = []
        self.ownership: Ownership | None = None
        self.owners: list[Owner] = []
        self.shared = Child()

    def remote_shelf(self) -> Any:
        return self.shelves.pop()

    def remote_shared(self) -> Any:
        return self.shared


class Keeper(pb.Referenceable):
    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.others: list[Any] = []

    def remote_keep(self, thing: Any) -> str:
        self.kept.append(thing)
        return "kept"

    def remote_other(self) -> Any:
        return self.others.pop()


class Given:
    """A client with shelves, each on an account of its own.

    Args:
        pair: Both ends.
        root: The server's root.
    """

    def __init__(self, pair: Pair, root: Root) -> None:
        self.pair = pair
        self.root = root
        self.ownership: Any = Ownership.of(pair.server)

    def shelf(self) -> tuple[Any, Shelf, Owner]:
        """Return a reference to a new shelf, it itself, and its owner."""
        shelf, owner = Shelf(), Owner()
        self.ownership.add(owner, shelf)
        self.root.shelves.append(shelf)
        with self.ownership.giving(frozenset((owner,))):
            luid = self.pair.server.registerReference(shelf)
        reference = self.call(root_of(self.pair), "shelf")
        assert reference.luid == luid
        return reference, shelf, owner

    def call(self, reference: Any, *args: Any) -> Any:
        return result_of(reference.callRemote(*args), self.pair)

    def is_gone(self, reference: Any) -> bool:
        """Return True if the server has released the object."""
        failure = failure_of(reference.callRemote("nothing"), self.pair)
        return "Invalid Object ID" in str(failure.value)


@pytest.fixture
def given_() -> Iterator[Given]:
    root = Root()
    with connected(root) as pair:
        yield Given(pair, root)


def test_withdrawal_takes_exports_of_any_depth(given_: Given) -> None:
    shelf, mine, owner = given_.shelf()
    deeper = given_.call(given_.call(shelf, "shelf"), "shelf")
    child = given_.call(deeper, "child")
    assert given_.call(child, "called_back") == ["got"]
    given_.ownership.take_back(owner, mine)
    for reference in (shelf, deeper, child):
        assert given_.is_gone(reference)
    assert list(given_.pair.server.localObjects) == [b"root"]


def test_withdrawal_leaves_the_exports_of_other_owners(given_: Given) -> None:
    (first, mine, owner), (second, theirs, other) = given_.shelf(), given_.shelf()
    child = given_.call(second, "child")
    mine.child = theirs.child
    assert given_.call(first, "child") == child
    given_.ownership.take_back(owner, mine)
    assert given_.call(child, "called_back") == ["got"]
    given_.ownership.take_back(other, theirs)
    assert given_.is_gone(child)


def test_withdrawal_leaves_earlier_exports() -> None:
    root = Root()
    with connected(root) as pair:
        shared = result_of(root_of(pair).callRemote("shared"), pair)
        given_ = Given(pair, root)
        shelf, mine, owner = given_.shelf()
        mine.child = root.shared
        assert given_.call(shelf, "child") == shared
        given_.ownership.take_back(owner, mine)
        assert given_.call(shared, "called_back") == ["got"]


def test_exports_of_unknown_owners_go_with_the_last_owner(given_: Given) -> None:
    (_, mine, owner), (_, theirs, other) = given_.shelf(), given_.shelf()
    shared = given_.call(root_of(given_.pair), "shared")
    given_.ownership.take_back(owner, mine)
    assert given_.call(shared, "called_back") == ["got"]
    given_.ownership.take_back(other, theirs)
    assert given_.is_gone(shared)


def test_withdrawal_ends_the_updates_of_caches(given_: Given) -> None:
    shelf, mine, owner = given_.shelf()
    news = given_.call(shelf, "news")
    again = given_.call(shelf, "news")
    assert len(mine.news.observers) == 1
    given_.ownership.take_back(owner, mine)
    assert mine.news.observers == []
    assert given_.pair.server.remotelyCachedObjects == {}
    # That the peer lets go of it afterwards is no mistake of its.
    del news, again
    gc.collect()
    given_.pair.flush()
    assert not given_.pair.closed


def test_withdrawal_leaves_the_updates_of_other_owners_caches(given_: Given) -> None:
    (first, mine, owner), (second, theirs, _) = given_.shelf(), given_.shelf()
    mine.news = theirs.news
    held = [given_.call(first, "news"), given_.call(second, "news")]
    given_.ownership.take_back(owner, mine)
    assert len(theirs.news.observers) == 1
    del held


def test_withdrawal_ends_streams(given_: Given) -> None:
    shelf, mine, owner = given_.shelf()
    got: list[Any] = []

    async def read() -> None:
        async for row in shelf.stream("rows"):
            got.append(row)
            if len(got) == 100:
                given_.ownership.take_back(owner, mine)

    reading = Deferred.fromCoroutine(read())
    failures: list[Any] = []
    reading.addErrback(failures.append)
    given_.pair.flush()
    assert mine.closed == 1
    assert failures


def test_late_result_of_a_withdrawn_owner_is_not_sent(given_: Given) -> None:
    shelf, mine, owner = given_.shelf()
    asked = shelf.callRemote("later")
    given_.pair.flush()
    given_.ownership.take_back(owner, mine)
    mine.waiting[0].callback(Child())
    failure = failure_of(asked, given_.pair)
    assert "the session has ended" in str(failure.value)
    assert list(given_.pair.server.localObjects) == [b"root"]


def test_late_result_with_another_owner_is_sent(given_: Given) -> None:
    (first, mine, owner), (second, theirs, other) = given_.shelf(), given_.shelf()
    theirs.child = mine  # type: ignore[assignment]
    assert given_.call(second, "child") == first
    asked = first.callRemote("later")
    given_.pair.flush()
    given_.ownership.take_back(owner, mine)
    mine.waiting[0].callback(Child())
    child = result_of(asked, given_.pair)
    assert given_.call(child, "called_back") == ["got"]
    given_.ownership.take_back(other, theirs)
    assert given_.is_gone(child)


def test_withdrawal_takes_arguments_of_outgoing_calls(given_: Given) -> None:
    (first, mine, owner), (second, theirs, _) = given_.shelf(), given_.shelf()
    keeper, others = Keeper(), Keeper()
    # In a call of the peer's, and by a reference that came in one.
    given_.call(first, "tell", keeper)
    given_.call(first, "take", keeper)
    given_.call(second, "take", others)
    for shelf in (mine, theirs):
        result_of(shelf.heard[0].callRemote("keep", Child()), given_.pair)
    assert len(keeper.kept) == 2
    given_.ownership.take_back(owner, mine)
    assert all(map(given_.is_gone, keeper.kept))
    assert given_.call(others.kept[0], "called_back") == ["got"]


def test_use_of_an_owners_exports_is_recorded(given_: Given) -> None:
    shelf, _, _ = given_.shelf()
    assert not given_.ownership.was_called
    given_.call(root_of(given_.pair), "shared")
    given_.pair.client.session.outgoing.ask_for_life()
    given_.pair.flush()
    assert not given_.ownership.was_called
    given_.call(shelf, "child")
    assert given_.ownership.was_called


def test_observers_see_the_calls_of_owners() -> None:
    noted: list[Any] = []

    class Observer:
        def on_call(self, call: pb.ObservedCall, /) -> None:
            noted.append(call.method)

        def on_answer(self, call: pb.ObservedCall, error: Exception | None, /) -> None:
            noted.append(type(error))

    for observes_first in (True, False):
        noted.clear()
        root = Root()
        with connected(root) as pair:
            if observes_first:
                pair.server.observe(Observer())
            given_ = Given(pair, root)
            if not observes_first:
                pair.server.observe(Observer())
            shelf, mine, owner = given_.shelf()
            child = given_.call(shelf, "child")
            asked = shelf.callRemote("later")
            pair.flush()
            given_.ownership.take_back(owner, mine)
            mine.waiting[0].callback(None)
            failure_of(asked, pair)
            assert given_.is_gone(child)
        assert noted[:6] == [
            "shelf",
            type(None),
            "child",
            type(None),
            "later",
            pb.Error,
        ]


def test_released_references_are_forgotten(given_: Given) -> None:
    shelf, mine, owner = given_.shelf()
    for _ in range(10):
        given_.call(shelf, "shelf")
        given_.call(shelf, "news")
        gc.collect()
        given_.pair.flush()
    assert owner.exports == {shelf.luid}
    assert owner.caches == set()
    given_.ownership.take_back(owner, mine)


def test_unsent_exports_have_no_owner(given_: Given) -> None:
    shelf, mine, owner = given_.shelf()
    mine.child = [Child(), object()]  # type: ignore[assignment]
    failure_of(shelf.callRemote("child"), given_.pair)
    assert owner.exports == {shelf.luid}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=30))
def test_object_stays_as_long_as_one_of_its_owners(
    steps: list[tuple[int, int]],
) -> None:
    """Objects are given to owners, and owners end, in any order."""
    root = Root()
    children = [Child() for _ in range(5)]
    with connected(root) as pair:
        given_ = Given(pair, root)
        shelves = [given_.shelf() for _ in range(3)]
        has: list[set[int]] = [set(), set(), set()]
        references: dict[int, Any] = {}
        for who, which in steps:
            shelf, mine, _ = shelves[who]
            mine.child = children[which]
            references[which] = given_.call(shelf, "child")
            has[who].add(which)
        for who, (_, mine, owner) in enumerate(shelves):
            given_.ownership.take_back(owner, mine)
            has[who] = set()
            for which, reference in references.items():
                is_owned = any(which in each for each in has)
                assert given_.is_gone(reference) != is_owned


class Wrapped(pb.Copyable, pb.RemoteCopy):
    """Value whose presence has a message read in two steps."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def unjellyFor(self, unjellier: Any, jellyList: list[Any]) -> Any:
        return unjellier.unjelly(jellyList[1])["inner"]


pb.setUnjellyableForClass(Wrapped, Wrapped)


class TestLate:
    """Exports after a wait, for an owner who has ended meanwhile."""

    def late(self, given_: Given, name: str, *args: Any) -> Shelf:
        """Begin a call that waits, and end the session that it was made in.

        Another owner is present who could get the exports instead.
        """
        reference, shelf, owner = given_.shelf()
        # As most objects, it has no perspective.
        plain = given_.call(reference, "plain")
        plain.callRemote(name, *args).addErrback(lambda _: None)
        given_.pair.flush()
        given_.shelf()
        given_.ownership.take_back(owner, shelf)
        return shelf

    def test_late_export_by_an_argument(self, given_: Given) -> None:
        keeper = Keeper()
        shelf = self.late(given_, "tell_late", keeper)
        exports = dict(given_.pair.server.localObjects)
        shelf.waiting[0].callback(None)
        given_.pair.flush()
        assert shelf.heard == ["the session has ended"]
        assert keeper.kept == []
        assert given_.pair.server.localObjects.keys() == exports.keys()

    def test_late_export_by_an_earlier_reference(self, given_: Given) -> None:
        """Only the context has the owner."""
        root = Keeper()
        given_.pair.client.setNameForLocal("root", root)
        shelf = self.late(given_, "tell_late", Keeper())
        shelf.waiting[0].callback([given_.pair.server.remoteForName("root")])
        given_.pair.flush()
        assert shelf.heard == ["the session has ended"]
        assert root.kept == []

    def test_late_export_by_a_callback(self, given_: Given) -> None:
        """Which is run in no context of the call."""
        keeper = Keeper()
        shelf = self.late(given_, "tell_by_callback", keeper)
        shelf.waiting[0].callback(None)
        given_.pair.flush()
        assert shelf.heard == ["the session has ended"]
        assert keeper.kept == []

    @pytest.mark.parametrize("in_two_steps", [False, True])
    def test_late_export_by_a_reference_in_an_answer(
        self, given_: Given, in_two_steps: bool
    ) -> None:
        keeper, other = Keeper(), Keeper()
        keeper.others.append(Wrapped(other) if in_two_steps else other)
        shelf = self.late(given_, "ask_late", keeper)
        shelf.waiting[0].callback(None)
        given_.pair.flush()
        assert [str(error) for error in shelf.heard] == ["the session has ended"]
        assert other.kept == []

    def test_late_export_to_other_owners(self, given_: Given) -> None:
        """Other owners get their exports under their own ownership."""
        second, theirs, other = given_.shelf()
        others = Keeper()
        given_.call(second, "take", others)
        shelf = self.late(given_, "tell_late", Keeper())
        shelf.waiting[0].callback(theirs.heard)
        given_.pair.flush()
        assert shelf.heard == ["kept"]
        assert given_.call(others.kept[0], "called_back") == ["got"]
        given_.ownership.take_back(other, theirs)
        assert given_.is_gone(others.kept[0])

    def test_late_export_to_caches_of_other_owners(self, given_: Given) -> None:
        (first, mine, owner), (second, theirs, other) = given_.shelf(), given_.shelf()
        theirs.news = mine.news
        # Made for one of them, who goes.
        kept = [given_.call(first, "news"), given_.call(second, "news")]
        first.callRemote("change_late").addErrback(lambda _: None)
        given_.pair.flush()
        given_.ownership.take_back(owner, mine)
        mine.waiting[0].callback(None)
        given_.pair.flush()
        assert mine.heard == ["kept"]
        assert given_.call(kept[1].kept[0], "called_back") == ["got"]
        given_.ownership.take_back(other, theirs)
        assert given_.is_gone(kept[1].kept[0])

    def test_late_export_by_a_call_to_many(self, given_: Given) -> None:
        first, mine, owner = given_.shelf()
        second, theirs, _ = given_.shelf()
        keepers = [Keeper(), Keeper()]
        given_.call(first, "take", keepers[0])
        given_.call(second, "take", keepers[1])
        given_.ownership.take_back(owner, mine)
        answers = pb.call_observers([*mine.heard, *theirs.heard], "keep", "text")
        assert "the session has ended" in str(failure_of(answers[0], given_.pair))
        assert result_of(answers[1], given_.pair) == "kept"
        assert keepers[0].kept == []

    def test_late_export_before_the_end_of_the_session(self, given_: Given) -> None:
        """The late export is revoked with the session."""
        (reference, shelf, owner), _ = given_.shelf(), given_.shelf()
        keeper = Keeper()
        for name in ("tell_late", "tell_by_callback"):
            call = reference.callRemote(name, keeper)
            given_.pair.flush()
            shelf.waiting.pop().callback(None)
            result_of(call, given_.pair)
        assert len(keeper.kept) == 2
        given_.ownership.take_back(owner, shelf)
        assert all(map(given_.is_gone, keeper.kept))


def test_references_of_the_peer_are_forgotten(given_: Given) -> None:
    shelf, mine, _ = given_.shelf()
    keeper = Keeper()
    for _ in range(3):
        given_.call(shelf, "take", keeper)
    assert [count for _, count in given_.ownership._of_imports.values()] == [3]
    mine.heard.clear()
    gc.collect()
    given_.pair.flush()
    assert given_.ownership._of_imports == {}
    # Those that are made twice from one message, which has to be read anew.
    for value in ([keeper, Wrapped(keeper)], {"again": keeper, 1: Wrapped(1)}):
        given_.call(shelf, "take", value)
    mine.heard.clear()
    gc.collect()
    given_.pair.flush()
    assert given_.ownership._of_imports == {}
