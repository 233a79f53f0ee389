"""Logins bound to their channel, between real ends of TLS and through a middle."""

from __future__ import annotations

import asyncio
import gc
import ssl as std_ssl
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn
from unittest import mock

import pytest
import trustme
from OpenSSL import SSL
from twisted.cred.checkers import (
    AllowAnonymousAccess,
    FilePasswordDB,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet import ssl

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from pb_cred._channel.tls import security_of
from tls_ends import Ends

ALICE = UsernamePassword(b"alice", b"sesame")
PLUS = "SCRAM-SHA-256-PLUS"

# Twisted's own use of pyOpenSSL.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


class User(pb.Avatar):
    def perspective_mechanism(self) -> str:
        return pb.session_of(self).mechanism


def users() -> Portal:
    known = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    return Portal(pb.Realm(User), [known, AllowAnonymousAccess()])


class Relay(pb.Referenceable):
    """Replacement of an exchange with the server."""

    def __init__(self, exchange: Any) -> None:
        self.exchange = exchange

    def remote_step(self, data: bytes) -> Any:
        return self.exchange.callRemote("step", data).addCallbacks(passed, refused)


def passed(answer: Any) -> Any:
    data, exchange, avatar = answer
    return data, exchange and Relay(exchange), avatar


def refused(failure: Any) -> NoReturn:
    failure.trap(UnauthorizedLogin)
    raise pb.LoginRefused


class Middle(pb.Root):
    """A man in the middle, whom the client takes for the server."""

    def __init__(self, root: Any, offered: Callable[[Any], Any]) -> None:
        self.root = root
        self.offered = offered

    def remote_mechanisms(self) -> Any:
        return self.root.callRemote("mechanisms").addCallback(self.offered)

    def remote_begin(self, name: str, data: bytes, mind: Any = None) -> Any:
        return self.root.callRemote("begin", name, data).addCallbacks(passed, refused)


class Tests(Ends):
    async def mechanism(self, factory: Any, credentials: Any = ALICE) -> Any:
        avatar = await factory.login(credentials)
        return await avatar.callRemote("mechanism")

    async def test_login_is_bound_to_the_channel(self) -> None:
        port = self.serve(pb.PBServerFactory(users(), mechanisms=[PLUS, "ANONYMOUS"]))
        factory = await self.connect(port, self.trust())
        assert await self.mechanism(factory) == PLUS
        assert await self.mechanism(factory, Anonymous()) == "ANONYMOUS"
        wrong = UsernamePassword(b"alice", b"guess")
        failure = await self.refusal(factory.login(wrong))
        assert failure.check(UnauthorizedLogin)

    async def test_no_channel_binding_to_tls_1_2(self) -> None:
        port = self.serve(
            pb.PBServerFactory(users()), set_max_proto_version=SSL.TLS1_2_VERSION
        )
        factory = await self.connect(port, self.trust())
        root = await factory.getRootObject()
        handle = root.broker.transport.getHandle()
        assert handle.get_protocol_version_name() == "TLSv1.2"
        assert PLUS not in await root.callRemote("mechanisms")
        assert await self.mechanism(factory) == "SCRAM-SHA-256"

    async def through(self, offered: Callable[[Any], Any], **options: Any) -> Any:
        """Log in through a middle with a trusted certificate; return the failure."""
        upstream = await self.connect(
            self.serve(pb.PBServerFactory(users())), self.trust()
        )
        middle = Middle(await upstream.getRootObject(), offered)
        port = self.serve(pb.PBServerFactory(middle))
        factory = await self.connect(port, self.trust(), **options)
        return await self.refusal(factory.login(ALICE))

    async def test_login_through_a_middle_is_refused(self) -> None:
        failure = await self.through(lambda names: names)
        assert failure.check(UnauthorizedLogin)

    async def test_removed_offer_of_channel_binding_is_detected(
        self,
    ) -> None:
        failure = await self.through(lambda names: ["SCRAM-SHA-256", "ANONYMOUS"])
        assert failure.check(UnauthorizedLogin)

    async def test_replaced_offer_of_mechanisms_is_detected(self) -> None:
        failure = await self.through(lambda names: ["PLAIN", "X"], mechanisms=[PLUS])
        assert failure.check(pb.NoMechanism)

    def passwords(self) -> Portal:
        """Return a portal whose checker needs the password itself."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name, "passwords")
        path.write_text("alice:emases\n", "ascii")
        reverse = FilePasswordDB(str(path), hash=lambda name, given, kept: given[::-1])
        return Portal(pb.Realm(User), [reverse])

    async def test_password_is_sent_to_a_verified_server(self) -> None:
        port = self.serve(pb.PBServerFactory(self.passwords()))
        factory = await self.connect(port, self.trust())
        assert await self.mechanism(factory) == "PLAIN"

    async def test_password_is_not_sent_to_an_unverified_server(self) -> None:
        port = self.serve(pb.PBServerFactory(self.passwords()))
        root = ssl.Certificate.loadPEM(self.authority.cert_pem.bytes())
        # Neither without any verification, nor where nobody has asked for a name.
        for context in (
            ssl.ClientContextFactory(),
            ssl.CertificateOptions(trustRoot=root),
        ):
            factory = await self.connect(port, context)
            failure = await self.refusal(factory.login(ALICE))
            assert failure.check(pb.NoMechanism)

    async def test_password_is_not_sent_without_a_comparison_of_names(self) -> None:
        port = self.serve(pb.PBServerFactory(self.passwords()))
        factory = await self.connect(port, self.trust())
        with mock.patch.dict(sys.modules, {"service_identity": None}):
            failure = await self.refusal(factory.login(ALICE))
        assert failure.check(pb.NoMechanism)


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
@pytest.mark.parametrize("is_verified", [True, False])
def test_no_channel_binding_on_asyncio(is_verified: bool) -> None:
    authority = trustme.CA()
    serving = std_ssl.SSLContext(std_ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = std_ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.check_hostname = is_verified

    async def test() -> None:
        where: Any = {"server_hostname": "localhost", "credentials": ALICE}
        async with (
            pb_asyncio.serve(
                "tcp:0:interface=127.0.0.1", users(), ssl=serving
            ) as server,
            pb_asyncio.client(
                f"tcp:127.0.0.1:{server.port}", ssl=trusting, **where
            ) as user,
        ):
            assert await user.callRemote("mechanism") == "SCRAM-SHA-256"
            root = user.broker.remoteForName("root")
            offered = await root.callRemote("mechanisms")
            assert offered == ["SCRAM-SHA-256", "ANONYMOUS"]
            known = security_of(user.broker.transport)
            assert (known.is_tls, known.is_verified) == (True, is_verified)
            assert known.certificate is not None

    asyncio.run(test())
    # Until Python 3.11, asyncio does not see that what the peer has closed is closed.
    gc.collect()
