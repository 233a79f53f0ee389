"""References, views and copies."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from twisted.internet.defer import succeed

import pb_broker as pb
from pb_jelly import MalformedJelly, UnjellyableType, jelly, unjelly

from .support import Child, Echo, connected, failure_of, logged, result_of, root_of


class Viewed(pb.Viewable):
    def view_who(self, who: Any, *args: Any, **kw: Any) -> Any:
        return who, args, kw

    def view_me(self, who: Any) -> Any:
        return self


class Shows(pb.Root):
    perspective = "someone"

    def __init__(self) -> None:
        self.viewed = Viewed()

    def remote_view(self) -> Any:
        return self.viewed


class Copied(pb.Copyable, pb.RemoteCopy):
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def getTypeToCopyFor(self, perspective: Any) -> Any:
        return "test.flavors.Copied"

    def getStateToCopyFor(self, perspective: Any) -> Any:
        return {"seen_by": perspective, **self.__dict__}


pb.setUnjellyableForClass("test.flavors.Copied", Copied)


def test_reference_sent_back_is_the_object() -> None:
    with connected() as pair:
        child = Child()
        (back,) = result_of(root_of(pair).callRemote("echo", child), pair)
        assert back is child
        remote = result_of(root_of(pair).callRemote("child"), pair)
        result_of(root_of(pair).callRemote("keep", remote), pair)
        assert pair.server_factory.root.kept == [pair.server_factory.root.child]


def test_equality_and_repr_of_references() -> None:
    with connected() as pair, connected() as other:
        one = result_of(root_of(pair).callRemote("child"), pair)
        two = result_of(root_of(pair).callRemote("child"), pair)
        three = result_of(root_of(other).callRemote("child"), other)
        assert one == two != three
        assert one != 5
        assert len({one, two}) == 1
        assert f" {one.luid} of Broker" in repr(one)
        assert one.remoteMethod("x") == two.remoteMethod("x")
        assert one.remoteMethod("x") != one.remoteMethod("y")
        assert one.remoteMethod("x") != 5
        assert len({one.remoteMethod("x"), two.remoteMethod("x")}) == 1
        call = one.remoteMethod("called_back")(1)
        assert result_of(call, pair) == ["got", 1]
        failure = failure_of(root_of(other).callRemote("keep", one), other)
        assert failure.check(UnjellyableType)
        hash(root_of(pair))


def test_disconnect_callbacks_of_a_reference() -> None:
    with connected() as pair:
        root = root_of(pair)
        gone: list[Any] = []
        root.notifyOnDisconnect(gone.append)
        root.notifyOnDisconnect(print)
        root.dontNotifyOnDisconnect(print)
        other = root_of(pair)
        other.notifyOnDisconnect(gone.append)
        other.dontNotifyOnDisconnect(gone.append)
        with pytest.raises(ValueError, match="not registered"):
            other.dontNotifyOnDisconnect(gone.append)
        pair.close()
        assert gone == [root]


def test_local_calls_behave_as_remote_ones() -> None:
    echo = Echo()
    assert echo.callRemote("echo", 1, pbanswer=False).result == (1,)
    assert echo.callRemote(b"child").result is echo.child
    call = echo.callRemote("call_back", Child(), 2)
    assert call.result == ["got", 2]
    missing = echo.callRemote("nothing")
    missing.addErrback(lambda failure: failure.trap(pb.NoSuchMethod))
    failed = echo.callRemote("raise", "pb")
    failed.addErrback(lambda failure: failure.trap(pb.Error))


def test_methods_without_the_prefix_are_not_reached() -> None:
    with connected() as pair, logged():
        root = root_of(pair)
        for name in ("rootObject", "__class__", "callRemote", "_x", ".", "echo.x", "é"):
            assert failure_of(root.callRemote(name), pair).check(pb.NoSuchMethod)


def test_view_methods_get_the_perspective() -> None:
    with connected(Shows()) as pair:
        view = result_of(root_of(pair).callRemote("view"), pair)
        answer = result_of(view.callRemote("who", 1, two=2), pair)
        assert answer == ("someone", (1,), {"two": 2})
        assert result_of(view.callRemote("me"), pair) == view
        again = result_of(root_of(pair).callRemote("view"), pair)
        assert again == view
        with logged():
            assert failure_of(view.callRemote("remote_x"), pair).check(pb.NoSuchMethod)
        # Of one view, one entry, however many ViewPoints were made for it.
        assert len(pair.server.localObjects) == 2
        del view, again
        gc.collect()
        pair.flush()
        assert len(pair.server.localObjects) == 1


def test_state_of_a_copy_depends_on_the_perspective() -> None:
    class Gives(pb.Root):
        perspective = "someone"

        def remote_copy(self) -> Any:
            return Copied(x=1)

    with connected(Gives()) as pair:
        copy = result_of(root_of(pair).callRemote("copy"), pair)
        assert vars(copy) == {"seen_by": "someone", "x": 1}


@pytest.mark.dialect("pb")
def test_copies_in_cycles() -> None:
    with connected() as pair:
        itself = Copied()
        itself.me = itself  # type: ignore[attr-defined]
        (back,) = result_of(root_of(pair).callRemote("echo", itself), pair)
        assert back.me is back
        listed = Copied()
        listed.all = [listed, {"k": listed}]  # type: ignore[attr-defined]
        (back,) = result_of(root_of(pair).callRemote("echo", listed), pair)
        assert back.all[0] is back
        assert back.all[1]["k"] is back
        first, second = Copied(), Copied()
        first.other, second.other = second, first  # type: ignore[attr-defined]
        (back,) = result_of(root_of(pair).callRemote("echo", first), pair)
        assert back.other.other is back
        inner = Copied()
        outer = (inner,)
        inner.up = outer  # type: ignore[attr-defined]
        (back,) = result_of(root_of(pair).callRemote("echo", outer), pair)
        assert back[0].up is back


@pytest.mark.parametrize(
    "expression",
    [
        [b"test.flavors.Copied"],
        [b"test.flavors.Copied", 5],
        [b"test.flavors.Copied", [b"list", 1]],
        [b"test.flavors.Copied", [b"dictionary", [5, 5]]],
        [b"test.flavors.Copied", [b"dictionary"], 5],
        [b"twisted.spread.pb.CopyableFailure"],
    ],
)
def test_malformed_copies_are_refused(expression: Any) -> None:
    with connected() as pair, pytest.raises(MalformedJelly):
        pair.client.unserialize(expression)


def test_state_of_a_copy_from_a_legacy_peer() -> None:
    with connected() as pair:
        state = [b"dictionary", [b"x", 1], [[b"unicode", b"y"], 2]]
        copy = pair.client.unserialize([b"test.flavors.Copied", state])
        assert vars(copy) == {"x": 1, "y": 2}
        copy = pair.client.unserialize([b"test.flavors.Copied", [b"None"]])
        assert vars(copy) == {}


def test_factories_for_copies() -> None:
    made: list[Any] = []

    def factory(state: Any) -> Any:
        made.append(state)
        return "made"

    pb.setFactoryForClass("test.flavors.Made", factory)
    with connected() as pair:
        state = [b"dictionary", [[b"unicode", b"x"], 1]]
        assert pair.client.unserialize([b"test.flavors.Made", state]) == "made"
        assert made == [{"x": 1}]


def test_flavors_without_a_broker() -> None:
    with pytest.raises(UnjellyableType):
        jelly(Child())
    with pytest.raises(UnjellyableType):
        jelly(Viewed())
    with connected() as pair, pytest.raises(UnjellyableType):
        jelly(root_of(pair))
    for name in (b"remote", b"local", b"cached", b"lcache"):
        with pytest.raises(MalformedJelly):
            unjelly([name, 1])
    pb.setUnjellyableForClass(Copied, Copied)
    assert unjelly(jelly(Copied(x=1))).x == 1


def test_any_object_can_be_called_as_referenceable() -> None:
    class Speaks:
        def remoteMessageReceived(
            self, broker: Any, message: str, args: Any, kw: Any
        ) -> Any:
            return succeed([message, *args])

        perspectiveMessageReceived = remoteMessageReceived

    with connected() as pair:
        for kind in ("remote", "perspective"):
            speaker = Speaks()
            reference = pb.AsReferenceable(speaker, kind)
            assert (reference.perspective is speaker) == (kind == "perspective")
            pair.server.setNameForLocal("x", reference)
            there = pair.client.remoteForName("x")
            assert result_of(there.callRemote("say", 1), pair) == ["say", 1]


def test_base_classes_unserialize_jellied_arguments() -> None:
    """As programs that override remoteMessageReceived may hand them on."""
    with connected() as pair:
        broker = pair.server
        args: list[Any] = [b"tuple", 1]
        kw: list[Any] = [b"dictionary", [b"x", 2]]
        echo: Echo = pair.server_factory.root
        assert echo.remoteMessageReceived(broker, "echo", args, kw) == ((1,), {"x": 2})
        point = pb.ViewPoint("me", Viewed())
        answer = point.remoteMessageReceived(broker, "who", args, kw)
        assert answer == ("me", (1,), {"x": 2})
