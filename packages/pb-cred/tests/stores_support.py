"""This module, `stores_support`, has helpers for the tests of password stores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pb_cred._passwords import hashing as _hashing
from pb_cred._passwords.memory_store import CHEAP
from pb_cred.stores import (
    Keep,
    MemoryPasswords,
    PasswordDatabase,
    PasswordFile,
    PasswordHashing,
    PasswordStore,
)

from .planted import see

Make = Callable[..., PasswordStore]


class AtOnce(Executor):
    """An executor that runs each function at once, in the caller's thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def maker(kind: str, folder: Path) -> Make:
    """Return a function that opens the same store anew each time."""

    def make(
        keep: Keep | None = None, hashing: PasswordHashing = CHEAP
    ) -> PasswordStore:
        if kind == "memory":
            return MemoryPasswords(
                keep=keep or "argon2id", hashing=hashing, executor=AtOnce()
            )
        options: Any = {"create": True, "hashing": hashing, "executor": AtOnce()}
        if kind == "file":
            return PasswordFile(folder / "passwords", keep=keep, **options)
        return PasswordDatabase(f"sqlite:///{folder}/p.db", keep=keep, **options)

    return make


def result_of(deferred: Deferred[Any]) -> Any:
    """Return the result of a Deferred, which may be a Failure."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    if isinstance(results[0], Failure):
        see(results[0])
    return results[0]


def log_in(store: PasswordStore, name: bytes, password: Any) -> Any:
    """Return the avatar id, or the Failure."""
    return result_of(store.requestAvatarId(UsernamePassword(name, password)))


def is_refused(answer: Any) -> bool:
    return isinstance(answer, Failure) and answer.type is UnauthorizedLogin


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count verifications from now on: the schemes of each."""
    made: list[str] = []

    def counting(scheme: str, verify: Any) -> Any:
        def verified(kept: str, password: Any) -> bool:
            made.append(scheme)
            return bool(verify(kept, password))

        return verified

    for scheme, verify in list(_hashing._VERIFY.items()):
        monkeypatch.setitem(_hashing._VERIFY, scheme, counting(scheme, verify))
    return made


def rewrite(path: Path, text: str) -> None:
    """Put text in a file's place, as an editor does."""
    new = path.with_name("new")
    new.write_text(text)
    new.chmod(0o600)
    os.replace(new, path)
