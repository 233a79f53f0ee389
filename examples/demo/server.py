"""The server of the demo: keeps notes, calls its clients, raises errors.

python server.py FILE

It makes a certificate and writes that of the authority behind it, which clients have to
trust, to the file.
It says on its standard output which port it listens on, and runs until its standard
input ends.
"""

from __future__ import annotations

import sys
from typing import Any

import trustme
from notes import Note
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_cred import pb


class Summary(pb.Cacheable):
    """How many notes there are; whoever has been given it is told when that changes."""

    def __init__(self) -> None:
        self.count = 0
        self.observers: list[Any] = []

    def getTypeToCopy(self) -> bytes:
        return b"notes.Summary"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"count": self.count}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)

    async def change(self, count: int) -> None:
        self.count = count
        for observer in list(self.observers):
            await observer.callRemote("setCount", count)


@implementer(IRealm)
class Notebooks:
    """Gives each user a notebook."""

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        return pb.IPerspective, Notebook(), lambda: None


class Notebook(pb.Avatar):
    """What a user can call: the methods whose names begin with `perspective_`."""

    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}
        self.summary = Summary()

    def perspective_mechanism(self) -> str:
        return pb.session_of(self).mechanism

    async def perspective_store(self, note: Note) -> None:
        self.notes[note.title] = note
        await self.summary.change(len(self.notes))

    def perspective_fetch(self, title: str) -> Note:
        if title not in self.notes:
            raise ValueError(f"there is no note {title!r}")
        return self.notes[title]

    def perspective_summary(self) -> Summary:
        return self.summary

    async def perspective_remind(self, listener: pb.RemoteReference) -> list[Any]:
        return [await listener.callRemote("remember", title) for title in self.notes]


class EndOfInput(Protocol):
    """Notices that nobody needs the server any more."""

    def __init__(self) -> None:
        self.reached: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reached.callback(None)


def with_certificate(authority_file: str) -> CertificateOptions:
    """Return options for TLS with a new certificate for localhost."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(authority_file)
    options = CertificateOptions()
    issued = authority.issue_cert("localhost")
    with issued.private_key_and_cert_chain_pem.tempfile() as path:
        options.getContext().use_certificate_chain_file(path)
        options.getContext().use_privatekey_file(path)
    return options


async def main(reactor: Any, authority_file: str) -> None:
    options = with_certificate(authority_file)
    endpoint = SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1")
    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    async with pb.serve(endpoint, Portal(Notebooks(), [users])) as port:
        print(port.getHost().port, flush=True)
        end = EndOfInput()
        StandardIO(end)
        await end.reached


if __name__ == "__main__":
    react(main, sys.argv[1:])
