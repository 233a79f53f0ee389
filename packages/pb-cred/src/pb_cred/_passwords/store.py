"""This module checks passwords, wherever they are kept.

Theory of operation
-------------------
A store subclasses :class:`PasswordStore` and says how a user's record is found, put and
removed; those methods wait for files or databases, and are called in threads only by
what is here for the event loop.  Each check does one verification for each scheme that
any user of the store is verified with, and counts only that of the user in question: so
an unknown user costs what a known one does, while some still have an imported hash.
What it costs for an unknown name is what it costs for some of the users: see
:mod:`.unknown_users`.
"""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, ClassVar, TypeAlias
from weakref import WeakKeyDictionary

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from pb_broker.extending import SafeLogger
from pb_cred._database.outage_log import Outages
from pb_cred._threads.thread_pool import Workers
from pb_cred.errors import PasswordStoreError, UnknownUser
from pb_cred.interfaces import IScramVerifiers, IStandingChecker

from . import hashing as _hashing
from .hashing import KEEPS, Keep, Password, PasswordHashing, Record
from .scram_verifier import Verifier
from .unknown_users import Census

__all__ = ["InsteadOf", "PasswordStore", "checked_name"]

_log = SafeLogger(namespace="pb_cred")

_MOST_NAME_CHARACTERS = 255

#: Condition for replacing a record: the present record, or None for none, in a tuple;
#: None itself for no condition.
InsteadOf: TypeAlias = tuple[Record | None] | None


@implementer(ICredentialsChecker, IStandingChecker)
class PasswordStore:
    """A store of users with hashes of their passwords.

    ``requestAvatarId`` is for the event loop, and hashes in threads, of which there are
    half as many as processors.  The other methods wait until they are done: a server
    calls them in a thread, as with ``twisted.internet.threads.deferToThread``.

    Args:
        keep: What to keep of each password: ``argon2id``, ``scram``, or
            ``argon2id+scram``.  With SCRAM the store also provides
            :class:`~pb_cred.interfaces.IScramVerifiers`.
        hashing: How expensive to make it.
        executor: Has the threads to hash in, in place of the store's own.

    Attributes:
        keep: What is kept.

    Raises:
        PasswordStoreError: There is no such thing to keep, or what it takes is not
            installed.
    """

    credentialInterfaces: ClassVar[tuple[Any, ...]] = (IUsernamePassword,)
    #: Either form is the same name here, so the server asks once.
    username_forms: ClassVar[tuple[type, ...]] = (bytes,)

    def __init__(
        self,
        keep: Keep,
        hashing: PasswordHashing | None = None,
        executor: Executor | None = None,
    ) -> None:
        if keep not in KEEPS:
            raise PasswordStoreError(f"a store keeps one of {', '.join(KEEPS)}")
        self.keep: Keep = keep
        self._hashing = hashing or PasswordHashing()
        self._workers = Workers(executor)
        # Records of users by accepted credentials, to find out later if they still
        # hold.
        self._accepted: WeakKeyDictionary[Any, Record] = WeakKeyDictionary()
        self._outages = Outages(PasswordStoreError, self._tell)
        if "argon2id" in keep:
            _hashing.require("argon2id")
        if "scram" in keep:
            alsoProvides(self, IScramVerifiers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes | tuple[()]]:
        """Check a name and a password.

        Args:
            credentials: Both: what provides ``IUsernamePassword``.

        Returns:
            A Deferred with the name, as bytes.  It fails with UnauthorizedLogin, which
            is the same and takes as long whether the name or the password is wrong, and
            with ``LoginFailed`` when the store cannot be asked; the log says why.
        """
        password = Password(credentials.password)
        found = self._workers.run(self._check, credentials.username, password)
        return self._outages.watch(found).addCallback(self._answered, credentials)

    def still_holds(
        self, credentials: Any, avatar_id: bytes | tuple[()]
    ) -> Deferred[bool]:
        """Tell whether a name and a password that were right are so now.

        Nothing is hashed, unless what is kept of the user has changed.  See
        :class:`.interfaces.IStandingChecker`.

        Args:
            credentials: What ``requestAvatarId`` was given.
            avatar_id: What it has answered.

        Returns:
            A Deferred with that.  It fails with ``LoginFailed`` when the store cannot
            be asked.
        """
        accepted: Record | None = None
        with suppress(TypeError):
            accepted = self._accepted.get(credentials)
        password = Password(credentials.password)
        found = self._workers.run(self._holds, credentials.username, password, accepted)
        return self._outages.watch(found)

    def _answered(self, accepted: Record | None, credentials: Any) -> Any:
        if accepted is None:
            return Failure(UnauthorizedLogin())
        # Credentials that cannot be remembered are verified again.
        with suppress(TypeError):
            self._accepted[credentials] = accepted
        return accepted.name.encode()

    def scram_verifier(self, username: bytes) -> Deferred[Verifier]:
        """Look up a user's SCRAM verifier; see :class:`.interfaces.IScramVerifiers`.

        Args:
            username: The name that somebody wants to log in with.

        Returns:
            A Deferred with it, or with a stand-in.  It fails with ``LoginFailed`` when
            the store cannot be asked.
        """
        return self._outages.watch(self._workers.run(self._verifier, username))

    def set_password(self, username: str, password: str | bytes) -> None:
        """Add a user, or change a user's password.

        Args:
            username: The user's name.
            password: The password.

        Raises:
            ValueError: The name is no name.
            UnsuitablePassword: The password is none.
            PasswordStoreError: The store cannot be written.
        """
        name = checked_name(username)
        self._put(self._hashing.record(name, Password(password), self.keep))

    def import_hash(self, username: str, password_hash: str) -> bool:
        """Add a user with a hash from elsewhere, which is kept until the next login.

        Args:
            username: The user's name.
            password_hash: It: apr1, bcrypt or SHA-1 from an htpasswd file; or Argon2id.

        Returns:
            Whether there was no such user, and now there is.

        Raises:
            ValueError: The name is no name.
            PasswordStoreError: The hash cannot be verified here, or the store not
                written.
        """
        name = checked_name(username)
        _hashing.require(_hashing.scheme_of(password_hash))
        # Does it verify at all?
        record = Record(name, password_hash)
        _hashing.is_password(record, {}, Password(b"?"))
        return self._put(record, instead_of=(None,))

    def remove(self, username: str) -> None:
        """Remove a user.

        Args:
            username: The user's name.

        Raises:
            UnknownUser: There is none of that name.
            PasswordStoreError: The store cannot be written.
        """
        if not self._delete(_findable(username)):
            raise UnknownUser(f"there is no user {username!r}")

    def usernames(self) -> list[str]:
        """Return the names of all users, sorted.

        Raises:
            PasswordStoreError: The store cannot be read.
        """
        return sorted(self._names())

    def verify(self, username: str, password: str | bytes) -> bool:
        """Return True if a password is the user's; no record is improved.

        Args:
            username: The user's name.
            password: The password.

        Raises:
            PasswordStoreError: The store cannot be read.
        """
        _, is_it = self._verified(username, Password(password))
        return is_it

    def close(self) -> None:
        """Let go of the store's threads; a login that waits for one fails."""
        self._workers.close()

    # Interface for implementations; names have been checked.

    def _find(self, name: str) -> tuple[Record | None, Census]:
        """Return a user's record, and the census of all users."""
        raise NotImplementedError

    def _put(self, record: Record, instead_of: InsteadOf = None) -> bool:
        """Keep a record; with ``instead_of``, only in place of that record."""
        raise NotImplementedError

    def _delete(self, name: str) -> bool:
        """Remove a record; tell whether there was one."""
        raise NotImplementedError

    def _names(self) -> list[str]:
        """Return all users."""
        raise NotImplementedError

    def _server_secret(self) -> bytes:
        """Return the secret from which stand-ins for unknown users are derived."""
        raise NotImplementedError

    # In threads.

    def _verified(
        self, username: bytes | str, password: Password
    ) -> tuple[Record | None, bool]:
        """Return the record of a user, and True if the password is the user's."""
        record, census = self._find(_findable(username))
        decoys = census.decoys(
            self._server_secret(), _as_bytes(username), self.keep, self._hashing
        )
        return record, _hashing.is_password(record, decoys, password)

    def _check(self, username: bytes | str, password: Password) -> Record | None:
        """Return the record of a user with that password; None for a wrong one."""
        record, is_it = self._verified(username, password)
        if record is None or not is_it:
            return None
        return self._improve(record, password)

    def _holds(
        self, username: bytes | str, password: Password, accepted: Record | None
    ) -> bool:
        record, _ = self._find(_findable(username))
        if record is not None and record == accepted:
            return True
        # It may have been hashed anew, by another login.
        return record is not None and self.verify(record.name, password.raw)

    def _improve(self, record: Record, password: Password) -> Record:
        """Replace a hash that is cheaper than configured; return the present record."""
        try:
            better = self._hashing.improved(record, password, self.keep)
            if better is not None and self._put(better, instead_of=(record,)):
                return better
        except PasswordStoreError as error:
            # The password is right, all the same.
            _log.warn(
                "{store} keeps an old hash: {reason}",
                pb_event="password_not_rehashed",
                store=self,
                reason=str(error),
            )
        return record

    def _verifier(self, username: bytes | str) -> Verifier:
        record, census = self._find(_findable(username))
        found = None if record is None else record.verifier
        secret = self._server_secret()
        instead = census.verifier(secret, _as_bytes(username), self._hashing)
        return instead if found is None else found

    # In the event loop.

    def _tell(self, reason: str) -> None:
        _log.error(
            "Nobody can log in with {store}: {reason}",
            pb_event="password_store_failed",
            store=self,
            reason=reason,
        )


def _as_bytes(username: bytes | str) -> bytes:
    if isinstance(username, str):
        return username.encode(errors="surrogatepass")
    return username


def _findable(username: bytes | str) -> str:
    """Return the name to look up; for an invalid name, one that no user can have."""
    try:
        text = username.decode() if isinstance(username, bytes) else username
        return checked_name(text)
    except ValueError:
        return "#"


def checked_name(username: str) -> str:
    """Return a user's name.

    Raises:
        ValueError: It is empty or too long, has a colon or what cannot be printed, or
            begins with ``#`` or a space or ends with a space.
    """
    if not 0 < len(username) <= _MOST_NAME_CHARACTERS:
        raise ValueError(f"a user name has 1 to {_MOST_NAME_CHARACTERS} characters")
    if ":" in username or not username.isprintable():
        raise ValueError("a user name has no colons and no control characters")
    if username.startswith("#") or username != username.strip():
        raise ValueError("a user name begins with no # and no space, nor ends with one")
    return username
