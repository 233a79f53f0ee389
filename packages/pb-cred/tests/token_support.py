"""This module makes tokens for the tests, valid and invalid, and shows them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from traceback import TracebackException
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import get_default_algorithms
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from pb_cred.errors import LoginRefused
from pb_cred.mechanisms import LoginContext, Verified
from pb_cred.tokens import BearerTokens

from .planted import plant

NOW = 1_800_000_000
ISSUER = "https://login.example.com"
OURS = "pb://accounts.example.com"


def pem_of(key: Any) -> str:
    public = key.public_key()
    pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def private_pem_of(key: Any) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


EC = ec.generate_private_key(ec.SECP256R1())
OTHER_EC = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
SMALL_RSA = rsa.generate_private_key(65537, 1024)
ED = ed25519.Ed25519PrivateKey.generate()
SECRET = bytes(range(64))

#: An algorithm, what signs by it, and what verifies.
KEYS: dict[str, tuple[Any, Any]] = {
    "ES256": (EC, pem_of(EC)),
    "ES384": (EC384, pem_of(EC384)),
    "ES512": (key := ec.generate_private_key(ec.SECP521R1()), pem_of(key)),
    "EdDSA": (ED, pem_of(ED)),
    **dict.fromkeys(["RS256", "RS384", "RS512"], (RSA, pem_of(RSA))),
    **dict.fromkeys(["PS256", "PS384", "PS512"], (RSA, pem_of(RSA))),
    **dict.fromkeys(["HS256", "HS384", "HS512"], (SECRET, SECRET)),
}

CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": OURS,
    "sub": "alice",
    "iat": NOW - 10,
    "nbf": NOW - 10,
    "exp": NOW + 600,
}


def b64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def jwk_of(key: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    public = key if isinstance(key, bytes) else key.public_key()
    jwk: Any = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
    return {**jwk, **more}


def signed(
    header: bytes, payload: bytes, key: Any = EC, algorithm: str = "ES256"
) -> bytes:
    """Return a token of any header and payload, signed."""
    return signed_parts(b64(header), b64(payload), key, algorithm)


def signed_parts(
    header: bytes, payload: bytes, key: Any = EC, algorithm: str = "ES256"
) -> bytes:
    """Return a token of encoded parts."""
    said = header + b"." + payload
    signer: Any = get_default_algorithms()[algorithm]
    token = said + b"." + b64(signer.sign(said, signer.prepare_key(key)))
    return plant(token, b"OAUTHBEARER")


def token_of(
    claims: dict[str, Any] | None = None,
    key: Any = EC,
    algorithm: str = "ES256",
    **header: Any,
) -> bytes:
    """Return a token; a header field of None is left out."""
    header = {"alg": algorithm, "kid": "1", **header}
    header = {name: value for name, value in header.items() if value is not None}
    said = json.dumps(header).encode(), json.dumps(claims or CLAIMS).encode()
    return signed(*said, key, algorithm)


def message_of(token: bytes) -> bytes:
    return b"n,,\x01auth=Bearer " + token + b"\x01\x01"


def tokens_of(keys: Any = None, **options: Any) -> BearerTokens:
    options = {"issuer": ISSUER, "audience": OURS, **options}
    return BearerTokens(keys={"1": pem_of(EC)} if keys is None else keys, **options)


def sent(mechanism: BearerTokens, message: bytes, context: Any = None) -> list[Any]:
    """Send a message; return a list that gets the outcome."""
    results: list[Any] = []
    exchange = mechanism.start(None, context or LoginContext(is_tls=True))
    waiting: Deferred[Any] = exchange.step(message)
    waiting.addBoth(results.append)
    return results


def shown_to(mechanism: BearerTokens, token: bytes) -> Any:
    """Return the avatar id of a token, or None if it is refused."""
    return answer_of(*sent(mechanism, message_of(token)))


def answer_of(result: Any) -> Any:
    """Return an avatar id, or None for a refusal; assert that it is one of the two."""
    if isinstance(result, Verified):
        return result.avatar_id
    assert isinstance(result, Failure)
    assert result.type is LoginRefused, result
    return None


class Clock:
    """Replacement of both clocks."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Source:
    """A function that returns keys, and counts its calls."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


ONE = {"1": pem_of(EC)}
TWO = {"1": pem_of(EC), "2": pem_of(OTHER_EC)}


def in_a_coroutine(value: Any) -> Callable[[], Any]:
    async def give() -> Any:
        return await succeed(value)

    return give


def shown(*values: Any) -> str:
    """Return every printable text of values, local variables included."""
    found = []
    for value in values:
        found += [repr(value), str(value)]
        if isinstance(value, Failure):
            for detail in ("default", "brief", "verbose"):
                found.append(value.getTraceback(detail=detail))
                found.append(value.getTraceback(elideFrameworkCode=True, detail=detail))
            value = value.value
        if isinstance(value, BaseException):
            told = TracebackException.from_exception(value, capture_locals=True)
            found += told.format()
    return "\n".join(found)
