from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.testing import StringTransport

import pb_jelly
from pb_broker import Error
from pb_broker.testing import Pair, connected_pair
from pb_cred.drop_in import _banana, _flavors, _jelly, _legacy, _pb, _util

from .support import ALICE, OneRealm, call, log_in, logged, outcome, portal_of, trapped

# tests-integration/ has those of install(), each in a process of its own.

POLICY = pb_jelly.SecurityOptions()


# Limits that a program may move


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the process's limits."""
    limits = _legacy.PROFILE.defaults.broker
    yield
    _legacy.PROFILE.defaults.broker = limits


@pytest.mark.usefixtures("restored")
def test_changed_size_limit_takes_effect_at_once() -> None:
    assert _banana.SIZE_LIMIT == 640 * 1024
    _banana.SIZE_LIMIT = 10
    assert _banana.SIZE_LIMIT == 10
    assert _banana.decode(_banana.encode(b"x" * 10)) == b"x" * 10
    for value in (b"x" * 11, [1] * 11):
        with pytest.raises(_banana.BananaError):
            _banana.encode(value)
    with pytest.raises(_banana.BananaError):
        _banana.decode(b"\x0b\x82" + b"x" * 11)


@pytest.mark.usefixtures("restored")
def test_raised_size_limit_admits_larger_messages() -> None:
    class Root(_pb.Root):
        def remote_echo(self, value: bytes) -> bytes:
            return value

    _banana.SIZE_LIMIT = 2 * 1024 * 1024
    pair = served(Root())
    root = outcome(pair, pair.client_factory.getRootObject())
    value = b"x" * (2 * 1024 * 1024)
    assert call(pair, root, "echo", value) == value


@pytest.mark.usefixtures("restored")
def test_changed_prefix_limit_applies_to_later_connections() -> None:
    early, late = _banana.Banana(), _banana.Banana()
    early.makeConnection(StringTransport())
    assert _banana._PREFIX_LIMIT == 64
    _banana.setPrefixLimit(3)
    assert _banana._PREFIX_LIMIT == 3
    late.makeConnection(StringTransport())
    assert (early.prefixLimit, late.prefixLimit) == (64, 3)


@pytest.mark.usefixtures("restored")
def test_changed_limit_of_references_takes_effect_at_once() -> None:
    class Root(_pb.Root):
        def remote_thing(self) -> Any:
            return _pb.Referenceable()

    pair = served(Root())
    root = outcome(pair, pair.client_factory.getRootObject())
    assert _pb.MAX_BROKER_REFS == 1024
    _pb.MAX_BROKER_REFS = 3
    assert _pb.MAX_BROKER_REFS == 3
    held = [call(pair, root, "thing") for _ in range(3)]
    assert all(isinstance(thing, _pb.RemoteReference) for thing in held)
    trapped(call(pair, root, "thing"), Error)


# The ways of twisted.spread


def served(root: Any) -> Pair:
    return connected_pair(
        server_factory=_pb.PBServerFactory(root), client_factory=_pb.PBClientFactory()
    )


def test_unjelly_without_a_policy_allows_every_class() -> None:
    expression = [b"function", b"os.path.join"]
    assert _jelly.unjelly(expression) is os.path.join
    with pytest.raises(_jelly.InsecureJelly):
        _jelly.unjelly(expression, _jelly.SecurityOptions())
    with pytest.raises(_jelly.InsecureJelly):
        pb_jelly.unjelly(expression)


def test_unserializable_value_is_replaced() -> None:
    class Root(_pb.Root):
        def remote_secret(self) -> Any:
            return [1, object()]

    pair = served(Root())
    root = outcome(pair, pair.client_factory.getRootObject())
    one, other = call(pair, root, "secret")
    assert one == 1
    assert isinstance(other, _jelly.Unpersistable)


def test_remote_types_are_bytes() -> None:
    class Root(_pb.Root):
        def remote_fail(self) -> None:
            raise ValueError("wrong")

    pair = served(Root())
    root = outcome(pair, pair.client_factory.getRootObject())
    failure = call(pair, root, "fail")
    assert isinstance(failure, _pb.CopiedFailure)
    assert failure.value.remoteType == b"builtins.ValueError"
    invoker = SimpleNamespace(serializingPerspective=None)
    original = _pb.CopyableFailure(ValueError("wrong"))
    copied = _jelly.unjelly(_jelly.jelly(original, invoker=invoker))
    assert isinstance(copied, _pb.CopiedFailure)


def test_globally_registered_class_is_accepted() -> None:
    class Copy(_pb.Copyable, _pb.RemoteCopy):
        pass

    class Root(_pb.Root):
        def remote_type(self, value: Any) -> str:
            return type(value).__name__

    _pb.setUnjellyableForClass(Copy, Copy)
    policy = _jelly.SecurityOptions()
    policy.allowBasicTypes()
    pair = connected_pair(
        server_factory=_pb.PBServerFactory(Root(), security=policy),
        client_factory=_pb.PBClientFactory(),
    )
    root = outcome(pair, pair.client_factory.getRootObject())
    assert call(pair, root, "type", Copy()) == "Copy"


def test_policy_of_the_drop_in_refuses_unlisted_classes() -> None:
    policy = _jelly.SecurityOptions()
    assert policy.isTypeAllowed("some.module.Class")
    assert policy.isTypeAllowed(b"None")
    assert not policy.isTypeAllowed("instance")
    with pytest.raises(_jelly.InsecureJelly):
        _jelly.unjelly([b"some.module.Class", [b"dictionary"]], policy)


def test_instance_atom_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="unused within Twisted") as caught:
        atom = _jelly.instance_atom
    assert atom == b"instance"
    assert caught[0].filename == __file__


def test_refused_login_is_logged_as_an_error_once() -> None:
    pair = served(portal_of(OneRealm()))
    with logged() as events:
        refused = log_in(pair, UsernamePassword(b"alice", b"x"))
    trapped(refused, UnauthorizedLogin)
    failures = [event["failure"] for event in events if event.get("isError")]
    assert [failure.type for failure in failures] == [UnauthorizedLogin]


def test_portal_is_served_with_login() -> None:
    pair = served(portal_of(OneRealm()))
    assert call(pair, log_in(pair), "name") == b"alice"
    assert call(pair, log_in(pair, Anonymous()), "name") == ()


def test_client_factory_has_the_published_login_callbacks() -> None:
    pair = served(portal_of(OneRealm()))
    factory, root = pair.client_factory, pair.client.remoteForName("root")
    avatar = factory._cbSendUsername(root, b"alice", b"sesame", None)
    assert call(pair, outcome(pair, avatar), "name") == b"alice"
    challenges = outcome(pair, root.callRemote("login", b"alice"))
    avatar = factory._cbResponse(challenges, b"sesame", None)
    assert call(pair, outcome(pair, avatar), "name") == b"alice"
    avatar = factory._cbLoginAnonymous(root, None)
    assert call(pair, outcome(pair, avatar), "name") == ()


def test_subclass_of_the_portal_wrapper_adds_a_login() -> None:
    class Wrapper(_pb._PortalWrapper):
        def remote_knock(self, mind: Any) -> Any:
            login = self.portal.login(Anonymous(), mind, _pb.IPerspective)
            return login.addCallback(self._cbLogin)

    class Root(_pb._PortalRoot):
        def rootObject(self, broker: Any) -> Any:
            return Wrapper(self.portal, broker)

    realm = OneRealm()
    pair = served(Root(portal_of(realm)))
    avatar = call(pair, pair.client.remoteForName("root"), "knock", "mind")
    assert call(pair, avatar, "name") == ()
    pair.close()
    assert [user.logouts for user in realm.users] == [1]


def test_classes_have_the_relations_of_twisted_spread() -> None:
    assert issubclass(_pb.Broker, _banana.Banana)
    assert issubclass(_util.CallbackPageCollector, _pb.Referenceable)
    assert _flavors.copyTags is _jelly.unjellyableRegistry
    assert _pb.Jellyable is _flavors.Jellyable is _jelly.Jellyable


def test_drop_in_leaves_the_api_of_pb_cred_unchanged() -> None:
    """A program may use the drop-in and pb_cred at once."""
    from pb_cred import pb

    assert _pb.Broker.profile.lenient
    assert not pb.Broker.profile.lenient
    assert pb.PBClientFactory.protocol is pb.Broker
    assert pb.unjelly is pb_jelly.unjelly
    pair = connected_pair(
        server_factory=pb.PBServerFactory(portal_of(OneRealm()), allow_legacy_md5=True),
        client_factory=_pb.PBClientFactory(),
    )
    assert call(pair, log_in(pair, ALICE), "name") == b"alice"


def test_modules_of_the_drop_in_are_modules() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for module in (_banana, _jelly, _pb):
            assert isinstance(module, ModuleType)
            assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((True,), (None, True)),
        ((0,), (None, False)),
        ((False, POLICY), (POLICY, False)),
        ((True, POLICY), (POLICY, True)),
    ],
)
def test_arguments_have_the_order_of_twisted_spread(
    arguments: Any, expected: Any
) -> None:
    # Without a warning, which would fail the test.
    factory = _pb.PBServerFactory(_pb.Root(), *arguments)
    assert (factory.security, bool(factory.unsafeTracebacks)) == expected
