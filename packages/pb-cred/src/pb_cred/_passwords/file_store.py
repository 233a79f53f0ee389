"""This module keeps passwords in a file.

Theory of operation
-------------------
The file is never changed in place.  A writer locks it, reads it, writes another file
beside it, and renames that over it; who waits for the lock looks then whether what it
has locked is still the file.  A reader takes no lock, and finds one or the other.
"""

from __future__ import annotations

import os
import stat
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkstemp
from threading import Lock
from typing import Any

from pb_cred.errors import PasswordStoreError

from .hashing import (
    KEEPS,
    Keep,
    PasswordHashing,
    Record,
    parse_scram,
    scheme_of,
    scram_text,
)
from .store import InsteadOf, PasswordStore, checked_name
from .unknown_users import Census, census_of

fcntl: Any
try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None

__all__ = ["PasswordFile"]

_MAGIC = "pb-passwords"
_VERSION = "1"
_SECRET_BYTES = 32


@dataclass(frozen=True)
class _Content:
    """The content of the file.

    Attributes:
        keep: What is kept of each password.
        secret: What stand-ins are derived from.
        lines: What comes after the first line: users, and comments as they are.
        records: The users by name.
        census: What their passwords cost.
    """

    keep: Keep
    secret: bytes = field(repr=False)
    lines: tuple[str | Record, ...] = field(default=(), repr=False)
    records: dict[str, Record] = field(init=False, repr=False)
    census: Census = field(init=False, repr=False)

    def __post_init__(self) -> None:
        users = [line for line in self.lines if isinstance(line, Record)]
        object.__setattr__(self, "records", {user.name: user for user in users})
        object.__setattr__(self, "census", census_of((user, 1) for user in users))


class PasswordFile(PasswordStore):
    """Users in a file, which ``pb-passwd`` maintains.

    It is read again when it has changed.

    Args:
        path: The file.
        create: Whether to make it if there is none.
        keep: What to keep of each password in a file that is made: ``argon2id``, which
            is the default, ``scram`` or ``argon2id+scram``.  A file that is there knows
            what it keeps, and what is said here has to be the same.
        hashing: How expensive to make it.
        allow_readable: Whether to take a file that others than its owner can use.
        executor: Has the threads to hash in, in place of the store's own.

    Raises:
        PasswordStoreError: The file is not there, cannot be read, is for others to use
            or is not such a file, or what it takes is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = False,
        keep: Keep | None = None,
        hashing: PasswordHashing | None = None,
        allow_readable: bool = False,
        executor: Executor | None = None,
    ) -> None:
        # A link stays one.
        self._path = Path(os.path.realpath(path))
        self._allow_readable = allow_readable
        self._lock = Lock()
        self._read: tuple[Any, _Content] | None = None
        if create and not self._path.exists():
            super().__init__(keep or "argon2id", hashing, executor)
            self._create()
        content = self._content()
        if keep not in (None, content.keep):
            raise PasswordStoreError(f"{self._path} keeps {content.keep}, not {keep}")
        super().__init__(content.keep, hashing, executor)

    def __repr__(self) -> str:
        return f"<PasswordFile {os.fspath(self._path)!r}>"

    def _find(self, name: str) -> tuple[Record | None, Census]:
        content = self._content()
        return content.records.get(name), content.census

    def _put(self, record: Record, instead_of: InsteadOf = None) -> bool:
        # An improvement at a login is optional: the next login tries again.
        with self._locked(wait=instead_of is None or instead_of[0] is None) as content:
            old = content.records.get(record.name)
            if instead_of not in (None, (old,)):
                return False
            lines = [record if line is old else line for line in content.lines]
            if old is None:
                lines.append(record)
            self._write(_Content(content.keep, content.secret, tuple(lines)))
            return True

    def _delete(self, name: str) -> bool:
        with self._locked() as content:
            old = content.records.get(name)
            if old is None:
                return False
            lines = tuple(line for line in content.lines if line is not old)
            self._write(_Content(content.keep, content.secret, lines))
            return True

    def _names(self) -> list[str]:
        return list(self._content().records)

    def _server_secret(self) -> bytes:
        return self._content().secret

    def _content(self) -> _Content:
        """Return the content of the file."""
        with self._lock, self._reporting():
            about = os.stat(self._path)
            seen = (about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size)
            if self._read is None or self._read[0] != seen:
                with open(self._path, "rb") as file:
                    self._check_mode(os.fstat(file.fileno()))
                    self._read = seen, self._parse(file.read())
            return self._read[1]

    def _check_mode(self, about: os.stat_result) -> None:
        if os.name != "posix" or self._allow_readable:
            return
        mode = stat.S_IMODE(about.st_mode)
        if mode & 0o077:
            raise PasswordStoreError(
                f"{self._path} is for others to use (mode {mode:04o}): chmod 600 it"
            )

    def _parse(self, data: bytes) -> _Content:
        number = 1
        try:
            first, *rest = _lines(data)
            keep, secret = _parse_head(first)
            lines: list[str | Record] = []
            names = set()
            for text in rest:
                number += 1
                line = _parse_line(text)
                if isinstance(line, Record):
                    if line.name in names:
                        raise ValueError("the user is there already")
                    names.add(line.name)
                lines.append(line)
            return _Content(keep, secret, tuple(lines))
        except (ValueError, PasswordStoreError) as error:
            reason = str(error)
        # Outside of the handler: that exception's frames have the line.
        raise PasswordStoreError(f"{self._path}, line {number}: {reason}")

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn errors of the system into errors of the store, with the path."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PasswordStoreError(f"{self._path}: {reason}") from error

    @contextmanager
    def _locked(self, wait: bool = True) -> Iterator[_Content]:
        """Lock the file against other writers, and yield its content."""
        with self._reporting():
            file = self._lock_file(wait)
            try:
                yield self._content()
            finally:
                os.close(file)

    def _lock_file(self, wait: bool) -> int:
        while True:
            file = os.open(self._path, os.O_RDWR)
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if os.path.samestat(os.fstat(file), os.stat(self._path)):
                    return file
            except BlockingIOError:
                os.close(file)
                raise PasswordStoreError(f"{self._path} is being written") from None
            except OSError:
                os.close(file)
                raise
            # Another has put a new file in its place.
            os.close(file)

    def _create(self) -> None:
        """Make a file without users, unless another was faster."""
        content = _Content(self.keep, os.urandom(_SECRET_BYTES))
        with (
            self._reporting(),
            self._new_file(content, None) as name,
            suppress(FileExistsError),
        ):
            os.link(name, self._path)

    def _write(self, content: _Content) -> None:
        """Put a new file in the place of the one that is locked."""
        with self._new_file(content, os.stat(self._path)) as name:
            os.replace(name, self._path)

    @contextmanager
    def _new_file(self, content: _Content, old: os.stat_result | None) -> Iterator[str]:
        """Write a file beside ours, and have the directory written when it is moved."""
        directory = self._path.parent
        file, name = mkstemp(prefix=f".{self._path.name}.", dir=directory)
        try:
            with open(file, "wb") as output:
                if old is not None:
                    _take_after(file, old)
                output.write(_text(content).encode())
                output.flush()
                os.fsync(file)
            yield name
        finally:
            # It is not there any more if it has been moved.
            with suppress(FileNotFoundError):
                os.unlink(name)
        _sync_directory(directory)


def _take_after(file: int, old: os.stat_result) -> None:
    """Give a new file the mode and owner of the one whose place it takes."""
    if os.name != "posix":
        return
    new = os.fstat(file)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(file, old.st_uid, old.st_gid)
    os.fchmod(file, stat.S_IMODE(old.st_mode))


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _text(content: _Content) -> str:
    secret = b64encode(content.secret).decode()
    lines = [f"{_MAGIC}:{_VERSION}:{content.keep}:{secret}"]
    for line in content.lines:
        if isinstance(line, Record):
            verifier = scram_text(line.verifier)
            line = f"{line.name}:{line.password_hash or ''}:{verifier}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _lines(data: bytes) -> list[str]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise ValueError("this is not a password file: it is not UTF-8")
    return text.removesuffix("\n").split("\n")


def _parse_head(line: str) -> tuple[Keep, bytes]:
    magic, *fields = line.split(":")
    if magic != _MAGIC or len(fields) != 3:
        raise ValueError("this is not a password file: pb-passwd makes one")
    version, kept, secret = fields
    if version != _VERSION:
        raise ValueError("this is a password file of another version")
    keep = KEEPS.get(kept)
    if keep is None:
        raise ValueError(f"it keeps one of {', '.join(KEEPS)}")
    try:
        decoded = b64decode(secret, validate=True)
    except (Base64Error, ValueError):
        decoded = b""
    if len(decoded) != _SECRET_BYTES:
        raise ValueError("the secret is damaged")
    return keep, decoded


def _parse_line(line: str) -> str | Record:
    if not line.strip() or line.startswith("#"):
        return line
    name, *fields = line.split(":", 2)
    if len(fields) != 2 or not any(fields):
        raise ValueError("a user's line is name:hash:verifier")
    hashed, verifier = fields
    checked_name(name)
    if hashed:
        scheme_of(hashed)
    return Record(name, hashed or None, parse_scram(verifier) if verifier else None)
