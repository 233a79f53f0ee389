"""Logins with passwords from stores, over real sockets, on both kinds of loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb, stores
from pb_cred._passwords.memory_store import CHEAP
from pb_cred._server import login_root as _login_root
from programs import run_program


class PlainRoot(_login_root.LoginRoot):
    """A login that shows the server the password."""

    # By the name of the mechanism, after which a password may be sent.
    def remote_PLAIN(self, username: bytes, password: bytes) -> Any:
        return self.admit(UsernamePassword(username, password), None, "test")


class PlainPortalRoot(_login_root.PortalRoot):
    login_root = PlainRoot


class PlainServerFactory(pb.PBServerFactory):
    portal_root = PlainPortalRoot


class User(pb.Avatar):
    def perspective_who(self) -> Any:
        return self.avatarId


def in_memory(folder: Path) -> stores.PasswordStore:
    return stores.MemoryPasswords()


def in_a_file(folder: Path) -> stores.PasswordStore:
    return stores.PasswordFile(folder / "passwords", create=True, hashing=CHEAP)


def in_sqlite(folder: Path) -> stores.PasswordStore:
    url = f"sqlite:///{folder}/passwords.db"
    return stores.PasswordDatabase(url, create=True, hashing=CHEAP)


@pytest.mark.parametrize("make", [in_memory, in_a_file, in_sqlite])
def test_logins_with_stored_passwords_on_asyncio(
    make: Callable[[Path], stores.PasswordStore], tmp_path: Path
) -> None:
    store = make(tmp_path)
    store.set_password("alice", "sesame")
    factory = PlainServerFactory(Portal(pb.Realm(User), [store]))
    path = str(tmp_path / "socket")

    async def main() -> None:
        serving = pb_asyncio.serve(f"unix:{path}", factory)
        async with serving, pb_asyncio.client(f"unix:{path}") as root:
            for name, password in [(b"alice", b"wrong"), (b"bob", b"sesame")]:
                with pytest.raises(UnauthorizedLogin):
                    await root.callRemote("PLAIN", name, password)
            avatar = await root.callRemote("PLAIN", b"alice", b"sesame")
            assert await avatar.callRemote("who") == b"alice"

    asyncio.run(main())
    store.close()


ON_TWISTED = """
import sys
from pathlib import Path
from test_password_logins import PlainServerFactory, User, in_a_file
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.task import react
from pb_cred import pb

async def main(reactor):
    store = in_a_file(Path(sys.argv[1]))
    store.set_password("alice", "sesame")
    factory = PlainServerFactory(Portal(pb.Realm(User), [store]))
    port = reactor.listenUNIX(sys.argv[1] + "/socket", factory)
    client = pb.PBClientFactory()
    connection = reactor.connectUNIX(sys.argv[1] + "/socket", client)
    root = await client.getRootObject()
    for name, password in [(b"alice", b"wrong"), (b"bob", b"sesame")]:
        try:
            await root.callRemote("PLAIN", name, password)
        except UnauthorizedLogin:
            print("refused")
    avatar = await root.callRemote("PLAIN", b"alice", b"sesame")
    print((await avatar.callRemote("who")).decode())
    connection.disconnect()
    await port.stopListening()
    store.close()

react(main)
"""


def test_logins_with_stored_passwords_on_twisted(tmp_path: Path) -> None:
    done = run_program("-c", ON_TWISTED, tmp_path, cwd=Path(__file__).parent)
    assert done.stdout.split() == ["refused", "refused", "alice"], done.stderr
