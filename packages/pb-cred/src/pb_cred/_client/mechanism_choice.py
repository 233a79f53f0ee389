"""This module makes the mechanism choice of a client, and carries its messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary

from twisted.cred.credentials import IAnonymous, ICredentials
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred, succeed
from twisted.python.failure import Failure

from pb_broker import Broker, Error, NoSuchMethod, RemoteError, RemoteReference
from pb_broker.extending import as_deferred
from pb_cred._channel.tls import context_of, warn_client
from pb_cred._mechanisms import anonymous, legacy_md5
from pb_cred._mechanisms.external import OwnCertificate
from pb_cred._mechanisms.login_rules import LOGIN_NAME, MAX_MESSAGE, cleaned
from pb_cred._mechanisms.mechanism_table import (
    USUAL_CLIENT_MECHANISMS,
    client_mechanisms,
)
from pb_cred._user_names import MAX_NAME, is_text
from pb_cred.errors import MechanismError, NoLogin, NoMechanism, UnusableCredentials
from pb_cred.mechanisms import NAME, ClientExchange, ClientMechanism, LoginContext

__all__ = ["log_in"]

#: Text of the error by which a peer refuses a call of an unknown object.
_NOT_THERE: Final = "Invalid Object ID"
_NO_LOGIN: Final = (
    "the server has no login: it serves an object to whoever comes; connect without"
    " credentials"
)
_ONLY_LEGACY: Final = (
    "the server is one of twisted.spread, whose only login for users is by MD5, and"
    " this client does not use that"
)
#: Mechanisms that show their secret to the server, used with verified ones only.
_VERIFIED_ONLY: Final = frozenset({"OAUTHBEARER", "PB-TICKET", "PLAIN"})
#: Largest number of mechanisms in an offer.
_MOST_OFFERED: Final = 64

#: Locks of connections, so that each has one login at a time.
_locks: WeakKeyDictionary[Broker, DeferredLock] = WeakKeyDictionary()


def log_in(
    root: RemoteReference,
    credentials: Any,
    mind: Any,
    mechanisms: Iterable[str | ClientMechanism] | None,
    allow_legacy_md5: bool,
) -> Deferred[Any]:
    """Log in by the best mechanism that both ends have.

    Args:
        root: The server's login root.
        credentials: Credentials of the user.
        mind: Our object for the avatar to talk to, or None.
        mechanisms: Mechanisms to use, the best first; None for the usual ones; empty to
            log in as legacy peers do.
        allow_legacy_md5: True to log in by MD5 at a server that knows no mechanism.

    Returns:
        A Deferred with the avatar.
    """
    usable = USUAL_CLIENT_MECHANISMS
    if mechanisms is not None:
        usable = client_mechanisms(mechanisms)
    lock = _locks.get(root.broker)
    if lock is None:
        lock = _locks[root.broker] = DeferredLock()
    login = _Login(root, credentials, mind, usable, allow_legacy_md5)
    return lock.run(login.begin)


class _Login:
    """One login of a client, from the question for the offer to the avatar."""

    _exchange: ClientExchange

    def __init__(
        self,
        root: RemoteReference,
        credentials: Any,
        mind: Any,
        mechanisms: tuple[ClientMechanism, ...],
        allow_legacy_md5: bool,
    ) -> None:
        self._root = root
        self._credentials = credentials
        self._mind = mind
        self._mechanisms = mechanisms
        self._allow_legacy_md5 = allow_legacy_md5

    def begin(self) -> Deferred[Any]:
        """Ask for the server's offer, unless legacy logins alone are wanted."""
        if not self._mechanisms:
            return self._log_in_as_legacy()
        login = self._root.broker.remoteForName(LOGIN_NAME)
        offered = as_deferred(login.callRemote("mechanisms"))
        return offered.addCallbacks(self._choose, self._fall_back)

    def _fall_back(self, failure: Failure) -> Any:
        """Log in as legacy peers do, if the server has no object with mechanisms."""
        if not _is_not_there(failure):
            return failure
        if IAnonymous.providedBy(self._credentials) or self._can_use_md5():
            return self._log_in_as_legacy()
        # A legacy server logs this call; the credentials are of no use there anyway.
        offered = as_deferred(self._root.callRemote("mechanisms"))
        return offered.addCallbacks(self._choose, self._have_no_mechanisms)

    def _have_no_mechanisms(self, failure: Failure) -> Deferred[Any]:
        failure.trap(NoSuchMethod)
        return self._refuse_legacy()

    def _can_use_md5(self) -> bool:
        return self._allow_legacy_md5 and hasattr(self._credentials, "username")

    def _log_in_as_legacy(self) -> Deferred[Any]:
        credentials = self._credentials
        if IAnonymous.providedBy(credentials):
            login = anonymous.log_in(self._root, self._mind)
            return login.addErrback(_without_login)
        if not self._can_use_md5():
            return self._refuse_legacy()
        fault = _fault_of_password(credentials)
        if fault:
            raise UnusableCredentials(fault)
        warn_client(legacy_md5.MECHANISM, context_of(self._root.broker))
        login = legacy_md5.log_in(
            self._root, credentials.username, credentials.password, self._mind
        )
        return login.addErrback(_without_login)

    def _refuse_legacy(self) -> Deferred[Any]:
        """Ask whether the server has a legacy login, and raise the error that fits."""
        # The challenge for this empty name is not answered.
        asked = as_deferred(self._root.callRemote("login", b""))

        def is_legacy(_: Any) -> Any:
            raise NoMechanism(_ONLY_LEGACY)

        def is_none(failure: Failure) -> Any:
            failure = _without_login(failure)
            failure.trap(RemoteError)
            # Any other error of its login shows that there is one.
            return is_legacy(None)

        return asked.addCallbacks(is_legacy, is_none)

    def _choose(self, offered: Any) -> Deferred[Any]:
        names = _checked_offer(offered)
        acceptable = tuple(each.name for each in self._mechanisms)
        context = context_of(self._root.broker)
        context.offered, context.acceptable = names, acceptable
        for mechanism in self._mechanisms:
            is_offered = mechanism.name in names
            if is_offered and mechanism.is_usable(self._credentials, context):
                self._exchange = mechanism.start(self._credentials, context)
                first = self._exchange.begin()
                warn_client(mechanism.name, context)
                return self._message(first).addCallback(
                    self._send_first, mechanism.name
                )
        fault = _fault_of(self._credentials)
        if fault:
            raise UnusableCredentials(fault)
        kind = type(self._credentials).__qualname__
        raise NoMechanism(_why_none(context, kind))

    def _send_first(self, data: bytes, name: str) -> Deferred[Any]:
        answer = _call(self._root, "begin", name, data, self._mind)
        return answer.addCallback(self._go_on)

    def _go_on(self, answer: Any) -> Any:
        """Answer a message of the server, or return the avatar at the end."""
        data, server, avatar = _parts(answer)
        if server is None:
            self._exchange.finish(data)
            return avatar
        answer = self._message(self._exchange.step(data))
        return answer.addCallback(self._send, server)

    def _send(self, data: bytes, server: RemoteReference) -> Deferred[Any]:
        return _call(server, "step", data).addCallback(self._go_on)

    def _message(self, made: Any) -> Deferred[bytes]:
        """Return a Deferred with a message that a mechanism may make later."""
        waiting = self._root.broker.shell.awaitable(made)
        message: Deferred[Any] = succeed(made) if waiting is None else waiting
        return message.addCallback(_checked_message)


def _call(target: RemoteReference, *args: Any) -> Deferred[Any]:
    """Call an object of the server; keep secrets out of the failure."""
    answer = maybeDeferred(lambda: as_deferred(target.callRemote(*args)))
    return answer.addErrback(cleaned)


def _checked_message(made: Any) -> bytes:
    if not isinstance(made, bytes):
        raise TypeError(f"a mechanism gives bytes, not {type(made).__qualname__}")
    return made


def _checked_offer(offered: Any) -> tuple[str, ...]:
    """Return the names of the mechanisms that a server offers.

    Raises:
        MechanismError: The value is no list of names.
    """
    is_list = isinstance(offered, (list, tuple)) and len(offered) <= _MOST_OFFERED
    if not is_list or not all(
        isinstance(name, str) and NAME.fullmatch(name) for name in offered
    ):
        raise MechanismError("the server's list of mechanisms is not one")
    return tuple(offered)


def _parts(answer: Any) -> tuple[bytes, RemoteReference | None, Any]:
    """Return the parts of an answer: message, object for the next one, avatar.

    Raises:
        MechanismError: The answer has other parts.
    """
    if isinstance(answer, (tuple, list)) and len(answer) == 3:
        data, server, avatar = answer
        is_message = isinstance(data, bytes) and len(data) <= MAX_MESSAGE
        if is_message and (server is None or isinstance(server, RemoteReference)):
            return data, server, avatar
    raise MechanismError("the server's answer is none to a login")


def _is_not_there(failure: Failure) -> bool:
    """Return True if a peer has no object of the name that was called."""
    # The wire has no other sign of it than this text.
    return failure.check(Error) is not None and str(failure.value) == _NOT_THERE


def _without_login(failure: Failure) -> Failure:
    """Return the failure of a legacy login; NoLogin where the server has none."""
    if failure.check(NoSuchMethod) is None:
        return failure
    return Failure(NoLogin(_NO_LOGIN))


def _why_none(context: LoginContext, kind: str) -> str:
    offered = ", ".join(context.offered) or "nothing"
    why = f"none of what the server offers serves for {kind}: {offered}"
    if not context.is_verified and not _VERIFIED_ONLY.isdisjoint(context.offered):
        why += (
            "; a password, token or ticket is shown to no server but one whose"
            " certificate was verified over TLS"
        )
    return why


def _fault_of(credentials: Any) -> str | None:
    """Return the fault that keeps credentials from all mechanisms; None for none."""
    if IAnonymous.providedBy(credentials):
        return None
    if not hasattr(credentials, "username"):
        if ICredentials.providedBy(credentials) or isinstance(
            credentials, OwnCertificate
        ):
            return None
        kind = type(credentials).__qualname__
        return f"{kind} is no kind of credentials: give a UsernamePassword, say"
    return _fault_of_name(credentials.username) or _fault_of_password(credentials)


def _fault_of_name(name: Any) -> str | None:
    if isinstance(name, str):
        name = name.encode(errors="surrogatepass")
    if not isinstance(name, bytes):
        return f"the user name is bytes or text, not {type(name).__qualname__}"
    if not name:
        return "the user name is empty"
    if len(name) > MAX_NAME:
        return f"the user name has {len(name)} bytes; {MAX_NAME} are allowed"
    if b"\0" in name:
        return "the user name has a NUL character"
    return None if is_text(name) else "the user name is not UTF-8"


def _fault_of_password(credentials: Any) -> str | None:
    password: Any = getattr(credentials, "password", None)
    if password is None:
        return "the password is None: there is none to log in with"
    if not isinstance(password, (bytes, str)):
        return f"the password is bytes or text, not {type(password).__qualname__}"
    return None
