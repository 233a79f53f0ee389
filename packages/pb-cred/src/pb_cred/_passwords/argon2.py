"""This module computes Argon2id in one thread, and reads and writes its hashes.

Theory of operation
-------------------
What a hash is depends on the number of its lanes, and not on how many threads compute
them.  The usual functions start a thread for each lane, at the priority of everybody
else: a server whose logins come one after the other then has more threads that want to
run than there are processors, and the event loop waits its turn behind them.  With one
thread for each hash, and half as many of those as processors, there is a processor for
the event loop.  One hash takes longer; as many are done for each second of processor
time.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from .scram_verifier import Password, prepared

__all__ = ["Argon2Error", "Hash", "compute", "parse"]

_PATTERN: Final = re.compile(
    r"\$argon2id(?:\$v=(?P<version>16|19))?"
    r"\$m=(?P<m>[1-9]\d{0,9}),t=(?P<t>[1-9]\d{0,9}),p=(?P<p>[1-9]\d{0,9})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<digest>[A-Za-z0-9+/]+)",
    re.ASCII,
)
#: The version of hashes that were made before they said so, and today's.
_FIRST_VERSION: Final = 16
_VERSION: Final = 19
_MOST: Final = 2**32 - 1
_BYTES: Final = "uint8_t[]"


class Argon2Error(Exception):
    """A hash could not be computed; the message quotes neither password nor hash."""


@dataclass(frozen=True, slots=True)
class Hash:
    """A hash, with its parameters.

    Args:
        memory_cost: The memory, in KiB.
        time_cost: The passes.
        parallelism: The lanes.
        salt: The salt.
        digest: What came of it.
        version: Argon2's.
    """

    memory_cost: int
    time_cost: int
    parallelism: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    version: int = _VERSION

    def text(self) -> str:
        """Return it in the usual form."""
        return (
            f"$argon2id$v={self.version}$m={self.memory_cost},t={self.time_cost},"
            f"p={self.parallelism}${_unpadded(self.salt)}${_unpadded(self.digest)}"
        )


def parse(text: str) -> Hash:
    """Return the parts of an encoded hash.

    Args:
        text: A hash in the usual form.

    Raises:
        ValueError: It is none; the message has nothing of it.
    """
    found = _parsed(text)
    if found is None:
        raise ValueError("this is no hash of Argon2id")
    return found


def _parsed(text: str) -> Hash | None:
    found = _PATTERN.fullmatch(text)
    if found is None:
        return None
    memory_cost, time_cost, parallelism = costs = [int(found[n]) for n in "mtp"]
    salt, digest = _padded(found["salt"]), _padded(found["digest"])
    if max(costs) > _MOST or salt is None or digest is None:
        return None
    version = int(found["version"] or _FIRST_VERSION)
    return Hash(memory_cost, time_cost, parallelism, salt, digest, version)


def compute(password: Password, like: Hash) -> bytes:
    """Hash a password, which takes a while, without the interpreter's lock.

    Args:
        password: The password.
        like: What to hash it with; its digest counts for its length only.

    Returns:
        The digest.

    Raises:
        Argon2Error: There is not the memory, or it cannot be done so.
        ModuleNotFoundError: argon2-cffi is not installed.
    """
    argon2: Any = import_module("argon2.low_level")
    ffi = argon2.ffi
    digest = ffi.new(_BYTES, len(like.digest))
    # They live as long as these names do.
    shown, salt = ffi.new(_BYTES, prepared(password)), ffi.new(_BYTES, like.salt)
    context = ffi.new(
        "argon2_context *",
        {
            "out": digest,
            "outlen": len(like.digest),
            "pwd": shown,
            # A null is behind it.
            "pwdlen": len(shown) - 1,
            "salt": salt,
            "saltlen": len(like.salt),
            "t_cost": like.time_cost,
            "m_cost": like.memory_cost,
            "lanes": like.parallelism,
            "threads": 1,
            "version": like.version,
        },
    )
    error = argon2.core(context, argon2.Type.ID.value)
    if error:
        raise Argon2Error(argon2.error_to_str(error))
    computed: bytes = ffi.unpack(ffi.cast("char *", digest), len(like.digest))
    return computed


def _padded(text: str) -> bytes | None:
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None


def _unpadded(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")
