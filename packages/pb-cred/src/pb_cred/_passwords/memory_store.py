"""This module keeps passwords in memory, for tests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Executor
from threading import Lock

from pb_broker.extending import SafeLogger

from .hashing import Keep, PasswordHashing, Record
from .store import InsteadOf, PasswordStore
from .unknown_users import Census, census_of

__all__ = ["CHEAP", "MemoryPasswords"]

_log = SafeLogger(namespace="pb_cred")

#: Hashing for tests alone: fast, and so cheap to attack.
CHEAP = PasswordHashing(
    time_cost=1, memory_cost=8, parallelism=1, scram_iterations=4096
)


class MemoryPasswords(PasswordStore):
    """Users in memory, for tests: they are gone with the process, and hashed weakly.

    It says so in the log.

    Args:
        users: The names and passwords of some to begin with.
        keep: What to keep; as for :class:`PasswordFile`.
        hashing: How expensive to make it; None for as cheap as can be.
        executor: Has the threads to hash in, in place of the store's own.

    Raises:
        PasswordStoreError: What it takes is not installed.
    """

    def __init__(
        self,
        users: Mapping[str, str | bytes] | None = None,
        *,
        keep: Keep = "argon2id",
        hashing: PasswordHashing | None = None,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(keep, hashing or CHEAP, executor)
        self._records: dict[str, Record] = {}
        self._secret = os.urandom(32)
        self._lock = Lock()
        _log.warn(
            "MemoryPasswords is for tests: its users are gone when the process ends",
            pb_event="memory_passwords",
        )
        for name, password in (users or {}).items():
            self.set_password(name, password)

    def _find(self, name: str) -> tuple[Record | None, Census]:
        with self._lock:
            census = census_of((record, 1) for record in self._records.values())
            return self._records.get(name), census

    def _put(self, record: Record, instead_of: InsteadOf = None) -> bool:
        with self._lock:
            if instead_of not in (None, (self._records.get(record.name),)):
                return False
            self._records[record.name] = record
            return True

    def _delete(self, name: str) -> bool:
        with self._lock:
            return self._records.pop(name, None) is not None

    def _names(self) -> list[str]:
        return list(self._records)

    def _server_secret(self) -> bytes:
        return self._secret
