from __future__ import annotations

from typing import Any, Protocol

import pytest
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, succeed
from twisted.web.iweb import ICredentialFactory
from zope.interface.verify import verifyObject

from pb_broker.testing import connected_pair
from pb_cred import pb

from .support import (
    OneRealm,
    call,
    connected,
    log_in,
    logged,
    outcome,
    portal_of,
    text_of,
    trapped,
)


class Desk(pb.Avatar):
    def perspective_add(self, a: int, b: int = 0) -> int:
        return a + b

    def perspective_later(self, value: Any) -> Deferred[Any]:
        return succeed(value)

    async def perspective_soon(self, value: Any) -> Any:
        return await succeed(value)

    def perspective_fails(self) -> None:
        raise pb.Error("not today")

    def perspective_view(self) -> Any:
        return View()


class View(pb.Viewable):
    def view_who(self, perspective: Any) -> Any:
        return type(perspective).__name__


class Bare(pb.Avatar):
    """An avatar whose ``__init__`` does not call ``Avatar.__init__``."""

    def __init__(self, colour: str) -> None:
        self.colour = colour

    def perspective_colour(self) -> str:
        return self.colour


class Plain:
    """Perspective without the base class that takes and returns plain values."""

    async def perspectiveMessageReceived(
        self, broker: Any, message: str, args: Any, kwargs: Any
    ) -> Any:
        return [message, args, kwargs]


class Jelly:
    """Perspective without the base class that reads and writes jelly itself."""

    def perspectiveMessageReceived(
        self, broker: Any, message: str, args: Any, kwargs: Any
    ) -> Any:
        args = broker.unserialize(args, self)
        kwargs = broker.unserialize(kwargs, self)
        return broker.serialize([message, args, kwargs], self)


def entered(avatar: Any) -> tuple[Any, Any]:
    realm = OneRealm(lambda _: (pb.IPerspective, avatar, lambda: None))
    pair = connected(portal_of(realm))
    return pair, log_in(pair)


def test_avatar_has_its_id() -> None:
    assert pb.Avatar(b"alice").avatarId == b"alice"
    assert pb.Avatar().avatarId is None


def test_avatar_without_a_called_init_has_no_id() -> None:
    pair, desk = entered(Bare("red"))
    assert call(pair, desk, "colour") == "red"
    assert Bare("red").avatarId is None


def test_avatar_provides_the_perspective_interface() -> None:
    assert verifyObject(pb.IPerspective, pb.Avatar())
    assert verifyObject(pb.IPerspective, pb.Perspective(b"alice"))


def test_perspective_is_an_avatar() -> None:
    class Desk(pb.Perspective):
        def perspective_add(self, a: int) -> int:
            return a + 1

    assert issubclass(pb.Perspective, pb.Avatar)
    assert pb.Perspective(b"alice").avatarId == b"alice"
    avatar = pb.Realm(Desk).requestAvatar(b"bob", None, pb.IPerspective)[1]
    assert type(avatar) is Desk
    assert avatar.avatarId == b"bob"
    pair, desk = entered(avatar)
    assert call(pair, desk, "add", 2) == 3
    trapped(call(pair, desk, "logout"), pb.NoSuchMethod)


def test_methods_are_called_with_their_arguments() -> None:
    pair, desk = entered(Desk())
    assert call(pair, desk, "add", 2, b=3) == 5


@pytest.mark.parametrize("name", ["later", "soon"])
def test_perspective_method_may_answer_later(name: str) -> None:
    pair, desk = entered(Desk())
    assert call(pair, desk, name, [1, "two"]) == [1, "two"]


def test_pb_error_of_a_method_reaches_the_caller() -> None:
    pair, desk = entered(Desk())
    failure = trapped(call(pair, desk, "fails"), pb.Error)
    assert str(failure.value) == "not today"


def test_view_methods_get_the_avatar_as_perspective() -> None:
    pair, desk = entered(Desk())
    view = call(pair, desk, "view")
    assert call(pair, view, "who") == "Desk"


def test_unknown_method_is_refused() -> None:
    pair, desk = entered(Desk())
    failure = trapped(call(pair, desk, "steal"), pb.NoSuchMethod)
    assert str(failure.value) == "No such method: perspective_steal"


@pytest.mark.parametrize("name", ["__init__", "logout", "perspective_add", "avatarId"])
def test_attributes_without_the_perspective_prefix_are_refused(name: str) -> None:
    pair, desk = entered(Desk())
    trapped(call(pair, desk, name), pb.NoSuchMethod)


def test_log_of_a_peers_arguments_is_bounded() -> None:
    pair, desk = entered(Desk())
    secret = "s3cret" * 10_000
    with logged() as events:
        trapped(call(pair, desk, "x" * 50_000), pb.NoSuchMethod)
        trapped(call(pair, desk, "add", secret, secret, secret), TypeError)
    assert "s3cret" not in text_of(events)
    assert len(text_of(events)) < 20_000


@pytest.mark.dialect("pb")
def test_calls_in_jelly_are_accepted() -> None:
    pair = connected_pair(pb.Root())
    broker = pair.server
    args = broker.serialize((2,))
    kw = broker.serialize({"b": 3})
    assert Desk().perspectiveMessageReceived(broker, "add", args, kw) == 5
    assert Desk().perspectiveMessageReceived(broker, "add", (2, 3), {}) == 5


@pytest.mark.parametrize("avatar", [Plain(), Jelly()], ids=["plain", "jelly"])
def test_perspective_without_the_base_class_takes_plain_or_jellied_arguments(
    avatar: Any,
) -> None:
    pair, reference = entered(avatar)
    assert call(pair, reference, "ask", 1, b"2", c=[3]) == [
        "ask",
        (1, b"2"),
        {"c": [3]},
    ]


def test_realm_makes_avatars() -> None:
    interface, avatar, logout = pb.Realm().requestAvatar(b"bob", None, pb.IPerspective)
    assert interface is pb.IPerspective
    assert type(avatar) is pb.Avatar
    assert avatar.avatarId == b"bob"
    assert logout == avatar.logout


def test_realm_makes_avatars_of_a_class() -> None:
    realm = pb.Realm(Desk)
    avatar = realm.requestAvatar(b"bob", None, ICredentialFactory, pb.IPerspective)[1]
    assert type(avatar) is Desk
    assert avatar.avatarId == b"bob"
    assert verifyObject(IRealm, realm)


def test_realm_refuses_other_interfaces() -> None:
    with pytest.raises(NotImplementedError, match="IPerspective"):
        pb.Realm().requestAvatar(b"bob", None, ICredentialFactory)


def test_login_to_the_realm() -> None:
    pair = connected(portal_of(pb.Realm(Desk)))
    assert call(pair, log_in(pair), "add", 1, 1) == 2


class Account(Protocol):
    async def balance(self) -> int: ...

    async def pay(self, to: str, amount: int = 1) -> str: ...


@pb.exposes(Account, validate=True)
class Holder(pb.Avatar):
    @pb.remote
    async def balance(self) -> int:
        return 5

    def perspective_pay(self, to: str, amount: int = 1) -> str:
        return f"{amount} to {to}"


def test_avatar_exposes_an_interface() -> None:
    pair, avatar = entered(Holder())
    assert call(pair, avatar, "balance") == 5
    account = avatar.stub(Account)
    assert outcome(pair, account.balance()) == 5
    assert outcome(pair, account.pay("bob", amount=2)) == "2 to bob"
    with pytest.raises(AttributeError):
        account.steal()
    failure = trapped(call(pair, avatar, "pay", "bob", "all"), pb.InvalidArgument)
    assert "argument 'amount' of pay must be int" in str(failure.value)
    trapped(call(pair, avatar, "perspective_pay", "bob"), pb.NoSuchMethod)


@pb.exposes(Account, validate=True)
class Sent(pb.Avatar, pb.Referenceable):
    """An avatar that goes as a reference to itself."""

    @pb.remote
    async def balance(self) -> int:
        return 5

    def remote_pay(self, to: str, amount: int = 1) -> str:
        return f"{amount} to {to}"


def test_referenceable_avatar_is_called_as_a_referenceable() -> None:
    pair, avatar = entered(Sent())
    assert call(pair, avatar, "pay", "bob") == "1 to bob"
    trapped(call(pair, avatar, "pay", "bob", "all"), pb.InvalidArgument)
    with pytest.raises(pb.InvalidArgument):
        Sent().perspectiveMessageReceived(pair.server, "pay", (5,), {})


def test_error_for_an_avatar_without_an_exposed_method() -> None:
    with pytest.raises(TypeError, match="there is no perspective_balance"):

        @pb.exposes(Account)
        class Empty(pb.Avatar):
            def remote_balance(self) -> Any: ...


def test_jellied_arguments_are_validated_after_unjellying() -> None:
    pair = connected_pair(pb.Root())
    broker = pair.server
    args, kw = broker.serialize(("bob", "all")), broker.serialize({})
    with pytest.raises(pb.InvalidArgument):
        Holder().perspectiveMessageReceived(broker, "pay", args, kw)
