"""This module is the key cache: the keys that a process has derived from passwords.

A key derivation is meant to be slow, and a client that connects again, or to several
servers of one store, would repeat it with the same salt.  RFC 5802 lets a client keep
the keys in its place.

A cached key is as good as the password at the one store whose salt it was made with, so
it stays in the memory of the process, as the credentials of the program do, and the
password itself is not kept: entries are found by a keyed hash of it.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from secrets import token_bytes
from threading import Lock
from typing import Final

from pb_cred._passwords.scram_verifier import Keys, Password

__all__ = ["CLIENT_KEYS", "KeyCache"]

#: Number of passwords and salts whose keys are kept: a server that names a new salt at
#: each login makes the cache useless, and not large.
MOST_KEYS: Final = 64

_Entry = tuple[bytes, bytes, int, str]


class KeyCache:
    """The keys used last, by password, salt, iterations and hash.

    Args:
        most: Largest number of entries; the entry that was used longest ago goes first.
    """

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._secret = token_bytes(32)
        self._keys: OrderedDict[_Entry, Keys] = OrderedDict()
        # Twisted's reactor and an asyncio loop may run in threads of one process.
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._keys)

    def find(
        self, password: Password, salt: bytes, iterations: int, digest: str
    ) -> Keys | None:
        """Return the keys derived before; None if there are none."""
        entry = self._entry(password, salt, iterations, digest)
        with self._lock:
            keys = self._keys.get(entry)
            if keys is not None:
                self._keys.move_to_end(entry)
        return keys

    def keep(
        self,
        password: Password,
        salt: bytes,
        iterations: int,
        digest: str,
        keys: Keys,
    ) -> None:
        """Keep derived keys."""
        entry = self._entry(password, salt, iterations, digest)
        with self._lock:
            self._keys[entry] = keys
            self._keys.move_to_end(entry)
            if len(self._keys) > self._most:
                self._keys.popitem(last=False)

    def clear(self) -> None:
        """Forget all keys."""
        with self._lock:
            self._keys.clear()

    def _entry(
        self, password: Password, salt: bytes, iterations: int, digest: str
    ) -> _Entry:
        hidden = hmac.digest(self._secret, password.raw, "sha256")
        return hidden, salt, iterations, digest


#: The keys of all clients of the process.
CLIENT_KEYS: Final = KeyCache()
