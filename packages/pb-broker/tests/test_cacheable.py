"""Copies that are kept up to date."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from twisted.internet.defer import Deferred

import pb_broker as pb
from pb_jelly import MalformedJelly, UnjellyableType, jelly, unjelly

from .support import Echo, connected, failure_of, logged, result_of, root_of


class Original(pb.Cacheable):
    def __init__(self) -> None:
        self.value = 1
        self.observers: list[Any] = []
        self.stopped: list[Any] = []

    def getTypeToCopy(self) -> str:
        return "test.Cached"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"value": self.value}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)
        self.stopped.append(observer)


class Cached(pb.RemoteCache):
    def __init__(self) -> None:
        self.initialized = True

    def observe_add(self, number: int) -> int:
        self.value += number
        return self.value

    def observe_fail(self) -> None:
        raise pb.Error("no")

    value: int


pb.setUnjellyableForClass("test.Cached", Cached)


class Serves(Echo):
    def __init__(self) -> None:
        super().__init__()
        self.original = Original()

    def remote_original(self) -> Any:
        return self.original

    def remote_originals(self) -> Any:
        return [self.original, self.original]

    def remote_is_original(self, thing: Any) -> bool:
        return thing is self.original


def test_updates_of_the_original_reach_the_copy() -> None:
    with connected(Serves()) as pair:
        root: Serves = pair.server_factory.root
        copy = result_of(root_of(pair).callRemote("original"), pair)
        assert type(copy) is Cached
        assert (copy.value, copy.initialized) == (1, True)
        (observer,) = root.original.observers
        assert result_of(observer.callRemote("add", 5), pair) == 6
        assert copy.value == 6
        assert result_of(observer.remoteMethod("add")(1), pair) == 7
        assert observer.callRemote("add", 1, pbanswer=False) is None
        pair.flush()
        assert copy.value == 8
        assert failure_of(observer.callRemote(b"fail"), pair).check(pb.Error)
        with logged():
            assert failure_of(observer.callRemote("nope"), pair).check(pb.NoSuchMethod)
        observer.callRemote("update", {"value": 50, "broker": None, "luid": 99})
        pair.flush()
        assert copy.value == 50
        assert copy.broker is pair.client
        assert copy.luid in pair.client.locallyCachedObjects


def test_object_sent_twice_is_one_copy() -> None:
    with connected(Serves()) as pair:
        root = root_of(pair)
        one, two = result_of(root.callRemote("originals"), pair)
        three = result_of(root.callRemote("original"), pair)
        assert one == two == three
        assert len({one, two, three}) == 1
        assert one is not three
        assert one != 5
        one.value = 9
        assert three.value == 9
        assert result_of(root.callRemote("is_original", two), pair)


def test_number_of_kept_copies_is_limited() -> None:
    """It need not ever say that one can be forgotten."""
    factory = pb.PBServerFactory(Echo(), limits=pb.BrokerLimits(imported_references=2))
    with connected(server_factory=factory) as pair:
        for _ in range(2):
            result_of(root_of(pair).callRemote("keep", Original()), pair)
        failure = failure_of(root_of(pair).callRemote("keep", Original()), pair)
        assert failure.check(pb.Error)
        assert "2 cached copies" in str(failure.value)
        assert len(pair.server.locallyCachedObjects) == 2
        # Nothing is said of the one that was refused.
        assert pair.server_transport.written == []
        pair.server_factory.root.kept.clear()
        gc.collect()
        pair.flush()
        assert pair.server.locallyCachedObjects == {}
        result_of(root_of(pair).callRemote("keep", Original()), pair)


def test_last_released_copy_stops_observing() -> None:
    with connected(Serves()) as pair:
        original = pair.server_factory.root.original
        copies = list(result_of(root_of(pair).callRemote("originals"), pair))
        copies.append(result_of(root_of(pair).callRemote("original"), pair))
        (observer,) = original.observers
        while copies:
            assert original.stopped == []
            copies.pop()
            gc.collect()
            pair.flush()
        assert original.stopped == [observer]
        assert pair.server.remotelyCachedObjects == {}
        assert pair.client.locallyCachedObjects == {}
        with pytest.raises(pb.ProtocolError):
            observer.callRemote("add", 1)
        again = result_of(root_of(pair).callRemote("original"), pair)
        assert again.value == 1
        assert len(original.observers) == 1


def test_farewell_of_an_original_may_call_its_copy() -> None:
    said: list[Any] = []

    class Polite(Original):
        def stoppedObserving(self, perspective: Any, observer: Any) -> None:
            super().stoppedObserving(perspective, observer)
            said.append(observer.callRemote("add", 1))

    with connected(Serves()) as pair:
        pair.server_factory.root.original = Polite()
        copy = result_of(root_of(pair).callRemote("original"), pair)
        assert copy.value == 1
        del copy
        gc.collect()
        pair.flush()
        assert said[0].result == 2
        assert pair.client.locallyCachedObjects == {}


def test_lost_connection_stops_observing_once() -> None:
    with connected(Serves()) as pair, logged() as events:
        original = pair.server_factory.root.original

        class Late(Original):
            def stoppedObserving(self, perspective: Any, observer: Any) -> None:
                super().stoppedObserving(perspective, observer)
                observer.callRemote("add", 1)

        pair.server_factory.root.original = late = Late()
        copy = result_of(root_of(pair).callRemote("original"), pair)
        pair.server_factory.root.original = original
        other = result_of(root_of(pair).callRemote("original"), pair)
        pair.close()
        assert len(original.stopped) == len(late.stopped) == 1
        del copy, other
        gc.collect()
        assert len(original.stopped) == len(late.stopped) == 1
        assert not [event for event in events if "log_failure" in event]


def test_change_while_a_connection_is_cleaned_up() -> None:
    """The change comes from a failing call, or from the end of another cache."""

    class Farewell(Original):
        after: Any = None

        def stoppedObserving(self, perspective: Any, observer: Any) -> None:
            super().stoppedObserving(perspective, observer)
            if self.after is not None:
                self.after()

    class Waits(pb.Referenceable):
        def remote_wait(self) -> Any:
            return Deferred()

    root = Serves()
    outcomes: list[Any] = []

    def change(value: int, **kw: Any) -> None:
        original.value += value
        for observer in list(original.observers):
            answer = observer.callRemote("add", value, **kw)
            if answer is not None:
                answer.addBoth(outcomes.append)

    with connected(root) as gone, connected(root) as there:
        # Both orders, of which one is that of the table.
        before, original, behind = Farewell(), Original(), Farewell()
        before.after = lambda: change(10)
        behind.after = lambda: change(100, pbanswer=False)
        kept = []
        for each in (before, original, behind):
            root.original = each
            kept.append(result_of(root_of(gone).callRemote("original"), gone))
        root.original = original
        copy = result_of(root_of(there).callRemote("original"), there)
        result_of(root_of(gone).callRemote("keep", Waits()), gone)
        waiting = root.kept[0].callRemote("wait")
        waiting.addErrback(lambda _: change(1000))
        gone.close()
        there.flush()
        assert copy.value == original.value == 1111
        assert outcomes[0].check(pb.DeadReferenceError)
        assert outcomes[1:] == [11, 1111]
        assert len(original.observers) == 1


def test_unsendable_state_is_not_observed() -> None:
    class Bad(Original):
        def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
            self.observers.append(observer)
            return {"value": object()}

    with connected(Serves()) as pair, logged():
        pair.server_factory.root.original = bad = Bad()
        failure = failure_of(root_of(pair).callRemote("original"), pair)
        assert "answer.value" in str(failure.value) or "value" in str(failure.value)
        assert bad.observers == []
        assert pair.server.remotelyCachedObjects == {}


def test_copy_in_a_cycle_with_itself() -> None:
    class Selfish(Original):
        def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
            self.observers.append(observer)
            return {"value": self}

    with connected(Serves()) as pair:
        pair.server_factory.root.original = Selfish()
        copy = result_of(root_of(pair).callRemote("original"), pair)
        assert copy.value is copy


def test_state_may_replace_the_dict_of_a_copy() -> None:
    class Replaces(pb.RemoteCache):
        def setCopyableState(self, state: Any) -> None:
            self.__dict__ = {"mine": state["value"]}

        def observe_add(self, number: int) -> int:
            self.mine: int = self.mine + number
            return self.mine

    pb.setUnjellyableForClass("test.Replaces", Replaces)

    class Other(Original):
        def getTypeToCopy(self) -> str:
            return "test.Replaces"

    with connected(Serves()) as pair:
        pair.server_factory.root.original = original = Other()
        copy = result_of(root_of(pair).callRemote("original"), pair)
        assert result_of(original.observers[0].callRemote("add", 1), pair) == 2
        assert copy.mine == 2


def test_copy_is_sent_to_its_own_peer_alone() -> None:
    with connected(Serves()) as pair, connected(Serves()) as elsewhere:
        copy = result_of(root_of(pair).callRemote("original"), pair)
        failure = failure_of(root_of(elsewhere).callRemote("keep", copy), elsewhere)
        assert failure.check(UnjellyableType)


@pytest.mark.parametrize(
    "expression",
    [
        [b"test.Cached", 1],
        [b"test.Cached", b"one", [b"dictionary"]],
        [b"test.Cached", 1, [b"list"], 1],
        [b"test.Cached", 1, [b"list", 5]],
        [b"cached", 5],
        [b"cached"],
        [b"cached", b"x"],
        [b"lcache", 5],
        [b"lcache", 1, 2],
        [b"local", 5],
        [b"local", [b"tuple"]],
        [b"remote", b"root"],
        [b"remote"],
        [b"test.Cached", 3, [b"dictionary"]],
    ],
)
def test_malformed_copies_are_refused(expression: Any) -> None:
    with connected(Serves()) as pair:
        pair.client.cacheLocally(3, object())
        with pytest.raises(MalformedJelly):
            pair.client.unserialize(expression)
        gc.collect()
        pair.client.session.caches.here.clear()


def test_equality_of_observers_and_their_methods() -> None:
    original, broker = Original(), object()
    one = pb.RemoteCacheObserver(broker, original, "someone")
    two = pb.RemoteCacheObserver(broker, original, "someone")
    other = pb.RemoteCacheObserver(broker, original, "another")
    assert one == two
    assert hash(one) == hash(two)
    assert one != other
    assert one != 5
    assert one.remoteMethod("x") == two.remoteMethod("x")
    assert hash(one.remoteMethod("x")) == hash(two.remoteMethod("x"))
    assert one.remoteMethod("x") != one.remoteMethod("y")
    assert one.remoteMethod("x") != 5
    assert "Original" in repr(one)


def test_cacheable_without_a_broker_is_an_ordinary_object() -> None:
    original = Original()
    name = f"{Original.__module__}.Original"
    pb.setUnjellyableForClass(name, Cached)
    back = unjelly(jelly(original))
    assert type(back) is Cached
    assert back.value == 1
    again = jelly(back)
    assert again[1][1] == [[b"unicode", b"value"], 1] or again[0]  # type: ignore[index]


def test_default_hooks_have_no_effect() -> None:
    original = pb.Cacheable()
    original.x = 1  # type: ignore[attr-defined]
    observer = pb.RemoteCacheObserver(None, original, None)
    assert original.getStateToCacheAndObserveFor(None, observer) == {"x": 1}
    original.stoppedObserving(None, observer)
