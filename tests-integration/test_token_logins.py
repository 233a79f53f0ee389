"""Logins by tokens, between real ends of TLS."""

from __future__ import annotations

import asyncio
import gc
import ssl as std_ssl
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ClientEndpoint
from twisted.internet.task import deferLater

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from pb_cred.tokens import BearerToken, BearerTokens
from planted import plant
from tls_ends import REACTOR, Ends

ISSUER = "https://login.example.com"
OURS = "pb://accounts.example.com"
OLD, NEW = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
WHO = ("alice", "OAUTHBEARER")

# Twisted's own use of pyOpenSSL.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


class User(pb.Avatar):
    def perspective_who(self) -> tuple[str, str]:
        return self.avatarId.decode(), pb.session_of(self).mechanism

    def perspective_seconds(self) -> float:
        expires = pb.session_of(self).expires
        assert expires is not None
        return (expires - datetime.now(timezone.utc)).total_seconds()

    def perspective_leave(self) -> None:
        REACTOR.callLater(0, pb.session_of(self).broker.transport.loseConnection)


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(Encoding.PEM, form)


def token(
    key: ec.EllipticCurvePrivateKey = OLD, kid: str = "old", **changes: Any
) -> str:
    """Return a token as an issuer makes it."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": OURS, "sub": "alice", "iat": now, "exp": now + 600}
    made = jwt.encode({**claims, **changes}, key, "ES256", {"kid": kid})
    plant(made, b"OAUTHBEARER")
    return made


def server(keys: Any = None, **options: Any) -> pb.PBServerFactory:
    tokens = BearerTokens(
        issuer=ISSUER,
        audience=OURS,
        keys={"old": public(OLD)} if keys is None else keys,
        **options,
    )
    known = InMemoryUsernamePasswordDatabaseDontUse(bob=b"sesame")
    portal = Portal(pb.Realm(User), [known])
    return pb.PBServerFactory(portal, mechanisms=[tokens, "SCRAM-SHA-256"])


class Tests(Ends):
    async def who(self, port: int, credentials: Any) -> Any:
        factory = await self.connect(port, self.trust())
        avatar = await factory.login(credentials)
        return await avatar.callRemote("who")

    async def test_login_with_a_token(self) -> None:
        port = self.serve(server())
        factory = await self.connect(port, self.trust())
        avatar = await factory.login(BearerToken(token()))
        assert await avatar.callRemote("who") == WHO
        assert 300 < await avatar.callRemote("seconds") <= 605
        bob = UsernamePassword(b"bob", b"sesame")
        assert await self.who(port, bob) == ("bob", "SCRAM-SHA-256")

    async def test_unsuitable_tokens_are_refused(self) -> None:
        port = self.serve(server())
        for bad in [
            *(token(NEW), token(kid="new"), token(aud="x"), token(iss="x")),
            *(token(exp=1), token(nbf=2**33), "abc", token()[:-4] + "AAAA"),
        ]:
            factory = await self.connect(port, self.trust())
            failure = await self.refusal(factory.login(BearerToken(bad)))
            assert failure.check(UnauthorizedLogin)
            assert str(failure.value) == ""

    async def test_token_is_not_sent_to_an_unverified_server(self) -> None:
        fetched: list[None] = []

        def fetch() -> str:
            fetched.append(None)
            return token()

        port = self.serve(server())
        root = ssl.Certificate.loadPEM(self.authority.cert_pem.bytes())
        for context in (
            ssl.ClientContextFactory(),
            ssl.CertificateOptions(trustRoot=root),
        ):
            factory = await self.connect(port, context)
            failure = await self.refusal(factory.login(BearerToken(fetch)))
            assert failure.check(pb.NoMechanism)
        assert fetched == []
        assert await self.who(port, BearerToken(fetch)) == WHO

    async def test_keys_and_tokens_from_deferreds(self) -> None:
        async def keys() -> Any:
            await deferLater(REACTOR, 0)
            return {"old": public(OLD), "new": public(NEW)}

        def fetch() -> Deferred[str]:
            return deferLater(REACTOR, 0, token, NEW, "new")

        async def fetch_other() -> str:
            await deferLater(REACTOR, 0)
            return token()

        port = self.serve(server(keys))
        assert await self.who(port, BearerToken(fetch)) == WHO
        assert await self.who(port, BearerToken(fetch_other)) == WHO

    async def test_client_service_fetches_a_token_for_each_login(self) -> None:
        subjects = ["first", "second", "third"]
        remaining = iter(subjects)
        port = self.serve(server())
        endpoint = SSL4ClientEndpoint(REACTOR, "localhost", port, self.trust())
        service = pb.PBClientService(
            endpoint,
            pb.PBClientFactory(),
            BearerToken(lambda: token(sub=next(remaining))),
            retry_policy=lambda attempts: 0.0,
        )
        service.startService()
        self.addCleanup(service.stopService)
        seen: list[str] = []
        while len(seen) < len(subjects):
            avatar = await service.when_avatar()
            lost: Deferred[Any] = Deferred()
            avatar.notifyOnDisconnect(lost.callback)
            seen.append((await avatar.callRemote("who"))[0])
            await avatar.callRemote("leave")
            if len(seen) < len(subjects):
                await lost
        assert seen == subjects


class OnAsyncio:
    """A server's TLS, and its users'."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.serving = std_ssl.SSLContext(std_ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.serving)
        self.trusting = std_ssl.create_default_context()
        authority.configure_trust(self.trusting)

    def serve(self, factory: Any) -> Any:
        return pb_asyncio.serve("tcp:0:interface=127.0.0.1", factory, ssl=self.serving)

    async def who(self, port: int, credentials: Any) -> Any:
        async with pb_asyncio.client(
            f"tcp:127.0.0.1:{port}",
            ssl=self.trusting,
            server_hostname="localhost",
            credentials=credentials,
        ) as user:
            return await user.callRemote("who")


def run(test: Callable[[OnAsyncio], Any]) -> None:
    asyncio.run(test(OnAsyncio()))
    # Until Python 3.11, asyncio does not see that what the peer has closed is closed.
    gc.collect()


UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")


@UNCLOSED
def test_login_with_a_token_on_asyncio() -> None:
    async def fetch() -> str:
        await asyncio.sleep(0)
        return token()

    async def test(here: OnAsyncio) -> None:
        async with here.serve(server()) as serving:
            for source in (token(), token, fetch):
                assert await here.who(serving.port, BearerToken(source)) == WHO
            for bad in (token(NEW), token(kid="new"), token(exp=1)):
                with pytest.raises(UnauthorizedLogin):
                    await here.who(serving.port, BearerToken(bad))

    run(test)


@UNCLOSED
def test_keys_are_fetched_on_asyncio() -> None:
    """One fetch serves all waiting logins, also after the first has gone."""
    asked: list[asyncio.Future[Any]] = []

    async def keys() -> Any:
        asked.append(asyncio.get_running_loop().create_future())
        return await asked[-1]

    async def test(here: OnAsyncio) -> None:
        async with here.serve(server(keys, refresh_interval=3600)) as serving:
            first = asyncio.ensure_future(here.who(serving.port, BearerToken(token)))
            while not asked:
                await asyncio.sleep(0)
            others = [
                asyncio.ensure_future(here.who(serving.port, BearerToken(each)))
                for each in (token(), token(NEW, "new"), token(kid="x"))
            ]
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            asked[0].set_result({"old": public(OLD), "new": public(NEW)})
            assert await others[0] == await others[1] == WHO
            with pytest.raises(UnauthorizedLogin):
                await others[2]
            assert len(asked) == 1

    run(test)


@UNCLOSED
def test_token_is_not_sent_to_an_unverified_server_on_asyncio() -> None:
    async def test(here: OnAsyncio) -> None:
        fetched: list[None] = []
        here.trusting.check_hostname = False
        credentials = BearerToken(lambda: fetched.append(None))
        async with here.serve(server()) as serving:
            with pytest.raises(pb.NoMechanism):
                await here.who(serving.port, credentials)
        assert fetched == []

    run(test)
