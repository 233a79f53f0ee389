from __future__ import annotations

from typing import Any

import pytest
from argon2 import PasswordHasher, low_level
from hypothesis import given
from hypothesis import strategies as st

from pb_cred._passwords.argon2 import Argon2Error, Hash, compute, parse
from pb_cred._passwords.hashing import Password, PasswordHashing, Record, is_password
from pb_cred._passwords.scram_verifier import prepared

SECRET = b"planted-secret"

words = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=40)
costs = st.integers(1, 3)
salts = st.binary(min_size=8, max_size=24)
lengths = st.integers(4, 48)


@given(
    words, costs, costs, st.integers(0, 40), salts, lengths, st.sampled_from([16, 19])
)
def test_hashes_equal_those_of_argon2_cffi(
    word: str,
    passes: int,
    lanes: int,
    more: int,
    salt: bytes,
    length: int,
    version: int,
) -> None:
    like = Hash(8 * lanes + more, passes, lanes, salt, bytes(length), version)
    password = Password(word or "x")
    assert compute(password, like) == low_level.hash_secret_raw(
        prepared(password),
        salt,
        passes,
        8 * lanes + more,
        lanes,
        length,
        low_level.Type.ID,
        version,
    )


@given(costs, costs, salts, st.binary(min_size=4, max_size=48))
def test_round_trip_of_encoded_hashes(
    passes: int, lanes: int, salt: bytes, digest: bytes
) -> None:
    made = Hash(8 * lanes, passes, lanes, salt, digest)
    assert parse(made.text()) == made


def test_encoded_hashes_are_compatible_with_argon2_cffi() -> None:
    theirs = PasswordHasher(1, 32, 4)
    hashed = theirs.hash("sesame")
    assert parse(hashed).text() == hashed
    ours = PasswordHashing(1, 32, 4).record("alice", Password("sesame"), "argon2id")
    assert ours.password_hash is not None
    assert theirs.verify(ours.password_hash, "sesame")
    assert not theirs.check_needs_rehash(ours.password_hash)


def test_hash_without_a_version_is_verified() -> None:
    hashed = low_level.hash_secret(
        b"sesame", b"saltsalt", 1, 8, 1, 32, low_level.Type.ID, version=16
    ).decode()
    for kept in (hashed, hashed.replace("v=16$", "")):
        record = Record("alice", kept)
        assert is_password(record, {}, Password("sesame"))
        assert not is_password(record, {}, Password("simsim"))


@pytest.mark.parametrize(
    ("memory_cost", "passes", "lanes", "salt", "digest"),
    [
        (7, 1, 1, bytes(8), bytes(32)),
        (8, 1, 2**24, bytes(8), bytes(32)),
        (8, 1, 1, bytes(7), bytes(32)),
        (8, 1, 1, bytes(8), bytes(3)),
    ],
)
def test_error_of_a_failed_hash_has_no_password(
    memory_cost: int, passes: int, lanes: int, salt: bytes, digest: bytes
) -> None:
    with pytest.raises(Argon2Error) as caught:
        compute(Password(SECRET), Hash(memory_cost, passes, lanes, salt, digest))
    assert SECRET.decode() not in str(caught.value)


GOOD = Hash(8, 1, 1, b"saltsalt", bytes(32)).text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD + "\n",
        GOOD + "$",
        GOOD + "AA",
        GOOD.replace("$argon2id", "$argon2i"),
        GOOD.replace("v=19", "v=18"),
        GOOD.replace("m=8", "m=08"),
        GOOD.replace("m=8", "m=-8"),
        GOOD.replace("m=8", "m=8589934592"),
        GOOD.replace("t=1", "t=0"),
        GOOD.replace("p=1", "p=\N{ARABIC-INDIC DIGIT ONE}"),
        GOOD.replace("c2FsdHNhbHQ", "c2Fs=HNhbHQ"),
        GOOD.replace("c2FsdHNhbHQ", "c2FsdHNhbHQxx"),
    ],
)
def test_error_of_a_malformed_hash_has_no_hash(text: str) -> None:
    with pytest.raises(ValueError, match=r"^this is no hash of Argon2id$") as caught:
        parse(text)
    assert caught.value.__context__ is None


def test_all_lanes_are_computed_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    core = low_level.core

    def watched(context: Any, kind: int) -> int:
        asked.append((context.lanes, context.threads))
        return core(context, kind)

    monkeypatch.setattr(low_level, "core", watched)
    record = PasswordHashing(1, 32, 4).record("alice", Password("sesame"), "argon2id")
    assert is_password(record, {}, Password("sesame"))
    assert asked == [(4, 1), (4, 1)]


def test_reprs_and_tracebacks_have_no_password() -> None:
    hashed = Hash(8, 1, 1, SECRET, SECRET)
    assert SECRET.decode() not in repr(hashed)
