"""Asks who is calling: a portal, an avatar for each user, a mind, and logout.

Prints:
    alice is told: 1 message, and you came by SCRAM-SHA-256-PLUS
    server: alice goes
    a wrong password is refused
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse as Users
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.task import react

from pb_cred import pb


class Mailbox(pb.Avatar):
    mind: pb.RemoteReference

    def perspective_check(self) -> Any:
        how = pb.session_of(self).mechanism
        return self.mind.callRemote("say", f"1 message, and you came by {how}")

    def logout(self) -> None:
        print("server:", self.avatarId.decode(), "goes")


class MailRealm(pb.Realm):
    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        mailbox = Mailbox(avatarId)
        mailbox.mind = mind
        return pb.IPerspective, mailbox, mailbox.logout


class Mind(pb.Referenceable):
    def remote_say(self, text: str) -> None:
        print("alice is told:", text)


async def main(reactor: Any) -> None:
    mail, portal = pb.PBClientFactory(), Portal(MailRealm(), [Users(alice=b"sesame")])
    server = pb.serve(server_endpoint(reactor), portal)
    async with server as port, pb.client(client_endpoint(reactor, port), factory=mail):
        mailbox = await mail.login(UsernamePassword(b"alice", b"sesame"), Mind())
        await mailbox.callRemote("check")
        del mailbox  # the last reference to the avatar: this ends the session
        try:
            await mail.login(UsernamePassword(b"alice", b"simsalabim"))
        except UnauthorizedLogin:
            print("a wrong password is refused")


if __name__ == "__main__":
    react(main)
