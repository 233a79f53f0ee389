"""Asks who is calling: a portal, an avatar for each user, a mind, and logout.

Prints:
    alice is told: 1 message
    server: alice goes
    a wrong password: twisted.cred.error.UnauthorizedLogin
"""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse as Users
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import IRealm, Portal
from twisted.internet.task import react
from zope.interface import implementer

from pb_cred import pb


class Mailbox(pb.Avatar):
    mind: pb.RemoteReference

    def perspective_check(self) -> Any:
        return self.mind.callRemote("say", "1 message")

    def logout(self) -> None:
        print("server:", self.avatarId.decode(), "goes")


@implementer(IRealm)
class MailRealm:
    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        mailbox = Mailbox(avatarId)
        mailbox.mind = mind
        return pb.IPerspective, mailbox, mailbox.logout


class Mind(pb.Referenceable):
    def remote_say(self, text: str) -> None:
        print("alice is told:", text)


async def main(reactor: Any) -> None:
    server = pb.PBServerFactory(Portal(MailRealm(), [Users(alice=b"sesame")]))
    port = reactor.listenTCP(0, server, interface="127.0.0.1")
    client = pb.PBClientFactory()
    reactor.connectTCP("127.0.0.1", port.getHost().port, client)
    mailbox = await client.login(UsernamePassword(b"alice", b"sesame"), Mind())
    await mailbox.callRemote("check")
    del mailbox  # the last reference to the avatar: this ends the session
    try:
        await client.login(UsernamePassword(b"alice", b"simsalabim"))
    except pb.RemoteError as error:
        print("a wrong password:", error.remoteType)


if __name__ == "__main__":
    react(main)
