"""The client of the demo: does one thing after the other, and says what happened.

python client.py PORT FILE

The file has the certificate of the authority that the server's has to be from.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from notes import Note
from tap import tapped
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import react

from pb_cred import pb


class Listener(pb.Referenceable):
    """Stays here; the server is given a reference to it and can call it."""

    def remote_remember(self, title: str) -> str:
        return f"yes, I remember {title!r}"


class Story:
    """Numbers the steps."""

    step = 0

    def begin(self, text: str) -> None:
        self.step += 1
        print(f"\n{self.step}. {text}")

    def end(self, text: str) -> None:
        print(f"   => {text}")


async def main(reactor: Any, port: str, authority_file: str) -> None:
    story = Story()
    print("A server and a client, two processes, and TLS between them. What is within:")
    print("-> is sent by the client, <- by the server; a call looks like this:")
    print("(message NUMBER OBJECT METHOD ANSWER-WANTED ARGUMENTS KEYWORD-ARGUMENTS)")

    story.begin("The client connects; the ends agree on a dialect and on a version.")
    authority = Certificate.loadPEM(Path(authority_file).read_bytes())
    tls: Any = optionsForClientTLS("localhost", trustRoot=authority)
    client = pb.PBClientFactory()
    connection: Any = await pb.connect("127.0.0.1", int(port), tapped(client), tls)
    root = await client.getRootObject()
    version = connection.transport.getHandle().get_protocol_version_name()
    story.end(f"connected by {version} to localhost; its root object is called root")

    story.begin(
        "Alice logs in: each end proves to the other that it knows the password."
    )
    notebook = await client.login(UsernamePassword(b"alice", b"sesame"))
    mechanism = await notebook.callRemote("mechanism")
    story.end(f"she came by {mechanism}; the server made an avatar for her")

    story.begin("She stores two notes: objects, sent by value.")
    await notebook.callRemote("store", Note("tea", "buy some"))
    await notebook.callRemote("store", Note("cups", "wash two"))
    note = await notebook.callRemote("fetch", "tea")
    story.end(f"and gets one back, a copy of a copy: {note.title}: {note.text}")

    story.begin("She gives the server an object of her own, and the server calls it.")
    heard = await notebook.callRemote("remind", Listener())
    story.end(f"the server heard: {', '.join(heard)}")

    story.begin("She watches a live object: its state is sent once, then its changes.")
    summary = await notebook.callRemote("summary")
    before = summary.count
    await notebook.callRemote("store", Note("milk", "out of date"))
    story.end(f"it said {before} notes, and by itself came to say {summary.count}")

    story.begin("She asks for a note that there is not.")
    try:
        await notebook.callRemote("fetch", "cake")
    except ValueError as error:
        story.end(f"the server's ValueError, caught here as ValueError: {error}")

    story.begin("She lets go of what she held, and hangs up.")
    gone: Deferred[Any] = Deferred()
    root.notifyOnDisconnect(gone.callback)
    del summary, notebook
    client.disconnect()
    await gone
    story.end("nothing is left behind at either end")


if __name__ == "__main__":
    react(main, sys.argv[1:])
