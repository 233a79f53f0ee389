"""This module, `typing_examples`, is for type checkers: valid and invalid code."""

# Both checkers look at it.  What mypy must refuse is marked "type: ignore", what
# pyright must refuse "pyright: ignore", each with its rule; unused marks are errors.
# pyright: strict

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal
from typing_extensions import assert_type

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from pb_cred.certificates import ClientCertificates, OwnCertificate
from pb_cred.tickets import Ticket, Tickets, request_ticket
from pb_cred.tokens import BearerToken, BearerTokens


class Account(Protocol):
    async def balance(self) -> int: ...

    async def pay(self, to: str, amount: int) -> None: ...


@pb.exposes(Account)
class User(pb.Avatar):
    def perspective_balance(self) -> int:
        return 5

    @pb.remote
    async def pay(self, to: str, amount: int) -> None: ...


async def logged_in(factory: pb.PBClientFactory, service: pb.PBClientService) -> None:
    avatar = await factory.login(UsernamePassword(b"alice", b"sesame"))
    assert_type(avatar, pb.RemoteReference[Any])
    account = avatar.stub(Account)
    assert_type(await account.balance(), int)
    assert_type(await account.pay("bob", amount=5), None)
    assert_type(await service.when_avatar(), pb.RemoteReference[Any])

    # What must not pass.
    await account.pay("bob")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await account.pay("bob", "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    avatar.login()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def one_way_in(portal: Portal) -> None:
    credentials = UsernamePassword(b"alice", b"sesame")
    where = "tls:example.org:8787"
    async with pb.client(
        where, credentials=credentials, mechanisms=["PLAIN"]
    ) as avatar:
        assert_type(avatar, pb.RemoteReference[Any])
        assert_type(await avatar.stub(Account).balance(), int)
        await avatar.stub(Account).pay("bob", "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with pb_asyncio.client(where, credentials=credentials) as avatar:
        assert_type(avatar, pb.RemoteReference[Any])
    async with pb.serve("tcp:0", portal, login_tries=3, call_timeout=5) as server:
        assert_type(server.port, int)
    async with pb.reconnecting(where, credentials=credentials, tickets=True) as service:
        assert_type(service, pb.PBClientService)
    options = pb.ServerOptions(login=pb.LoginOptions(login_tries=3))
    assert_type(options.login.login_tries, int | None)

    # What must not pass.
    pb.serve("tcp:0", portal, login_tries="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pb.client(where, credential=credentials)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    pb.LoginOptions(call_timeout=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def write(event: pb.AuditEvent) -> None:
    assert_type(event.time, datetime)
    assert_type(event.username, bytes | None)
    if event.kind == "logout":
        assert_type(event.seconds, float | None)
    # What must not pass.
    event.reason = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    print(event.kind == "log_out")  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]


def served(portal: Any, keys: dict[str, bytes]) -> pb.PBServerFactory:
    factory = pb.PBServerFactory(
        portal,
        mechanisms=[
            ClientCertificates("ca.pem", "email"),
            BearerTokens(issuer="i", audience="a", keys=keys, algorithms=["ES256"]),
            "SCRAM-SHA-256-PLUS",
        ],
        session_policy=pb.SessionPolicy(idle_timeout=900, when_full="end_oldest"),
        login_delays=pb.LoginDelays(free=5),
        tickets=Tickets(),
        audit=write,
    )
    for session in factory.sessions:
        assert_type(session, pb.Session)
        assert_type(session.login_time, datetime)
        session.end()
    assert_type(factory.sessions.of(b"alice"), list[pb.Session])
    assert_type(factory.sessions.end(b"alice"), int)
    factory.change_login(mechanisms=None, allow_legacy_md5=False)

    # What must not pass.
    factory.change_login(allow_legacy_md5="no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pb.SessionPolicy(when_full="queue")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pb.PBServerFactory(portal, audit=write(5))  # type: ignore[arg-type, func-returns-value]  # pyright: ignore[reportArgumentType]
    return factory


async def without_a_password(factory: pb.PBClientFactory, avatar: Any) -> None:
    for credentials in (OwnCertificate(), BearerToken("token"), Ticket("ticket")):
        assert_type(await factory.login(credentials), pb.RemoteReference[Any])
    ticket = await request_ticket(avatar)
    ticket.text()
