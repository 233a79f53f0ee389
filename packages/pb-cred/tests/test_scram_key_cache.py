from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import succeed

from pb_cred._mechanisms.scram import scram
from pb_cred._mechanisms.scram.key_cache import CLIENT_KEYS, KeyCache
from pb_cred._mechanisms.scram.scram import NAME, ScramClient, ScramServer
from pb_cred._passwords.scram_verifier import Keys, Password, derive, make_verifier
from pb_cred.errors import MechanismError
from pb_cred.mechanisms import LoginContext

SALT = b"salt salt salt"
ALICE = make_verifier(b"sesame", SALT, 4096)
KEYS = Keys(b"client", b"stored", b"server")


@pytest.fixture(autouse=True)
def derivations(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The salts of the derivations of clients."""
    salts: list[bytes] = []

    def counted(password: Password, salt: bytes, *more: Any) -> Keys:
        salts.append(salt)
        return derive(password, salt, *more)

    monkeypatch.setattr(scram, "derive", counted)
    return salts


def log_in(
    password: bytes | str = b"sesame", verifier: Any = ALICE, accepts: bool = True
) -> None:
    context = LoginContext(offered=(NAME,), acceptable=(NAME,))
    us = ScramClient(b"alice", password, context)
    them = ScramServer(lambda _: succeed(verifier), b"secret", context)
    steps: list[Any] = []
    first = them.step(us.begin())
    first.addCallback(us.step).addCallback(them.step).addErrback(steps.append)
    us.finish(them.accepted() if accepts else b"v=AAAA")


def test_second_login_of_a_process_derives_no_key(derivations: list[bytes]) -> None:
    for password in (b"sesame", "sesame", b"sesame"):
        log_in(password)
    assert derivations == [SALT]


@pytest.mark.parametrize(
    "other",
    [
        make_verifier(b"sesame", b"other salt", 4096),
        make_verifier(b"sesame", SALT, 4097),
    ],
)
def test_new_salt_or_iterations_derive_anew(
    other: Any, derivations: list[bytes]
) -> None:
    log_in()
    log_in(verifier=other)
    assert derivations == [SALT, other.salt]


def test_keys_of_a_server_without_proof_are_not_kept(derivations: list[bytes]) -> None:
    with pytest.raises(MechanismError):
        log_in(accepts=False)
    assert len(CLIENT_KEYS) == 0
    log_in()
    assert derivations == [SALT, SALT]


def test_wrong_password_does_not_find_the_keys_of_the_right_one(
    derivations: list[bytes],
) -> None:
    log_in()
    with pytest.raises((MechanismError, UnauthorizedLogin)):
        log_in(b"open barley", accepts=False)
    assert derivations == [SALT, SALT]


def test_entry_used_longest_ago_goes_first() -> None:
    cache = KeyCache(most=2)

    def find(salt: bytes) -> Keys | None:
        return cache.find(Password("a"), salt, 4096, "sha256")

    for salt in (b"1", b"2"):
        cache.keep(Password("a"), salt, 4096, "sha256", KEYS)
    assert find(b"1") is KEYS
    cache.keep(Password("a"), b"3", 4096, "sha256", KEYS)
    assert [find(salt) for salt in (b"1", b"2", b"3")] == [KEYS, None, KEYS]
    cache.clear()
    assert len(cache) == 0


def test_cache_has_no_password() -> None:
    cache = KeyCache()
    cache.keep(Password("sesame"), SALT, 4096, "sha256", KEYS)
    assert "sesame" not in repr(vars(cache))
