"""This module reads the keys that tokens are verified with.

Each key is tied to its algorithms when it is read: those of the configuration that are
for keys of its kind.  A token is verified by an algorithm of its key or not at all, so
that no token can have a public key taken for a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from pb_cred.errors import TokenKeyError

__all__ = ["ALGORITHMS", "Key", "Keys", "checked_algorithms", "read_keys"]


class _Kind(NamedTuple):
    """The kind of key of an algorithm: type of JWK, with its curve or smallest size."""

    kty: str
    curve: str | None = None
    least: int = 0


_RSA: Final = _Kind("RSA", least=2048)

ALGORITHMS: Final[dict[str, _Kind]] = {
    "ES256": _Kind("EC", "P-256"),
    "ES384": _Kind("EC", "P-384"),
    "ES512": _Kind("EC", "P-521"),
    "EdDSA": _Kind("OKP", "Ed25519"),
    "PS256": _RSA,
    "PS384": _RSA,
    "PS512": _RSA,
    "RS256": _RSA,
    "RS384": _RSA,
    "RS512": _RSA,
    "HS256": _Kind("oct", least=256),
    "HS384": _Kind("oct", least=384),
    "HS512": _Kind("oct", least=512),
}


def checked_algorithms(names: Iterable[str]) -> tuple[str, ...]:
    """Return algorithms that can be allowed together.

    Raises:
        TypeError: They are one name, and no list.
        ValueError: There is none, or one that there is not; or some take a secret and
            some a public key.
    """
    if isinstance(names, (str, bytes)):
        raise TypeError("algorithms are a list of names, not one name")
    found = tuple(names)
    if not found or not all(each in ALGORITHMS for each in found):
        raise ValueError(f"algorithms are some of {', '.join(ALGORITHMS)}")
    if len({ALGORITHMS[each].kty == "oct" for each in found}) > 1:
        raise ValueError("secrets and public keys are not allowed together")
    return found


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key, and by which algorithms it may verify.

    Attributes:
        value: The key, as PyJWT takes it.
        algorithms: Their names.
    """

    value: Any
    algorithms: frozenset[str]


#: Keys by their ids; a key of a JWK set need not have one.
Keys: TypeAlias = dict[str | None, Key]


class _Unfit(Exception):
    """A key is not one that can be used here."""


def read_keys(keys: Any, algorithms: tuple[str, ...]) -> Keys:
    """Return keys by their ids.

    Raises:
        TokenKeyError: There are none, or some cannot be used.
    """
    if not isinstance(keys, Mapping):
        raise TokenKeyError("keys are a mapping of their ids, or a JWK set")
    if isinstance(keys.get("keys"), (list, tuple)):
        return _read_set(keys["keys"], algorithms)
    found: Keys = {}
    for kid, key in keys.items():
        if not isinstance(kid, str):
            raise TokenKeyError("the id of a key is text")
        reason = ""
        try:
            found[kid] = _read_key(key, algorithms, kid)
        except _Unfit as error:
            reason = str(error)
        if reason:
            raise TokenKeyError(f"the key {kid!r} cannot be used: {reason}")
    if not found:
        raise TokenKeyError("there are no keys")
    return found


def _read_set(keys: Iterable[Any], algorithms: tuple[str, ...]) -> Keys:
    """Return the keys of a JWK set that are of use; it may have others (RFC 7517)."""
    found: Keys = {}
    for each in keys:
        try:
            key = _read_key(each, algorithms)
        except _Unfit:
            continue
        kid = each.get("kid")
        if kid in found:
            raise TokenKeyError("two keys of the set have the same id, or none")
        found[kid] = key
    if not found:
        raise TokenKeyError("no key of the set can be used")
    return found


def _read_key(key: Any, algorithms: tuple[str, ...], kid: str | None = None) -> Key:
    """Return a key in PEM, a secret, or a JWK.

    Raises:
        _Unfit: It cannot be read, or there is no algorithm for it.
    """
    if isinstance(key, Mapping):
        return _read_jwk(dict(key), algorithms, kid)
    if ALGORITHMS[algorithms[0]].kty == "oct":
        if not isinstance(key, bytes):
            raise _Unfit("a secret is bytes, or a JWK")
        return _fitting(key, algorithms)
    if isinstance(key, str):
        key = key.encode()
    if not isinstance(key, bytes):
        raise _Unfit("a public key is PEM, or a JWK")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if public is None:
        raise _Unfit("that is no public key in PEM")
    return _fitting(public, algorithms)


def _read_jwk(jwk: dict[str, Any], algorithms: tuple[str, ...], kid: str | None) -> Key:
    from jwt import PyJWTError
    from jwt.algorithms import get_default_algorithms

    own = jwk.get("kid", kid)
    if "kid" in jwk and not isinstance(own, str):
        raise _Unfit("its id is not text")
    if kid is not None and own != kid:
        raise _Unfit("it says that it has another id")
    uses = jwk.get("key_ops", ["verify"])
    is_to_verify = isinstance(uses, (list, tuple)) and "verify" in uses
    if jwk.get("use", "sig") != "sig" or not is_to_verify:
        raise _Unfit("it is not for signatures")
    if jwk.get("kty") != "oct" and "d" in jwk:
        raise _Unfit("it is a private key")
    fitting = [
        each
        for each in algorithms
        if ALGORITHMS[each].kty == jwk.get("kty") and jwk.get("alg", each) == each
    ]
    if not fitting:
        raise _Unfit("it is for another algorithm")
    value: Any = None
    with suppress(PyJWTError, ValueError, TypeError, KeyError):
        value = get_default_algorithms()[fitting[0]].from_jwk(jwk)
    if value is None:
        raise _Unfit("it is damaged")
    return _fitting(value, tuple(fitting))


def _fitting(value: Any, algorithms: Iterable[str]) -> Key:
    """Return a key with those of some algorithms that it is for."""
    from jwt import PyJWTError
    from jwt.algorithms import get_default_algorithms

    kind, known = _kind_of(value), get_default_algorithms()
    reason = "it is for another algorithm"
    found = set()
    for each in algorithms:
        wanted = ALGORITHMS[each]
        if (kind.kty, kind.curve) != (wanted.kty, wanted.curve):
            continue
        if kind.least < wanted.least:
            reason = f"for {each}, it needs at least {wanted.least} bits"
            continue
        try:
            known[each].prepare_key(value)
        except (PyJWTError, ValueError, TypeError):
            reason = "it is somebody's public key, and no secret"
            continue
        found.add(each)
    if not found:
        raise _Unfit(reason)
    return Key(value, frozenset(found))


def _kind_of(value: Any) -> _Kind:
    """Return of which kind a key is, and how many bits it has."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if isinstance(value, bytes):
        return _Kind("oct", least=8 * len(value))
    if isinstance(value, RSAPublicKey):
        return _Kind("RSA", least=value.key_size)
    if isinstance(value, Ed25519PublicKey):
        return _Kind("OKP", "Ed25519")
    if isinstance(value, EllipticCurvePublicKey):
        return _Kind("EC", _CURVES.get(value.curve.name))
    return _Kind("")


#: As cryptography calls them, and as JWK does.
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
