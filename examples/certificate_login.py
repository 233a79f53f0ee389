"""Lets users in by certificates of theirs, and those who have none by a password.

Prints:
    alice@example.com, by EXTERNAL, until her certificate ends
    bob, by SCRAM-SHA-256
    without a certificate: NoMechanism
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from certificates import AUTHORITY, client_context, server_context
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse as Users
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal

from pb_cred import pb
from pb_cred.certificates import ClientCertificates, OwnCertificate


class Account(pb.Avatar):
    def perspective_who(self) -> str:
        session = pb.session_of(self)
        end = ", until her certificate ends" if session.expires else ""
        return f"{self.avatarId.decode()}, by {session.mechanism}{end}"


async def main() -> None:
    certificates = ClientCertificates(AUTHORITY.cert_pem.bytes(), "email")
    portal = Portal(pb.Realm(Account), [Users(bob=b"sesame")])
    factory = pb.PBServerFactory(portal, mechanisms=[certificates, "SCRAM-SHA-256"])
    serving, with_one, without = server_context(), client_context(), client_context()
    AUTHORITY.configure_trust(serving)
    serving.verify_mode = ssl.CERT_OPTIONAL  # TLS asks for one, and does not insist
    AUTHORITY.issue_cert("alice@example.com").configure_cert(with_one)

    async with pb.serve("ssl:0:interface=127.0.0.1", factory, ssl=serving) as server:
        where = f"tls:127.0.0.1:{server.port}"

        async def enter(context: ssl.SSLContext, credentials: Any) -> None:
            async with pb.client(
                where, ssl=context, credentials=credentials
            ) as account:
                print(await account.callRemote("who"))

        await enter(with_one, OwnCertificate())
        await enter(without, UsernamePassword(b"bob", b"sesame"))
        try:
            await enter(without, OwnCertificate())
        except pb.NoMechanism as error:
            print("without a certificate:", type(error).__name__)


if __name__ == "__main__":
    asyncio.run(main())
