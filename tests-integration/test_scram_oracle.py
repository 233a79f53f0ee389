"""Our SCRAM with scramp's, at either end."""

from __future__ import annotations

from typing import Any

import pytest
import scramp

from pb_cred._mechanisms.scram import scram
from pb_cred._mechanisms.scram.scram import NAME, PLUS, ScramClient, ScramServer
from pb_cred._passwords.scram_verifier import Verifier, make_verifier
from pb_cred.errors import LoginRefused
from pb_cred.mechanisms import LoginContext, Verified

#: The kind of binding that theirs knows.
KIND = "tls-server-end-point"
DATA = b"data of the channel"

WORDS = [
    ("alice", "sesame"),
    ("a,b=c", "p,=\\"),
    ("żółw", "zażółć gęślą jaźń"),
    ("alice", "\u2168\u00a0\u00ad"),
]


@pytest.fixture(autouse=True)
def _their_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give our end the channel binding of theirs, which ours does not ask for."""
    monkeypatch.setattr(scram, "_BINDING", b"p=" + KIND.encode())


def context(is_plus: bool) -> LoginContext:
    return LoginContext(
        channel_binding=DATA if is_plus else None,
        offered=(PLUS, NAME) if is_plus else (NAME,),
        acceptable=(PLUS, NAME),
    )


def theirs(is_plus: bool) -> Any:
    return (KIND, DATA) if is_plus else None


@pytest.mark.parametrize("is_plus", [True, False])
@pytest.mark.parametrize(("username", "password"), WORDS)
def test_login_of_scramps_client(username: str, password: str, is_plus: bool) -> None:
    names = [PLUS if is_plus else NAME]
    client = scramp.ScramClient(names, username, password, theirs(is_plus))
    verifier = make_verifier(password, b"salt" * 4, 5000)
    server = ScramServer(
        lambda name: verifier, b"secret", context(is_plus), is_plus=is_plus
    )
    first = server.step(client.get_client_first().encode())
    client.set_server_first(first.decode())
    found = server.step(client.get_client_final().encode())
    assert found == Verified(username.encode())
    client.set_server_final(server.accepted().decode())


@pytest.mark.parametrize("is_plus", [True, False])
@pytest.mark.parametrize(("username", "password"), WORDS)
def test_login_at_scramps_server(username: str, password: str, is_plus: bool) -> None:
    mechanism = scramp.ScramMechanism(PLUS if is_plus else NAME)
    record = mechanism.make_auth_info(password, 5000, b"salt" * 4)
    server = mechanism.make_server(lambda name: record, theirs(is_plus))
    ours = context(is_plus)
    # Before 1.5, theirs cannot check a proof over more than there has to be.
    ours.offered = ()
    client = ScramClient(username.encode(), password, ours, is_plus=is_plus)
    server.set_client_first(client.begin().decode())
    answered = client.step(server.get_server_first().encode())
    final: list[bytes] = []
    answered.addCallback(final.append)
    server.set_client_final(final[0].decode())
    client.finish(server.get_server_final().encode())


@pytest.mark.parametrize(("username", "password"), WORDS)
def test_verifiers_equal_scramps(username: str, password: str) -> None:
    salt, stored, server, iterations = scramp.ScramMechanism(NAME).make_auth_info(
        password, 5000, b"salt" * 4
    )
    verifier = Verifier(salt, iterations, stored, server)
    assert make_verifier(password, b"salt" * 4, 5000) == verifier


def test_login_of_scramps_client_with_a_wrong_password() -> None:
    client = scramp.ScramClient([NAME], "alice", "simsalabim")
    verifier = make_verifier("sesame", b"salt" * 4, 5000)
    server = ScramServer(lambda name: verifier, b"secret", context(False))
    first = server.step(client.get_client_first().encode())
    client.set_server_first(first.decode())
    with pytest.raises(LoginRefused):
        server.step(client.get_client_final().encode())
