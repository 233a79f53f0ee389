from __future__ import annotations

import hmac
import traceback
from base64 import b64decode
from hashlib import sha256

import pytest

from pb_cred._passwords.scram_verifier import (
    ScramCost,
    Verifier,
    make_verifier,
    saslprep,
    stand_in,
)

COST = ScramCost(4096)

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def test_verifier_verifies_the_exchange_of_rfc_7677() -> None:
    verifier = make_verifier("pencil", SALT, 4096)
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    exchange = (
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        f"c=biws,r={nonce}"
    ).encode()
    proof = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")

    mask = hmac.digest(verifier.stored_key, exchange, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, mask, strict=True))
    assert sha256(client_key).digest() == verifier.stored_key
    assert hmac.digest(verifier.server_key, exchange, "sha256") == signature


def test_text_and_its_utf_8_are_the_same_password() -> None:
    assert make_verifier("zażółć", SALT, 4096) == make_verifier(
        "zażółć".encode(), SALT, 4096
    )


@pytest.mark.parametrize("iterations", [0, 4095, 1_000_001])
def test_iterations_are_bounded(iterations: int) -> None:
    with pytest.raises(ValueError, match="SCRAM takes"):
        make_verifier("pencil", SALT, iterations)


def test_keys_are_not_in_the_repr() -> None:
    verifier = Verifier(b"salt", 4096, b"stored-key", b"server-key")
    assert repr(verifier) == "Verifier(salt=b'salt', iterations=4096)"


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # Those of RFC 4013, section 3.
        ("I\u00adX", b"IX"),
        ("user", b"user"),
        ("USER", b"USER"),
        ("\u00aa", b"a"),
        ("\u2168", b"IX"),
        ("a\u00a0b", b"a b"),
        ("\u0627\u0628", "\u0627\u0628".encode()),
    ],
)
def test_passwords_are_prepared(text: str, prepared: bytes) -> None:
    assert saslprep(text) == prepared
    assert saslprep(text.encode()) == prepared


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        # Those of RFC 4013, section 3.
        ("\u0007", "prohibits"),
        ("\u06271", "directions"),
        ("\u0627a\u0628", "directions"),
        ("", "empty"),
        ("\u00ad", "empty"),
        ("\U0001f600", "prohibits"),
        ("\ud800", "prohibits"),
        (b"\xff", "UTF-8"),
    ],
)
def test_refusal_of_invalid_passwords(password: bytes | str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        saslprep(password)


def test_refusal_contains_no_part_of_the_password() -> None:
    with pytest.raises(ValueError, match="UTF-8") as caught:
        saslprep(b"opensesame\xff")
    error = caught.value
    assert error.__context__ is None
    assert "opensesame" not in "".join(traceback.format_exception_only(error))


def test_stand_in_is_the_same_each_time() -> None:
    first = stand_in(b"secret", b"alice", COST)
    assert first == stand_in(b"secret", b"alice", COST)
    assert (len(first.salt), first.iterations) == (16, 4096)
    for other in (stand_in(b"secret", b"bob", COST), stand_in(b"else", b"alice", COST)):
        assert first.salt != other.salt
        assert first.stored_key != other.stored_key
    assert len({first.stored_key, first.server_key}) == 2
