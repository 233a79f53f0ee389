"""Configuration of a server with issuers of tokens and their keys."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from traceback import TracebackException
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448

from pb_cred import tokens
from pb_cred._jwt.secret_token import MAX_TOKEN
from pb_cred.errors import TokenKeyError

from .token_support import (
    EC,
    EC384,
    ED,
    NOW,
    OTHER_EC,
    RSA,
    SECRET,
    SMALL_RSA,
    jwk_of,
    pem_of,
    private_pem_of,
    shown_to,
    token_of,
    tokens_of,
)


@pytest.fixture(autouse=True, scope="module")
def _today() -> Iterator[None]:
    with mock.patch.object(tokens, "_now", return_value=NOW):
        yield


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"algorithms": []}, "algorithms are some of ES256"),
        ({"algorithms": ["none"]}, "algorithms are some of ES256"),
        ({"algorithms": ["ES256", "none"]}, "algorithms are some of ES256"),
        ({"algorithms": ["ES256K"]}, "algorithms are some of ES256"),
        ({"algorithms": ["es256"]}, "algorithms are some of ES256"),
        ({"algorithms": ["HS256", "RS256"]}, "not allowed together"),
        ({"algorithms": ["EdDSA", "HS512"]}, "not allowed together"),
        ({"issuer": ""}, "are not empty"),
        ({"audience": ""}, "are not empty"),
        ({"audience": []}, "are not empty"),
        ({"audience": ["a", ""]}, "are not empty"),
        ({"leeway": -1}, "0 to 300 seconds"),
        ({"leeway": 301}, "0 to 300 seconds"),
        ({"leeway": float("nan")}, "0 to 300 seconds"),
        ({"max_token_bytes": 0}, "at most 15360 bytes"),
        ({"max_token_bytes": MAX_TOKEN + 1}, "at most 15360 bytes"),
        ({"refresh_interval": 0}, "good for longer"),
        ({"refresh_interval": 61, "keys_max_age": 60}, "good for longer"),
    ],
)
def test_refusal_of_invalid_settings(options: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        tokens_of(**options)


def test_refusal_of_algorithms_that_are_no_list() -> None:
    with pytest.raises(TypeError, match="not one name"):
        tokens_of(algorithms="ES256")


DAMAGED = {**jwk_of(EC, "ES256"), "x": "AAAA"}


@pytest.mark.parametrize(
    ("key", "algorithms", "reason"),
    [
        (pem_of(EC), ["RS256"], "another algorithm"),
        (pem_of(RSA), ["ES256"], "another algorithm"),
        (pem_of(EC384), ["ES256"], "another algorithm"),
        (pem_of(ED), ["ES256", "RS256"], "another algorithm"),
        (pem_of(ed448.Ed448PrivateKey.generate()), ["EdDSA"], "another algorithm"),
        (pem_of(SMALL_RSA), ["RS256"], "at least 2048 bits"),
        (private_pem_of(EC), ["ES256"], "no public key in PEM"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            ["ES256"],
            "PEM",
        ),
        ("", ["ES256"], "no public key in PEM"),
        (SECRET, ["ES256"], "no public key in PEM"),
        (None, ["ES256"], "a public key is PEM"),
        (EC.public_key(), ["ES256"], "a public key is PEM"),
        (SECRET[:31], ["HS256"], "at least 256 bits"),
        (SECRET[:63], ["HS512"], "at least 512 bits"),
        (b"", ["HS256"], "at least 256 bits"),
        ("secret" * 20, ["HS256"], "a secret is bytes"),
        (pem_of(EC), ["HS256"], "a secret is bytes"),
        (pem_of(EC).encode(), ["HS256"], "no secret"),
        (jwk_of(EC, "ES256"), ["HS256"], "another algorithm"),
        (jwk_of(SECRET, "HS256"), ["ES256"], "another algorithm"),
        (jwk_of(SECRET, "HS256", d="x", k="AAAA"), ["HS256"], "at least 256 bits"),
        (jwk_of(RSA, "RS256", alg="RS512"), ["RS256"], "another algorithm"),
        (jwk_of(EC, "ES256", use="enc"), ["ES256"], "not for signatures"),
        (jwk_of(EC, "ES256", key_ops=["sign"]), ["ES256"], "not for signatures"),
        (jwk_of(EC, "ES256", key_ops=5), ["ES256"], "not for signatures"),
        (jwk_of(EC, "ES256", kid="2"), ["ES256"], "another id"),
        (jwk_of(EC, "ES256", kid=1), ["ES256"], "not text"),
        (jwk_of(EC, "ES256", d="AAAA"), ["ES256"], "private key"),
        (DAMAGED, ["ES256"], "damaged"),
        ({"kty": "EC"}, ["ES256"], "damaged"),
        ({"kty": "oct"}, ["HS256"], "damaged"),
        ({"kty": "RSA", "n": 5, "e": "AQAB"}, ["RS256"], "damaged"),
        (jwk_of(EC384, "ES384"), ["ES256"], "another algorithm"),
        ({}, ["ES256"], "another algorithm"),
    ],
)
def test_refusal_of_unusable_keys(key: Any, algorithms: Any, reason: str) -> None:
    with pytest.raises(TokenKeyError, match=reason) as caught:
        tokens_of({"1": key}, algorithms=algorithms)
    text = "".join(TracebackException.from_exception(caught.value).format())
    assert text.count("Traceback") == 1


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({}, "there are no keys"),
        ({1: pem_of(EC)}, "id of a key is text"),
        (pem_of(EC), "keys are a mapping"),
        ([pem_of(EC)], "keys are a mapping"),
        ({"keys": []}, "no key of the set"),
        ({"keys": [5, None, {}, jwk_of(RSA, "RS256")]}, "no key of the set"),
        ({"keys": [jwk_of(EC, "ES256", kid="1")] * 2}, "the same id"),
        ({"keys": [jwk_of(EC, "ES256")] * 2}, "the same id, or none"),
        ({"keys": pem_of(RSA)}, "the key 'keys'"),
    ],
)
def test_refusal_of_values_that_are_no_keys(keys: Any, reason: str) -> None:
    with pytest.raises(TokenKeyError, match=reason):
        tokens_of(keys)


def test_accepted_forms_of_keys() -> None:
    for key in [
        *(pem_of(EC), pem_of(EC).encode(), jwk_of(EC, "ES256")),
        jwk_of(EC, "ES256", kid="1", use="sig", key_ops=["verify"], alg="ES256"),
    ]:
        assert shown_to(tokens_of({"1": key}), token_of()) == b"alice"
    secret = token_of(None, SECRET, "HS256")
    for key in (SECRET, jwk_of(SECRET, "HS256")):
        assert shown_to(tokens_of({"1": key}, algorithms=["HS256"]), secret) == b"alice"


def test_secret_serves_algorithms_of_its_length() -> None:
    mechanism = tokens_of({"1": SECRET[:32]}, algorithms=["HS256", "HS512"])
    assert shown_to(mechanism, token_of(None, SECRET[:32], "HS256")) == b"alice"
    assert shown_to(mechanism, token_of(None, SECRET[:32], "HS512")) is None


def test_other_keys_of_a_jwk_set_are_ignored() -> None:
    keys: dict[str, list[Any]] = {
        "keys": [
            jwk_of(EC, "ES256", kid="1"),
            jwk_of(RSA, "RS256", kid="1"),
            jwk_of(OTHER_EC, "ES256", kid="2", use="enc"),
            {"kty": "unheard-of", "kid": "3"},
            DAMAGED,
            None,
        ]
    }
    mechanism = tokens_of(keys)
    assert shown_to(mechanism, token_of()) == b"alice"
    assert shown_to(mechanism, token_of(kid=None)) == b"alice"
    assert shown_to(mechanism, token_of(key=OTHER_EC, kid="2")) is None


def test_single_key_of_a_set_may_lack_an_id() -> None:
    mechanism = tokens_of({"keys": [jwk_of(EC, "ES256")]})
    assert shown_to(mechanism, token_of(kid=None)) == b"alice"
    assert shown_to(mechanism, token_of(kid="1")) is None
    keys = [jwk_of(EC, "ES256"), jwk_of(OTHER_EC, "ES256", kid="2")]
    mechanism = tokens_of({"keys": keys})
    assert shown_to(mechanism, token_of(kid=None)) is None
    assert shown_to(mechanism, token_of(key=OTHER_EC, kid="2")) == b"alice"


def test_error_for_a_missing_library() -> None:
    for module in ("jwt", "cryptography"):
        with (
            mock.patch.dict(sys.modules, {module: None}),
            pytest.raises(TokenKeyError, match=r"pip install 'pb-cred\[tokens\]'"),
        ):
            tokens_of()


def test_library_is_imported_at_first_use() -> None:
    program = (
        "import sys, pb_cred.pb, pb_cred.tokens\n"
        "pb_cred.tokens.BearerToken('abc')\n"
        "print({'jwt', 'cryptography'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
