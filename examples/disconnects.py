"""Shows what becomes of calls and references when the connection goes.

Prints:
    the call that was waiting: MaybeExecuted
    told that the reference is dead: True
    a call on a dead reference: DeadReferenceError
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from pb_cred import pb


class Sleeper(pb.Root):
    def remote_sleep(self) -> Deferred[None]:
        return Deferred()  # never answers


async def main(reactor: Any) -> None:
    server = pb.serve(server_endpoint(reactor), Sleeper())
    async with server as port, pb.client(client_endpoint(reactor, port)) as sleeper:
        gone: Deferred[pb.RemoteReference] = Deferred()
        sleeper.notifyOnDisconnect(gone.callback)
        waiting = sleeper.callRemote("sleep")
        sleeper.broker.transport.loseConnection()
        try:
            await waiting
        except pb.PBConnectionLost as error:
            print("the call that was waiting:", type(error).__name__)
        print("told that the reference is dead:", await gone is sleeper)
        try:
            await sleeper.callRemote("sleep")
        except pb.DeadReferenceError as error:
            print("a call on a dead reference:", type(error).__name__)


if __name__ == "__main__":
    react(main)
