"""This module hashes passwords, and tells whether one is the one that was hashed.

What takes a while here is done in C without the interpreter's lock, so that a thread
that does it leaves the event loop alone.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Final, Literal

from pb_cred.errors import PasswordStoreError, UnsuitablePassword

from . import argon2
from .scram_verifier import (
    LEAST_ITERATIONS,
    MOST_ITERATIONS,
    Password,
    Verifier,
    make_verifier,
)

__all__ = ["Keep", "Password", "PasswordHashing", "Record"]

#: Kinds of hashes that a store keeps of each password.
Keep = Literal["argon2id", "scram", "argon2id+scram"]
KEEPS: Final[dict[str, Keep]] = {
    "argon2id": "argon2id",
    "scram": "scram",
    "argon2id+scram": "argon2id+scram",
}

#: Longer ones are refused: no person types them.
MOST_PASSWORD_BYTES: Final = 1024
#: Longest part of a password that bcrypt uses, in bytes.
_BCRYPT_BYTES: Final = 72
BCRYPT_HASH: Final = re.compile(
    r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}", re.ASCII
)
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_SHA1_BYTES: Final = 20

_PREFIXES: Final = {
    "$argon2id$": "argon2id",
    "$2a$": "bcrypt",
    "$2b$": "bcrypt",
    "$2y$": "bcrypt",
    "$apr1$": "apr1",
    "{SHA}": "sha1",
}
#: Schemes of verification; all but ``argon2id`` and ``scram`` come from imported files.
SCHEMES: Final = ("apr1", "argon2id", "bcrypt", "scram", "sha1")

_REFUSED: Final = {
    "$1$": "MD5-crypt",
    "$2x$": "bcrypt of a broken implementation ($2x$)",
    "$5$": "SHA-256-crypt",
    "$6$": "SHA-512-crypt",
    "$argon2": "Argon2 of another kind than id",
    "$": "a hash of an unknown kind",
    "{": "a hash of an unknown kind",
}


class Kept(str):
    """A hash of a password, hidden from reprs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a hash>"


@dataclass(frozen=True)
class PasswordHashing:
    """The cost of trying a password against the hashes of a store.

    The defaults are the second recommendation of RFC 9106 for Argon2id, and what is
    advised for PBKDF2 with SHA-256.  Where a store has a hash that cost less, it is
    made anew at the user's next login with a password.

    Attributes:
        time_cost: Argon2's passes.
        memory_cost: Argon2's memory, in KiB.
        parallelism: Argon2's lanes.
        scram_iterations: How often SCRAM hashes, from 4,096 to 1,000,000.  The client
            pays for it.

    Raises:
        ValueError: Argon2 or SCRAM cannot be done so.
    """

    time_cost: int = 3
    memory_cost: int = 64 * 1024
    parallelism: int = 4
    scram_iterations: int = 600_000

    def __post_init__(self) -> None:
        if self.time_cost < 1 or self.parallelism < 1:
            raise ValueError("Argon2 takes at least one pass and one lane")
        if self.memory_cost < 8 * self.parallelism:
            raise ValueError("Argon2 takes at least 8 KiB for each lane")
        if not LEAST_ITERATIONS <= self.scram_iterations <= MOST_ITERATIONS:
            raise ValueError(
                f"SCRAM takes {LEAST_ITERATIONS} to {MOST_ITERATIONS} iterations"
            )

    def record(self, name: str, password: Password, keep: Keep) -> Record:
        """Hash a password that is set, which takes a while.

        Args:
            name: Whose it is.
            password: It.
            keep: What to keep of it.

        Raises:
            UnsuitablePassword: It is empty, too long, or not for SCRAM, which is to be
                kept.
        """
        if not password.raw:
            raise UnsuitablePassword("a password is not empty")
        if len(password.raw) > MOST_PASSWORD_BYTES:
            raise UnsuitablePassword(
                f"a password has at most {MOST_PASSWORD_BYTES} bytes"
            )
        verifier = self.verifier(password) if "scram" in keep else None
        hashed = self._hash(password) if "argon2id" in keep else None
        return Record(name, hashed, verifier)

    def verifier(self, password: Password) -> Verifier:
        """Return a new SCRAM verifier of a password.

        Raises:
            UnsuitablePassword: It is not for SCRAM.
        """
        salt = os.urandom(_SALT_BYTES)
        try:
            return make_verifier(password.raw, salt, self.scram_iterations)
        except ValueError as error:
            reason = str(error)
        raise UnsuitablePassword(f"SCRAM does not take it: {reason}")

    def _hash(self, password: Password) -> str:
        required("argon2", "passwords")
        like = self._like(os.urandom(_SALT_BYTES))
        try:
            digest = argon2.compute(password, like)
            return replace(like, digest=digest).text()
        except argon2.Argon2Error as error:
            reason = str(error)
        # Raised outside of the handler, whose frames hold the secret.
        raise PasswordStoreError(f"Argon2 failed: {reason}")

    def _like(self, salt: bytes, digest: bytes = bytes(_HASH_BYTES)) -> argon2.Hash:
        """Return a hash of today's cost."""
        return argon2.Hash(
            self.memory_cost, self.time_cost, self.parallelism, salt, digest
        )

    def decoy(self, secret: bytes) -> str:
        """Return an Argon2 hash of today's cost that no password fits."""
        salt = hmac.digest(secret, b"decoy salt", "sha256")[:_SALT_BYTES]
        digest = hmac.digest(secret, b"decoy hash", "sha256")
        return self._like(salt, digest).text()

    def improved(self, record: Record, password: Password, keep: Keep) -> Record | None:
        """Return a better record for a user who has just logged in; None for no change.

        Args:
            record: What is kept.
            password: What the user has logged in with.
            keep: What is to be kept.
        """
        hashed: str | None = None
        verifier: Verifier | None = None
        if "argon2id" in keep:
            rises = record.password_hash is None or self._rises(record.password_hash)
            hashed = self._hash(password) if rises else record.password_hash
        if "scram" in keep:
            verifier = record.verifier
            if verifier is None or verifier.iterations < self.scram_iterations:
                try:
                    verifier = self.verifier(password)
                except UnsuitablePassword:
                    if hashed is None:
                        return None
        better = Record(record.name, hashed, verifier)
        return None if better == record else better

    def _rises(self, hashed: str) -> bool:
        """Return True if a hash is cheaper than a new one would be."""
        if scheme_of(hashed) != "argon2id":
            return True
        old = argon2.parse(hashed)
        was = (old.time_cost, old.memory_cost, len(old.digest), len(old.salt))
        now = (self.time_cost, self.memory_cost, _HASH_BYTES, _SALT_BYTES)
        return any(less < more for less, more in zip(was, now, strict=True))


@dataclass(frozen=True)
class Record:
    """The record of one user in a store.

    Attributes:
        name: The user's name.
        password_hash: A hash of the password, or None.
        verifier: The password's SCRAM verifier, or None.
    """

    name: str
    password_hash: str | None = field(default=None, repr=False)
    verifier: Verifier | None = field(default=None, repr=False)

    @property
    def scheme(self) -> str:
        """Scheme by which a password is verified."""
        return "scram" if self.password_hash is None else scheme_of(self.password_hash)

    @property
    def kept(self) -> str:
        """Hash that a password is verified against, as text."""
        if self.password_hash is not None:
            return Kept(self.password_hash)
        return Kept(scram_text(self.verifier))


def is_password(
    record: Record | None, decoys: Mapping[str, str], password: Password
) -> bool:
    """Tell whether a password is a user's, which takes as long for any user.

    Args:
        record: What is kept of the user, or None if there is no such user.
        decoys: For each scheme that the store's users are verified with, something that
            is kept so, of whomever.
        password: What somebody has shown.

    Raises:
        PasswordStoreError: What is kept of somebody is damaged, or cannot be verified.
    """
    tried = Password(password.raw[:MOST_PASSWORD_BYTES])
    found = False
    kept = dict(decoys)
    if record is not None:
        kept[record.scheme] = record.kept
    for scheme in sorted(kept):
        matches = _VERIFY[scheme](kept[scheme], tried)
        found |= matches and record is not None and scheme == record.scheme
    return found and len(password.raw) <= MOST_PASSWORD_BYTES


def scheme_of(hashed: str) -> str:
    """Return the scheme of a hash.

    Raises:
        PasswordStoreError: Nothing here can verify it; the message says of what kind
            it is, and has nothing of it.
    """
    for prefix, scheme in _PREFIXES.items():
        if hashed.startswith(prefix):
            return scheme
    for prefix, name in _REFUSED.items():
        if hashed.startswith(prefix):
            raise PasswordStoreError(f"{name} cannot be verified")
    kind = "DES-crypt, or a password in plain text," if hashed else "an empty password"
    raise PasswordStoreError(f"{kind} is not taken")


def require(scheme: str) -> None:
    """Import the library that verifies a scheme.

    Raises:
        PasswordStoreError: It is not installed.
    """
    for module, extra in _NEEDS.get(scheme, ()):
        required(module, extra)


def required(module: str, extra: str) -> Any:
    """Return a module of an extra.

    Raises:
        PasswordStoreError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise PasswordStoreError(
            f"{error.name} is not installed: pip install 'pb-cred[{extra}]'"
        ) from error


def _verify_argon2(hashed: str, password: Password) -> bool:
    required("argon2", "passwords")
    try:
        kept = argon2.parse(hashed)
        digest = argon2.compute(password, kept)
        return hmac.compare_digest(digest, kept.digest)
    except (ValueError, argon2.Argon2Error):
        pass
    # Raised outside of the handlers, here and below, whose frames hold the secret.
    raise PasswordStoreError("Argon2 failed, or a hash is damaged")


def _verify_bcrypt(hashed: str, password: Password) -> bool:
    bcrypt = required("bcrypt", "htpasswd")
    # Some versions of the library panic at a malformed hash.
    if BCRYPT_HASH.fullmatch(hashed) is None:
        raise PasswordStoreError("a bcrypt hash is damaged, or costs more than 2**16")
    if b"\0" in password.raw:
        return False
    matches: bool = bcrypt.checkpw(password.raw[:_BCRYPT_BYTES], hashed.encode())
    return matches


def _verify_apr1(hashed: str, password: Password) -> bool:
    apr1 = required("passlib.hash", "htpasswd").apr_md5_crypt
    if b"\0" in password.raw:
        return False
    try:
        matches: bool = apr1.verify(password.raw, hashed)
        return matches
    except (ValueError, TypeError):
        pass
    raise PasswordStoreError("an apr1 hash is damaged")


def _verify_sha1(hashed: str, password: Password) -> bool:
    try:
        kept = b64decode(hashed.removeprefix("{SHA}"), validate=True)
    except ValueError:
        kept = b""
    if len(kept) != _SHA1_BYTES:
        raise PasswordStoreError("a SHA-1 hash is damaged")
    digest = hashlib.sha1(password.raw, usedforsecurity=False).digest()
    return hmac.compare_digest(digest, kept)


def _verify_scram(text: str, password: Password) -> bool:
    kept = parse_scram(text)
    try:
        made = make_verifier(password.raw, kept.salt, kept.iterations)
    except ValueError:
        # No user has this password; it takes as long to say so.
        made = make_verifier("no password", kept.salt, kept.iterations)
        return False
    return hmac.compare_digest(made.stored_key, kept.stored_key)


_VERIFY: Final[dict[str, Callable[[str, Password], bool]]] = {
    "apr1": _verify_apr1,
    "argon2id": _verify_argon2,
    "bcrypt": _verify_bcrypt,
    "scram": _verify_scram,
    "sha1": _verify_sha1,
}

_NEEDS: Final = {
    "apr1": [("passlib.hash", "htpasswd")],
    "argon2id": [("argon2", "passwords")],
    "bcrypt": [("bcrypt", "htpasswd")],
}


def scram_text(verifier: Verifier | None) -> str:
    """Return a verifier as text, in the form that PostgreSQL has."""
    if verifier is None:
        return ""
    salt, stored, server = (
        b64encode(part).decode()
        for part in (verifier.salt, verifier.stored_key, verifier.server_key)
    )
    return f"SCRAM-SHA-256${verifier.iterations}:{salt}${stored}:{server}"


def parse_scram(text: str) -> Verifier:
    """Return the verifier that was written so.

    Raises:
        PasswordStoreError: None was; the message has nothing of it.
    """
    try:
        mechanism, costs, keys = text.split("$")
        iterations, salt = costs.split(":")
        stored, server = (b64decode(key, validate=True) for key in keys.split(":"))
        verifier = Verifier(
            b64decode(salt, validate=True), int(iterations), stored, server
        )
        if mechanism == "SCRAM-SHA-256" and len(stored) == len(server) == 32:
            return verifier
    except (Base64Error, ValueError):
        pass
    raise PasswordStoreError("a SCRAM verifier is damaged")
