"""This module is the client's side of a login: which mechanism, and its messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary

from twisted.cred.credentials import IAnonymous
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.python.failure import Failure

from pb_broker import Broker, NoSuchMethod, RemoteReference
from pb_broker._shell import as_deferred

from . import _anonymous, _md5
from ._exchange import MAX_MESSAGE, cleaned
from ._known_mechanisms import client_mechanisms
from ._login_context import context_of
from ._without_tls import warn_client
from .errors import MechanismError, NoMechanism
from .mechanisms import ClientExchange, ClientMechanism, LoginContext, is_name

__all__ = ["log_in"]

#: How many mechanisms a server may offer.
_MOST_OFFERED: Final = 64

#: One login at a time, on each connection.
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
        credentials: Who we are, and how we show it.
        mind: Our object for the avatar to talk to, or None.
        mechanisms: Those that we may use, the best first; None for the usual, and
            none at all to log in as legacy peers do.
        allow_legacy_md5: Whether we may log in by MD5 where the server knows nothing
            else.

    Returns:
        A Deferred with the avatar.
    """
    usable = client_mechanisms(mechanisms)
    lock = _locks.get(root.broker)
    if lock is None:
        lock = _locks[root.broker] = DeferredLock()
    login = _Login(root, credentials, mind, usable, allow_legacy_md5)
    return lock.run(login.begin)


class _Login:
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
        """Ask what the server offers, unless that is of no use."""
        if not self._mechanisms:
            return self._log_in_as_legacy()
        offered = as_deferred(self._root.callRemote("mechanisms"))
        return offered.addCallbacks(self._choose, self._fall_back)

    def _fall_back(self, failure: Failure) -> Deferred[Any]:
        """Log in as legacy peers do, if the server is one: it has no mechanisms."""
        failure.trap(NoSuchMethod)
        return self._log_in_as_legacy()

    def _log_in_as_legacy(self) -> Deferred[Any]:
        credentials = self._credentials
        if IAnonymous.providedBy(credentials):
            return _anonymous.log_in(self._root, self._mind)
        if not self._allow_legacy_md5:
            raise NoMechanism(
                "there is no login but the legacy one by MD5, which is not allowed "
                "here: see allow_legacy_md5"
            )
        if not hasattr(credentials, "username"):
            raise NoMechanism("the legacy login is for those with a name and password")
        warn_client(_md5.MECHANISM, context_of(self._root.broker))
        return _md5.log_in(
            self._root, credentials.username, credentials.password, self._mind
        )

    def _choose(self, offered: Any) -> Deferred[Any]:
        context = context_of(self._root.broker)
        context.offered = _checked_offer(offered)
        context.acceptable = tuple(each.name for each in self._mechanisms)
        for mechanism in self._mechanisms:
            is_offered = mechanism.name in context.offered
            if is_offered and mechanism.is_usable(self._credentials, context):
                warn_client(mechanism.name, context)
                self._exchange = mechanism.start(self._credentials, context)
                first = self._made(self._exchange.begin)
                return first.addCallback(self._send_first, mechanism.name)
        raise NoMechanism(_why_none(context))

    def _send_first(self, data: bytes, name: str) -> Deferred[Any]:
        answer = _call(self._root, "begin", name, data, self._mind)
        return answer.addCallback(self._go_on)

    def _go_on(self, answer: Any) -> Any:
        """Answer the server's message, or end with an avatar."""
        data, server, avatar = _parts(answer)
        if server is None:
            self._exchange.finish(data)
            return avatar
        return self._made(self._exchange.step, data).addCallback(self._send, server)

    def _send(self, data: bytes, server: RemoteReference) -> Deferred[Any]:
        return _call(server, "step", data).addCallback(self._go_on)

    def _made(self, step: Any, *args: Any) -> Deferred[bytes]:
        """Return what a mechanism makes of a message."""
        return maybeDeferred(self._start, step, *args).addCallback(_message)

    def _start(self, step: Any, *args: Any) -> Any:
        found = step(*args)
        waiting = self._root.broker.shell.awaitable(found)
        return found if waiting is None else waiting


def _call(target: RemoteReference, *args: Any) -> Deferred[Any]:
    """Call the server."""
    answer = maybeDeferred(lambda: as_deferred(target.callRemote(*args)))
    return answer.addErrback(cleaned)


def _message(made: Any) -> bytes:
    if not isinstance(made, bytes):
        raise TypeError(f"a mechanism gives bytes, not {type(made).__qualname__}")
    return made


def _checked_offer(offered: Any) -> tuple[str, ...]:
    """Return the names of the mechanisms that a server offers.

    Raises:
        MechanismError: They are not that.
    """
    is_list = isinstance(offered, (list, tuple)) and len(offered) <= _MOST_OFFERED
    if not is_list or not all(map(is_name, offered)):
        raise MechanismError("the server's list of mechanisms is not one")
    return tuple(offered)


def _parts(answer: Any) -> tuple[bytes, RemoteReference | None, Any]:
    """Return what a server answers: a message, what takes the next one, the avatar.

    Raises:
        MechanismError: It is not that.
    """
    if isinstance(answer, (tuple, list)) and len(answer) == 3:
        data, server, avatar = answer
        is_message = isinstance(data, bytes) and len(data) <= MAX_MESSAGE
        if is_message and (server is None or isinstance(server, RemoteReference)):
            return data, server, avatar
    raise MechanismError("the server's answer is none to a login")


def _why_none(context: LoginContext) -> str:
    offered = ", ".join(context.offered) or "nothing"
    return f"none of what the server offers serves here: {offered}"
