"""Stores of passwords, each of them a checker for a ``twisted.cred`` Portal.

:class:`PasswordFile` is a file, :class:`PasswordDatabase` an SQL database, and
:class:`MemoryPasswords` is for tests::

    portal = Portal(pb.Realm(User), [stores.PasswordFile("/etc/accounts.pw")])

They keep Argon2id hashes, SCRAM verifiers or both, and hash in threads, on Twisted's
reactor as on asyncio's loop.  ``pb-passwd`` maintains a file or a database.  Argon2id
takes ``pip install 'pb-cred[passwords]'``, and a database ``'pb-cred[sql]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._passwords.file_store import PasswordFile
from ._passwords.hashing import Keep, PasswordHashing
from ._passwords.memory_store import MemoryPasswords
from ._passwords.scram_verifier import Verifier
from ._passwords.store import PasswordStore
from .errors import PasswordStoreError, UnknownUser, UnsuitablePassword

if TYPE_CHECKING:
    from ._passwords.sql_store import PasswordDatabase

__all__ = [
    "Keep",
    "MemoryPasswords",
    "PasswordDatabase",
    "PasswordFile",
    "PasswordHashing",
    "PasswordStore",
    "PasswordStoreError",
    "UnknownUser",
    "UnsuitablePassword",
    "Verifier",
]


def __getattr__(name: str) -> Any:
    """Import SQLAlchemy when it is wanted."""
    if name != "PasswordDatabase":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from ._passwords.sql_store import PasswordDatabase
    except ModuleNotFoundError as error:
        raise PasswordStoreError(
            f"{error.name} is not installed: pip install 'pb-cred[sql]'"
        ) from error
    return PasswordDatabase
