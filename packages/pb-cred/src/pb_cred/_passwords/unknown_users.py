"""This module gives unknown users the costs that a store's users have.

It has a census: how many of the users have a password of which cost.

Theory of operation
-------------------
When hashes are made more expensive, each user's changes at the next login with a
password, or never.  If an unknown name cost what a password costs today, it would be
told from those users by its iteration count, or by the time of a refusal.  So it costs
what one of the users costs: a point between 0 and 1, which a secret of the store and
the name give, falls on one of the costs in use, each as wide as its share of the users.

Costs are in order, the cheapest first.  As users go from a cheap one to an expensive
one, the border between the two goes down, and unknown names go over it one by one and
once each, as users do.  What is derived for a name depends on the cost as well, so that
its salt changes when a user's would.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import shake_256
from typing import Any, Final, TypeAlias

from . import argon2
from .hashing import BCRYPT_HASH, Kept, PasswordHashing, Record, scram_text
from .scram_verifier import ScramCost, Verifier, stand_in

__all__ = ["Census", "census_of", "parameters_of"]

_POINT_BYTES: Final = 8
_SALT_OF_ARGON2: Final = b"decoy salt"
_DIGEST_OF_ARGON2: Final = b"decoy hash"
_BCRYPT_PREFIX: Final = 7
#: Rest, after the parameters, of a bcrypt hash and of an apr1 hash of no password.
_NO_BCRYPT: Final = "." * 53
_NO_APR1: Final = "$apr1$........$" + "." * 22
_NO_SHA1: Final = "{SHA}" + "A" * 27 + "="

#: Costs in order, each with how many users have it.
Shares: TypeAlias = tuple[tuple[Any, int], ...]


@dataclass(frozen=True)
class Census:
    """The census of a store: numbers of users by the cost of their hashes.

    Attributes:
        verifiers: The costs of SCRAM verifiers.
        hashes: For each scheme that passwords are verified with, the parameters of the
            hashes; as in :func:`parameters_of`.
    """

    verifiers: Shares = ()
    hashes: Mapping[str, Shares] = field(default_factory=dict)

    def has(self, record: Record) -> bool:
        """Tell whether a record's costs are among those that were counted."""
        verifier = record.verifier
        if verifier is not None and not _is_in(_cost_of(verifier), self.verifiers):
            return False
        parameters = parameters_of(record)
        shares = self.hashes.get(record.scheme, ())
        return parameters is None or _is_in(parameters, shares)

    def verifier(
        self, secret: bytes, username: bytes, hashing: PasswordHashing
    ) -> Verifier:
        """Return the verifier of a user that there is not.

        Args:
            secret: The store's secret.
            username: The name.
            hashing: What a verifier costs where no user has one.
        """
        usual = ScramCost(hashing.scram_iterations)
        point = _point(secret, b"scram", username)
        return stand_in(secret, username, _at(point, self.verifiers, usual))

    def decoys(
        self, secret: bytes, username: bytes, keep: str, hashing: PasswordHashing
    ) -> dict[str, str]:
        """Return a hash for each scheme in use, which no password fits.

        Args:
            secret: The store's secret.
            username: The name that somebody wants to log in with.
            keep: What the store keeps of each password.
            hashing: What a hash costs where no user has one.
        """
        kept = "argon2id" if "argon2id" in keep else "scram"
        found: dict[str, str] = {}
        for scheme in {kept, *self.hashes}:
            shares = self.hashes.get(scheme, ())
            point = _point(secret, scheme.encode(), username)
            parameters = _at(point, shares, None)
            found[scheme] = Kept(_decoy(scheme, parameters, secret, hashing))
        return found


def census_of(counted: Iterable[tuple[Record, int]]) -> Census:
    """Return the census of records.

    Args:
        counted: Each with how many users have one of the same costs.
    """
    verifiers: Counter[ScramCost] = Counter()
    hashes: dict[str, Counter[Any]] = {}
    for record, count in counted:
        if record.verifier is not None:
            verifiers[_cost_of(record.verifier)] += count
        parameters = parameters_of(record)
        if parameters is None:
            continue
        hashes.setdefault(record.scheme, Counter())[parameters] += count
    in_order = {scheme: _in_order(each) for scheme, each in hashes.items()}
    return Census(_in_order(verifiers), in_order)


def parameters_of(record: Record) -> Any:
    """Return the cost of verifying a password against a record, equal for equal costs.

    None is for what is damaged, which cannot be verified.
    """
    if record.scheme == "scram":
        return _cost_of(record.verifier) if record.verifier else None
    hashed = record.password_hash or ""
    if record.scheme == "argon2id":
        with suppress(ValueError):
            found = argon2.parse(hashed)
            return (
                found.memory_cost,
                found.time_cost,
                found.parallelism,
                len(found.salt),
                len(found.digest),
                found.version,
            )
        return None
    if record.scheme != "bcrypt":
        return ""
    return hashed[:_BCRYPT_PREFIX] if BCRYPT_HASH.fullmatch(hashed) else None


def _cost_of(verifier: Verifier) -> ScramCost:
    return ScramCost(verifier.iterations, len(verifier.salt))


def _in_order(counted: Counter[Any]) -> Shares:
    return tuple(sorted(counted.items()))


def _is_in(cost: Any, shares: Shares) -> bool:
    return any(cost == each for each, _ in shares)


def _point(secret: bytes, purpose: bytes, username: bytes) -> float:
    """Return where a name falls, from 0 to 1."""
    digest = hmac.digest(secret, b"cost " + purpose + b"\0" + username, "sha256")
    return int.from_bytes(digest[:_POINT_BYTES], "big") / 256**_POINT_BYTES


def _at(point: float, shares: Shares, otherwise: Any) -> Any:
    """Return the cost that a point falls on."""
    left = point * sum(count for _, count in shares)
    found = otherwise
    for cost, count in shares:
        found = cost
        left -= count
        if left < 0:
            break
    return found


def _decoy(
    scheme: str, parameters: Any, secret: bytes, hashing: PasswordHashing
) -> str:
    """Return a hash of no password with some parameters; None for the usual ones."""
    if scheme == "scram":
        cost = parameters or ScramCost(hashing.scram_iterations)
        return scram_text(stand_in(secret, b"", cost))
    if scheme == "bcrypt":
        return f"{parameters}{_NO_BCRYPT}"
    if scheme == "apr1":
        return _NO_APR1
    if scheme == "sha1":
        return _NO_SHA1
    if parameters is None:
        return hashing.decoy(secret)
    memory, passes, lanes, salt_bytes, digest_bytes, version = parameters
    return argon2.Hash(
        memory_cost=memory,
        time_cost=passes,
        parallelism=lanes,
        salt=_derived(secret, _SALT_OF_ARGON2, salt_bytes),
        digest=_derived(secret, _DIGEST_OF_ARGON2, digest_bytes),
        version=version,
    ).text()


def _derived(secret: bytes, purpose: bytes, size: int) -> bytes:
    return shake_256(hmac.digest(secret, purpose, "sha256")).digest(size)
