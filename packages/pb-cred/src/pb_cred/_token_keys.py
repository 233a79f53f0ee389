"""This module has the keys that tokens are signed with, and gets new ones.

Theory of operation
-------------------
Each key is tied to its algorithms when it is read: those of the configuration that are
for keys of its kind.  A token is verified by an algorithm of its key or not at all, so
that no token can have a public key taken for a secret.

A function that gives keys is asked when there is a token to verify and no key for it.
Whoever comes meanwhile waits for the same answer.  The question belongs to nobody: it
goes on when the login that was the reason is given up.  It is asked at most once in a
while, by a clock that nobody sets; an answer that takes longer is not waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ._awaiting import called
from .errors import TokenKeyError

__all__ = ["ALGORITHMS", "Key", "KeyRing", "checked_algorithms"]

_log = Logger(namespace="pb_cred")

#: How many logins may wait for an answer.
_MOST_WAITING: Final = 1000

_seconds: Callable[[], float] = time.monotonic


class _Kind(NamedTuple):
    """What an algorithm takes for a key: a type of JWK, and its curve or least size."""

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
_Keys: TypeAlias = dict[str | None, Key]


class _Unfit(Exception):
    """A key is not one that can be used here."""


# Reading keys


def _read_keys(keys: Any, algorithms: tuple[str, ...]) -> _Keys:
    """Return keys by their ids.

    Raises:
        TokenKeyError: There are none, or some cannot be used.
    """
    if not isinstance(keys, Mapping):
        raise TokenKeyError("keys are a mapping of their ids, or a JWK set")
    if isinstance(keys.get("keys"), (list, tuple)):
        return _read_set(keys["keys"], algorithms)
    found: _Keys = {}
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


def _read_set(keys: Iterable[Any], algorithms: tuple[str, ...]) -> _Keys:
    """Return the keys of a JWK set that are of use; it may have others (RFC 7517)."""
    found: _Keys = {}
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


# Keeping them


class KeyRing:
    """The keys that are good now.

    Args:
        algorithms: What they are for.
        interval: How many seconds pass before a function is asked again.
        max_age: How many seconds what it gave is good for.
    """

    def __init__(
        self, algorithms: tuple[str, ...], interval: float, max_age: float
    ) -> None:
        self._algorithms = algorithms
        self._interval = interval
        self._max_age = max_age
        self._source: Callable[[], Any] | None = None
        self._keys: _Keys = {}
        # When the function was asked last, and when it last gave the keys.
        self._asked: float | None = None
        self._given: float | None = None
        self._asking: Deferred[Any] | None = None
        self._waiting: dict[Deferred[None], None] = {}

    def replace(self, keys: Any) -> None:
        """Take other keys, or another function that gives them.

        Raises:
            TokenKeyError: There are none, or some cannot be used; then everything
                stays as it was.
        """
        source = keys if callable(keys) else None
        found = {} if source else _read_keys(keys, self._algorithms)
        old, self._asking = self._asking, None
        self._source, self._keys = source, found
        self._asked = self._given = None
        if old is not None:
            old.cancel()
        if self._source is not None and self._waiting:
            self._ask()
        if self._asking is None:
            self._wake()

    def find(self, kid: str | None) -> Any:
        """Return a key, a Deferred with one, or None if there is none.

        Args:
            kid: Its id; None for the only one that there is.
        """
        found = self._known(kid)
        is_no_question = self._source is None or (kid is None and self._is_fresh())
        if found is not None or is_no_question:
            return found
        self._ask()
        if self._asking is None or len(self._waiting) >= _MOST_WAITING:
            return self._known(kid)
        waiting: Deferred[None] = Deferred(lambda each: self._waiting.pop(each, None))
        self._waiting[waiting] = None
        return waiting.addCallback(lambda _: self._known(kid))

    def _known(self, kid: str | None) -> Key | None:
        if not self._is_fresh():
            return None
        if kid is not None:
            return self._keys.get(kid)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def _is_fresh(self) -> bool:
        if self._source is None:
            return True
        return self._given is not None and _seconds() - self._given < self._max_age

    def _ask(self) -> None:
        """Ask the function, unless that was done a short time ago."""
        now = _seconds()
        if self._asked is not None and now - self._asked < self._interval:
            return
        self._asked = now
        late, self._asking = self._asking, None
        if late is not None:
            _tell(Failure(TimeoutError("the function has not given any keys")))
            late.cancel()
            self._wake()
        self._asking = asking = called(self._source)
        asking.addCallback(self._take, asking)
        asking.addErrback(self._failed, asking)
        asking.addCallback(self._done, asking)

    def _take(self, keys: Any, asking: Deferred[Any]) -> None:
        if asking is not self._asking:
            # Other keys were put in their place.
            return
        self._keys = _read_keys(keys, self._algorithms)
        self._given = _seconds()

    def _failed(self, failure: Failure, asking: Deferred[Any]) -> None:
        if asking is self._asking:
            _tell(failure)

    def _done(self, _: None, asking: Deferred[Any]) -> None:
        if asking is self._asking:
            self._asking = None
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            if not each.called:
                each.callback(None)


def _tell(failure: Failure) -> None:
    _log.failure(
        "The keys of tokens are not to be had", failure, pb_event="token_keys_failed"
    )
