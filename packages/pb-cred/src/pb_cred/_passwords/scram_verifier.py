"""This module makes the SCRAM verifier, which a server keeps of a password.

RFC 5802 defines it, RFC 7677 its form with SHA-256.  A server with the verifier can
check a client's proof and give a proof of its own, and cannot log in elsewhere with it.
On its way to here a password is a :class:`Password`, which nothing shows.
"""

from __future__ import annotations

import hmac
import stringprep
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import new as hash_of
from hashlib import pbkdf2_hmac, shake_256
from operator import xor
from unicodedata import ucd_3_2_0

__all__ = [
    "LEAST_ITERATIONS",
    "MOST_ITERATIONS",
    "Keys",
    "Password",
    "ScramCost",
    "Verifier",
    "derive",
    "fits",
    "keys_of",
    "make_verifier",
    "prepared",
    "saslprep",
    "stand_in",
]

#: Smallest number of iterations, by RFC 7677.
LEAST_ITERATIONS = 4096
#: Largest number of iterations that a client of this project computes.
MOST_ITERATIONS = 1_000_000

# Prohibited characters: section 2.3 of RFC 4013, and those unassigned in Unicode 3.2,
# which are prohibited in stored strings.
_PROHIBITED = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


@dataclass(frozen=True)
class Verifier:
    """The verifier that a server keeps of one user's password for SCRAM-SHA-256.

    Its repr leaves the keys out.

    Attributes:
        salt: What the password was hashed with; told to whoever asks to log in.
        iterations: How often it was hashed; told likewise.
        stored_key: RFC 5802's StoredKey, to check a client's proof with.
        server_key: RFC 5802's ServerKey, to prove with that this is the server.
    """

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, order=True)
class ScramCost:
    """The public parameters of a verifier: all but the salt itself.

    Attributes:
        iterations: How often the password was hashed.
        salt_bytes: How long the salt is.
    """

    iterations: int
    salt_bytes: int = 16


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys derived from a password, hidden from the repr."""

    client_key: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


class Password:
    """A password on its way: neither its repr nor a traceback shows it.

    Args:
        password: The password, as text or bytes.
    """

    __slots__ = ("raw",)

    def __init__(self, password: bytes | str) -> None:
        if isinstance(password, str):
            password = password.encode("utf-8", "surrogatepass")
        self.raw: bytes = password

    def __repr__(self) -> str:
        return "<a password>"


def prepared(password: bytes | str | Password) -> bytes:
    """Return a password in the one form in which it is hashed.

    As in other implementations, a password that SASLprep has no form for is taken as it
    is: it may have been chosen for a program without SASLprep.
    """
    if isinstance(password, Password):
        password = password.raw
    with suppress(ValueError):
        return saslprep(password)
    if isinstance(password, str):
        return password.encode(errors="surrogatepass")
    return password


def derive(
    password: bytes | str | Password,
    salt: bytes,
    iterations: int,
    digest: str = "sha256",
) -> Keys:
    """Derive the keys of a password, which takes a while.

    Args:
        password: The password, as text or in UTF-8.
        salt: The user's salt.
        iterations: Number of iterations of the hash.
        digest: The name of the hash.
    """
    return keys_of(prepared(password), salt, iterations, digest)


def fits(proof: bytes, stored_key: bytes, said: bytes, digest: str = "sha256") -> bool:
    """Return True if a client's proof proves the knowledge of the password.

    Args:
        proof: The proof: the client key, masked by the signature of the messages.
        stored_key: The stored key of the user's verifier.
        said: The messages, RFC 5802's AuthMessage.
        digest: The name of the hash.
    """
    mask = hmac.digest(stored_key, said, digest)
    if len(proof) != len(mask):
        return False
    client_key = bytes(map(xor, proof, mask))
    return hmac.compare_digest(hash_of(digest, client_key).digest(), stored_key)


def keys_of(
    password: bytes, salt: bytes, iterations: int, digest: str = "sha256"
) -> Keys:
    """Derive the keys of a password, as section 3 of RFC 5802 says.

    Args:
        password: The password, in the form in which it is hashed.
        salt: The user's salt.
        iterations: How often to hash.
        digest: The hash.
    """
    salted = pbkdf2_hmac(digest, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", digest)
    stored_key = hash_of(digest, client_key).digest()
    return Keys(client_key, stored_key, hmac.digest(salted, b"Server Key", digest))


def make_verifier(password: bytes | str, salt: bytes, iterations: int) -> Verifier:
    """Return the verifier of a password, which takes a while to compute.

    Args:
        password: The password, as text or in UTF-8.
        salt: Bytes that are drawn for this verifier.
        iterations: How often to hash, from 4,096 to 1,000,000.

    Returns:
        The verifier.

    Raises:
        ValueError: The password is empty or contains what SASLprep prohibits, or is
            not UTF-8, or there are too few or too many iterations.  The message has
            nothing of the password in it.
    """
    if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
        raise ValueError(
            f"SCRAM takes {LEAST_ITERATIONS} to {MOST_ITERATIONS} iterations, "
            f"not {iterations}"
        )
    keys = keys_of(saslprep(password), salt, iterations)
    return Verifier(salt, iterations, keys.stored_key, keys.server_key)


def stand_in(secret: bytes, username: bytes, cost: ScramCost) -> Verifier:
    """Return the verifier of a user that there is not, the same each time.

    No password fits it.  With another cost it is another one, as a user's verifier is.

    Args:
        secret: What nobody but this server knows.
        username: The name that somebody wants to log in with.
        cost: What to claim.
    """
    costs = b"%d %d" % (cost.iterations, cost.salt_bytes)

    def derived(purpose: bytes) -> bytes:
        return hmac.digest(secret, b"\0".join((purpose, costs, username)), "sha256")

    salt = shake_256(derived(b"salt")).digest(cost.salt_bytes)
    return Verifier(
        salt, cost.iterations, derived(b"stored key"), derived(b"server key")
    )


def saslprep(password: bytes | str) -> bytes:
    """Return a password in the one form in which it is hashed.

    This is RFC 4013's profile, for a string that is stored.

    Args:
        password: The password, as text or in UTF-8.

    Returns:
        It in UTF-8, normalized.

    Raises:
        ValueError: It is empty, contains what the profile prohibits, or is not UTF-8.
            The message has nothing of it.
    """
    text = _decoded(password) if isinstance(password, bytes) else password
    if text and text.isascii() and text.isprintable():
        return text.encode()
    kept = (c for c in text if not stringprep.in_table_b1(c))
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in kept)
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared:
        raise ValueError("a password is not empty")
    if any(table(c) for c in prepared for table in _PROHIBITED):
        raise ValueError("the password has a character that SASLprep prohibits")
    _check_directions(prepared)
    return prepared.encode()


def _decoded(password: bytes) -> str:
    try:
        return password.decode()
    except UnicodeDecodeError:
        pass
    # Outside of the handler: that exception has the password in it.
    raise ValueError("the password is not UTF-8")


def _check_directions(text: str) -> None:
    """Refuse text with mixed directions, by RFC 3454, section 6."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if not ends or any(map(stringprep.in_table_d2, text)):
        raise ValueError("the password mixes directions of writing")
