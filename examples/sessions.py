"""Knows who is logged in: each user once, until root ends it.

Prints:
    audit: login, b'alice', SCRAM-SHA-256-PLUS
    audit: login_refused, b'alice', too many sessions
    audit: login, b'root', SCRAM-SHA-256-PLUS
    alice sees: alice, root
    audit: logout, b'alice', ended
    audit: logout, b'root', disconnected
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse as Users
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.task import react

from pb_cred import pb


class Account(pb.Avatar):
    def perspective_who(self) -> str:
        return ", ".join(each.avatar_id.decode() for each in factory.sessions)

    def perspective_throw_out(self, name: str) -> None:
        if self.avatarId == b"root":
            factory.sessions.end(name.encode())


def write(event: pb.AuditEvent) -> None:
    print(f"audit: {event.kind}, {event.username!r}, {event.reason or event.mechanism}")


portal = Portal(pb.Realm(Account), [Users(alice=b"sesame", root=b"shovel")])
policy = pb.SessionPolicy(idle_timeout=900, max_session=8 * 3600, per_user=1)
factory = pb.PBServerFactory(portal, session_policy=policy, audit=write)


async def main(reactor: Any) -> None:
    words = UsernamePassword(b"alice", b"sesame")
    async with pb.serve(server_endpoint(reactor), factory) as port:
        where = client_endpoint(reactor, port)
        async with pb.client(where, credentials=words) as alice:
            with suppress(UnauthorizedLogin):
                async with pb.client(where, credentials=words):
                    print("alice is here twice")
            words = UsernamePassword(b"root", b"shovel")
            async with pb.client(where, credentials=words) as root:
                print("alice sees:", await alice.callRemote("who"))
                await root.callRemote("throw_out", "alice")


if __name__ == "__main__":
    react(main)
