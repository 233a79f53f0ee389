"""This module takes JSON Web Tokens apart (RFC 7515, 7519), as RFC 8725 has it.

Theory of operation
-------------------
The signature is PyJWT's to verify.  All that comes before it and after is here, since
it is about what a peer sends: nothing of that is looked at before it is known to be
small, flat and of the right type.  PyJWT's own checks of claims would take a number in
text for a time, and raise whatever Python does where a claim is of another type.

All that is wrong raises LoginRefused, with a reason that has nothing of the token.
What raises has no part of the token in a variable, so that no traceback shows any.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Final

from pb_cred._jwt.secret_token import Secret
from pb_cred.errors import LoginRefused

__all__ = ["SignedToken", "as_type", "is_for", "time_in"]

_FORM: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")

#: The longest header, in bytes of JSON.
_MOST_HEADER: Final = 2048
#: Largest depth of lists and objects in JSON.
_MOST_DEPTH: Final = 8
#: Longest number in JSON, in characters.
_MOST_DIGITS: Final = 32
#: Brackets that begin and end a level; strings as well, to skip the brackets in them.
_LEVELS: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_STEPS: Final = {"[": 1, "{": 1, "]": -1, "}": -1}

#: Header fields by which a token would bring its own key, or change its meaning.
_REFUSED: Final = frozenset(["b64", "crit", "enc", "jku", "jwk", "x5c", "x5u", "zip"])

#: The last that a datetime can be.
_LAST: Final = datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp()


def as_type(kind: str) -> str:
    """Return a token's type as it is compared (RFC 7515, section 4.1.9)."""
    return kind.lower().removeprefix("application/")


class SignedToken:
    """A token whose header was read, and whose signature was not looked at.

    Args:
        secret: The token.

    Attributes:
        algorithm: What it says that it is signed with.
        kid: Which key it says that it is signed with; None if it does not say.
        kind: Of which type it says that it is, or None.

    Raises:
        LoginRefused: It is none, or wants what is refused.
    """

    __slots__ = ("_secret", "algorithm", "kid", "kind")

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        header = _object(self._part(1), _MOST_HEADER)
        if header is None:
            raise LoginRefused("the token has no header that can be read")
        if not _REFUSED.isdisjoint(header):
            raise LoginRefused("the token's header asks for what is refused")
        algorithm = header.get("alg")
        kid, kind = header.get("kid", ""), header.get("typ", "")
        if not all(isinstance(each, str) for each in (algorithm, kid, kind)):
            raise LoginRefused("the token's header has values of another type")
        self.algorithm: Any = algorithm
        self.kid: str | None = kid if "kid" in header else None
        self.kind: str | None = as_type(kind) if "typ" in header else None

    def claims(self, library: Any, key: Any) -> dict[str, Any]:
        """Return the claims of the token, once its signature is verified.

        Args:
            library: What verifies: a ``jwt.PyJWS`` for the algorithms that are allowed.
            key: The key, which is one for the token's algorithm.

        Raises:
            LoginRefused: The signature is wrong, or what is signed is none of a token.
        """
        from jwt import PyJWTError

        payload: Secret | None = None
        with suppress(PyJWTError, ValueError, TypeError):
            payload = Secret(library.decode(self._secret.raw, key, [self.algorithm]))
        if payload is None:
            raise LoginRefused("the token's signature is wrong")
        claims = _object(payload, len(payload.raw))
        if claims is None:
            raise LoginRefused("what is signed is no claims")
        return claims

    def _part(self, number: int) -> Secret:
        """Return a part of it, decoded; empty if it has none such."""
        found = _FORM.fullmatch(self._secret.raw)
        return Secret(b"" if found is None else _decoded(found[number]))


def _decoded(part: bytes) -> bytes:
    # That there is one way to write it, PyJWT sees to.
    try:
        return urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except Base64Error:
        return b""


# JSON, as strict as can be


def _object(text: Secret, most: int) -> dict[str, Any] | None:
    """Return an object of JSON; None if there is none, or one that is too much."""
    if len(text.raw) > most:
        return None
    try:
        decoded = text.raw.decode()
        if _is_deep(decoded):
            return None
        found = _DECODER.decode(decoded)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _is_deep(text: str) -> bool:
    depth = 0
    for found in _LEVELS.finditer(text):
        depth += _STEPS.get(found[0], 0)
        if depth > _MOST_DEPTH:
            return True
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Another reader may take the first of two equal names, and so another meaning.
        raise ValueError("a name is there twice")
    return found


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("a number has too many digits")
    return int(text)


def _fraction(text: str) -> float:
    if len(text) > _MOST_DIGITS:
        raise ValueError("a number has too many digits")
    return float(text)


def _constant(text: str) -> Any:
    raise ValueError("that is not in JSON, and no number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
)


# Claims


def time_in(claims: dict[str, Any], name: str) -> float | None:
    """Return a time in the claims, in seconds since 1970; None if it is not there.

    Raises:
        LoginRefused: It is no time, or none that there is a date for.
    """
    if name not in claims:
        return None
    value = claims[name]
    # A bool is an int in Python, and a NaN fails both comparisons.
    if type(value) in (int, float) and 0 <= value <= _LAST:
        return float(value)
    raise LoginRefused(f"the token's {name} is no time")


def is_for(audience: Any, ours: frozenset[str]) -> bool:
    """Tell whether an audience, one or a list, has one of ours in it."""
    if isinstance(audience, str):
        return audience in ours
    if not isinstance(audience, list):
        return False
    return all(isinstance(each, str) for each in audience) and not ours.isdisjoint(
        audience
    )
