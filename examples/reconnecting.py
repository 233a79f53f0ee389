"""Comes back after a lost connection by a ticket; one that was stolen is found out.

Prints:
    alice, by SCRAM-SHA-256-PLUS
    alice, by PB-TICKET
    alice, by PB-TICKET
    somebody else, with her first ticket: UnauthorizedLogin
    alice, by SCRAM-SHA-256-PLUS
    the server has noticed: ticket_issued, ticket_reused, ticket_issued
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse as Users
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import DeferredQueue
from twisted.internet.task import react

from pb_cred import pb
from pb_cred.tickets import Ticket, Tickets


class Account(pb.Avatar):
    def perspective_who(self) -> str:
        return f"{self.avatarId.decode()}, by {pb.session_of(self).mechanism}"


async def main(reactor: Any) -> None:
    portal, told = Portal(pb.Realm(Account), [Users(alice=b"sesame")]), list[Any]()
    factory = pb.PBServerFactory(portal, tickets=Tickets(), audit=told.append)
    alice, avatars = UsernamePassword(b"alice", b"sesame"), DeferredQueue[Any]()
    saved: list[str] = []
    options: Any = {"retry_policy": lambda attempts: 0, "on_connected": avatars.put}
    options |= {"tickets": True, "on_ticket": lambda each: saved.append(each.text())}
    async with pb.serve(server_endpoint(reactor), factory) as port:
        where = client_endpoint(reactor, port)
        service = pb.PBClientService(where, pb.PBClientFactory(), alice, **options)
        service.startService()
        for number in range(4):
            avatar = await avatars.get()
            print(await avatar.callRemote("who"))
            if number == 2:
                try:
                    async with pb.client(where, credentials=Ticket(saved[0])):
                        print("somebody else is alice")
                except UnauthorizedLogin:
                    print("somebody else, with her first ticket: UnauthorizedLogin")
            avatar.broker.transport.loseConnection()
        await service.stopService()
    tickets = [event.kind for event in told if event.kind.startswith("ticket_")]
    print("the server has noticed:", ", ".join(tickets))


if __name__ == "__main__":
    react(main)
