"""Logins by certificates, between real ends of TLS."""

from __future__ import annotations

import asyncio
import gc
import ssl as std_ssl
from typing import Any

import pytest
import trustme
from OpenSSL import SSL
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet import reactor, ssl

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from pb_cred.certificates import ClientCertificates, OwnCertificate
from tls_ends import Ends

REACTOR: Any = reactor
EMAIL = "alice@example.com"
ALICE = (EMAIL.encode(), "EXTERNAL")

# Twisted's own use of pyOpenSSL.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


class User(pb.Avatar):
    def perspective_who(self) -> tuple[Any, str]:
        return self.avatarId, pb.session_of(self).mechanism


def users() -> Portal:
    known = InMemoryUsernamePasswordDatabaseDontUse(bob=b"sesame")
    return Portal(pb.Realm(User), [known])


def read(pem: Any) -> Any:
    return ssl.Certificate.loadPEM(pem.bytes())


def own(issued: trustme.LeafCert) -> Any:
    key, certificate = issued.private_key_pem, issued.cert_chain_pems[0]
    return ssl.PrivateCertificate.loadPEM(key.bytes() + certificate.bytes())


def by_email(*trusted: trustme.CA, **options: Any) -> ClientCertificates:
    pems = [each.cert_pem.bytes() for each in trusted]
    return ClientCertificates(pems, "email", **options)


class Tests(Ends):
    def setUp(self) -> None:
        super().setUp()
        self.users = trustme.CA()
        self.alice = self.users.issue_cert(EMAIL)

    def asking(self, *trusted: trustme.CA) -> Any:
        """Return a server's TLS that asks for certificates, but does not insist.

        The server asks for certificates of trusted authorities, or of any without them.
        """
        mine = own(self.authority.issue_cert("localhost"))
        options: dict[str, Any] = {}
        if trusted:
            roots = [read(each.cert_pem).original for each in trusted]
            options = {"verify": True, "caCerts": roots, "requireCertificate": False}
        context = ssl.CertificateOptions(
            mine.privateKey.original, mine.original, **options
        )
        if not trusted:
            context.getContext().set_verify(SSL.VERIFY_PEER, lambda *args: True)
        return context

    def serve_users(self, certificates: ClientCertificates, tls: Any) -> int:
        factory: Any = pb.PBServerFactory(
            users(), mechanisms=[certificates, "SCRAM-SHA-256"]
        )
        factory.clientConnectionMade = self.brokers.append
        if tls is None:
            port = REACTOR.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = REACTOR.listenSSL(0, factory, tls, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def showing(self, issued: trustme.LeafCert | None, *sent: Any) -> Any:
        """Return a client's TLS that shows a certificate, and sends others along."""
        more: dict[str, Any] = {}
        if sent:
            more["extraCertChain"] = [read(each).original for each in sent]
        return ssl.optionsForClientTLS(
            "localhost",
            trustRoot=read(self.authority.cert_pem),
            clientCertificate=None if issued is None else own(issued),
            extraCertificateOptions=more,
        )

    async def who(
        self, port: int, tls: Any, credentials: Any = None
    ) -> tuple[bytes, str]:
        factory = await self.connect(port, tls)
        avatar = await factory.login(credentials or OwnCertificate())
        found: tuple[bytes, str] = await avatar.callRemote("who")
        return found

    async def refused(
        self,
        port: int,
        tls: Any,
        kind: Any = UnauthorizedLogin,
        credentials: Any = None,
    ) -> None:
        factory = await self.connect(port, tls)
        with pytest.raises(kind):
            await factory.login(credentials or OwnCertificate())

    async def test_login_with_a_certificate(self) -> None:
        port = self.serve_users(by_email(self.users), self.asking(self.users))
        assert await self.who(port, self.showing(self.alice)) == ALICE
        myself = OwnCertificate(EMAIL)
        assert await self.who(port, self.showing(self.alice), myself) == ALICE
        another = OwnCertificate(b"bob@example.com")
        tls = self.showing(self.alice)
        await self.refused(port, tls, credentials=another)

    async def test_login_with_a_certificate_over_tls_1_2(self) -> None:
        tls = self.asking(self.users)
        tls.getContext().set_max_proto_version(SSL.TLS1_2_VERSION)
        port = self.serve_users(by_email(self.users), tls)
        assert await self.who(port, self.showing(self.alice)) == ALICE
        broker = self.brokers[-1]
        handle = broker.transport.getHandle()
        assert handle.get_protocol_version_name() == "TLSv1.2"

    async def test_login_with_a_password_beside_certificates(self) -> None:
        port = self.serve_users(by_email(self.users), self.asking(self.users))
        bob = UsernamePassword(b"bob", b"sesame")
        expected = (b"bob", "SCRAM-SHA-256")
        assert await self.who(port, self.showing(None), bob) == expected
        # Who has shown a certificate may do so too.
        assert await self.who(port, self.showing(self.alice), bob) == expected

    async def test_login_without_a_certificate_is_refused(self) -> None:
        port = self.serve_users(by_email(self.users), self.asking(self.users))
        await self.refused(port, self.showing(None), pb.NoMechanism)

    async def test_login_without_tls_is_refused(self) -> None:
        port = self.serve_users(by_email(self.users), None)
        factory = pb.PBClientFactory()
        self.brokers.append(await pb.connect("localhost", port, factory))
        with pytest.raises(pb.NoMechanism):
            await factory.login(OwnCertificate())

    async def test_authority_of_logins_is_checked_under_permissive_tls(self) -> None:
        port = self.serve_users(by_email(self.users), self.asking())
        assert await self.who(port, self.showing(self.alice)) == ALICE
        others = trustme.CA()
        forged = others.issue_cert(EMAIL)
        await self.refused(port, self.showing(forged))
        for sent in ([others.cert_pem], [others.cert_pem, self.users.cert_pem]):
            await self.refused(port, self.showing(forged, *sent))

    async def test_authority_trusted_by_tls_alone_is_refused(self) -> None:
        others = trustme.CA()
        port = self.serve_users(by_email(self.users), self.asking(self.users, others))
        assert await self.who(port, self.showing(self.alice)) == ALICE
        await self.refused(port, self.showing(others.issue_cert(EMAIL)))

    async def test_intermediates_are_sent_or_configured(self) -> None:
        between = self.users.create_child_ca()
        alice = between.issue_cert(EMAIL)
        port = self.serve_users(by_email(self.users), self.asking())
        await self.refused(port, self.showing(alice))
        tls = self.showing(alice, between.cert_pem)
        assert await self.who(port, tls) == ALICE
        pem = between.cert_pem.bytes()
        port = self.serve_users(by_email(self.users, intermediates=pem), self.asking())
        assert await self.who(port, self.showing(alice)) == ALICE

    async def test_replaced_authorities_apply_to_later_logins(self) -> None:
        certificates = by_email(self.users)
        port = self.serve_users(certificates, self.asking())
        assert await self.who(port, self.showing(self.alice)) == ALICE
        new = trustme.CA()
        certificates.trust(new.cert_pem.bytes())
        await self.refused(port, self.showing(self.alice))
        assert await self.who(port, self.showing(new.issue_cert(EMAIL))) == ALICE

    async def test_client_logs_in_to_verified_servers_unless_told_otherwise(
        self,
    ) -> None:
        port = self.serve_users(by_email(self.users), self.asking(self.users))
        # Nobody has asked for a name.
        tls = own(self.alice).options(read(self.authority.cert_pem))
        await self.refused(port, tls, pb.NoMechanism)
        anyway = OwnCertificate(needs_verified_server=False)
        assert await self.who(port, tls, anyway) == ALICE


class OnAsyncio:
    """A server on asyncio, with the TLS settings of its users."""

    def __init__(self) -> None:
        self.servers = trustme.CA()
        self.users = trustme.CA()
        self.tls = std_ssl.SSLContext(std_ssl.PROTOCOL_TLS_SERVER)
        self.servers.issue_cert("localhost").configure_cert(self.tls)
        self.tls.verify_mode = std_ssl.CERT_OPTIONAL
        self.users.configure_trust(self.tls)

    def serve(self, certificates: ClientCertificates) -> Any:
        factory = pb.PBServerFactory(
            users(), mechanisms=[certificates, "SCRAM-SHA-256"]
        )
        return pb_asyncio.serve("tcp:0:interface=127.0.0.1", factory, ssl=self.tls)

    async def who(
        self, port: int, issued: trustme.LeafCert | None, credentials: Any = None
    ) -> Any:
        tls = std_ssl.create_default_context()
        self.servers.configure_trust(tls)
        if issued is not None:
            issued.configure_cert(tls)
        async with pb_asyncio.client(
            f"tcp:127.0.0.1:{port}",
            ssl=tls,
            server_hostname="localhost",
            credentials=credentials or OwnCertificate(),
        ) as user:
            return await user.callRemote("who")


def run(test: Any) -> None:
    asyncio.run(test)
    # Until Python 3.11, asyncio does not see that what the peer has closed is closed.
    gc.collect()


UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")


@UNCLOSED
def test_login_with_a_certificate_on_asyncio() -> None:
    here = OnAsyncio()
    others = trustme.CA()
    # TLS trusts more than the server does.
    others.configure_trust(here.tls)
    alice = here.users.issue_cert(EMAIL)

    async def test() -> None:
        async with here.serve(by_email(here.users)) as server:
            assert await here.who(server.port, alice) == ALICE
            assert await here.who(server.port, alice, OwnCertificate(EMAIL)) == ALICE
            with pytest.raises(UnauthorizedLogin):
                await here.who(server.port, alice, OwnCertificate("bob@example.com"))
            with pytest.raises(UnauthorizedLogin):
                await here.who(server.port, others.issue_cert(EMAIL))
            with pytest.raises(pb.NoMechanism):
                await here.who(server.port, None)
            bob = UsernamePassword(b"bob", b"sesame")
            assert await here.who(server.port, None, bob) == (b"bob", "SCRAM-SHA-256")

    run(test())


@UNCLOSED
def test_intermediates_are_sent_or_configured_on_asyncio() -> None:
    here = OnAsyncio()
    between = here.users.create_child_ca()
    alice = between.issue_cert(EMAIL)
    pem = between.cert_pem.bytes()

    async def test() -> None:
        async with here.serve(by_email(here.users, intermediates=pem)) as server:
            assert await here.who(server.port, alice) == ALICE
        async with here.serve(by_email(here.users)) as server:
            if hasattr(std_ssl.SSLObject, "get_unverified_chain"):
                assert await here.who(server.port, alice) == ALICE
            else:
                with pytest.raises(UnauthorizedLogin):
                    await here.who(server.port, alice)

    run(test())


@UNCLOSED
def test_function_that_finds_the_user_awaits_on_asyncio() -> None:
    here = OnAsyncio()
    alice = here.users.issue_cert(EMAIL)

    async def asked(certificate: Any) -> Any:
        await asyncio.sleep(0)
        return b"alice" if certificate.serial_number else None

    async def test() -> None:
        certificates = ClientCertificates(here.users.cert_pem.bytes(), asked)
        async with here.serve(certificates) as server:
            assert await here.who(server.port, alice) == (b"alice", "EXTERNAL")

    run(test())
