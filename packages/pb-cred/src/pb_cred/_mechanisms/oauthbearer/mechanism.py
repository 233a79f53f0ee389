"""This module is the client's half of OAUTHBEARER (RFC 7628)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.cred.credentials import ICredentials
from twisted.internet.defer import Deferred
from zope.interface import implementer

from pb_cred._jwt.secret_token import MAX_TOKEN, Secret
from pb_cred._mechanisms.single_message import OneMessage
from pb_cred.mechanisms import ClientExchange, ClientMechanism, LoginContext

from .messages import NAME, message_with

__all__ = ["NAME", "BearerClientMechanism", "BearerToken"]


@implementer(ICredentials)
class BearerToken:
    """Credentials of a user with an access token.

    Whoever sees the token can log in with it.  It is sent over TLS alone, and only to a
    server whose certificate was verified for its name; it is in no repr and no log.

    Args:
        token: The token, as text or bytes; or a function without arguments that returns
            one that is fresh, or a Deferred or an awaitable with that.  It is called
            for each login, once the server is known to be the right one, so that a
            service that reconnects for weeks always has one that is valid.  What it
            raises, the login fails with.

    Raises:
        ValueError: What was given is no token, or has more than 15 KiB; the message has
            nothing of it.
    """

    __slots__ = ("_source",)

    def __init__(self, token: str | bytes | Callable[[], Any]) -> None:
        self._source = token if callable(token) else Secret(token)
        # A traceback of the code below would show the variable.
        del token
        if isinstance(self._source, Secret):
            _checked(self._source)

    def __repr__(self) -> str:
        return "<BearerToken>"

    def _get(self) -> Any:
        """Return the token as a Secret, or a Deferred or awaitable with its text."""
        if isinstance(self._source, Secret):
            return self._source
        found = self._source()
        is_later = isinstance(found, Deferred) or hasattr(type(found), "__await__")
        return found if is_later else Secret(found)


def _checked(token: Secret) -> Secret:
    if not token.is_token():
        raise ValueError(
            f"a bearer token has 1 to {MAX_TOKEN} letters, digits and -._~+/, and = "
            "at its end"
        )
    return token


def _message(token: Secret) -> bytes:
    return message_with(_checked(token))


class _Client(OneMessage):
    def __init__(self, credentials: BearerToken) -> None:
        super().__init__(b"")
        self._credentials = credentials

    def begin(self) -> Any:
        """Return the message, or a Deferred or an awaitable with it.

        Raises:
            ValueError: The function that gives tokens has given something else.
        """
        found = self._credentials._get()
        if isinstance(found, Secret):
            return _message(found)
        if isinstance(found, Deferred):
            return found.addCallback(Secret).addCallback(_message)
        return self._wait(found)

    async def _wait(self, found: Awaitable[Any]) -> bytes:
        return _message(Secret(await found))


class BearerClientMechanism(ClientMechanism):
    """OAUTHBEARER, to a server that is whom we take it for."""

    name = NAME

    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        """Tell whether these are a token, and the server is known."""
        return isinstance(credentials, BearerToken) and context.is_verified

    def start(self, credentials: Any, context: LoginContext) -> ClientExchange:
        """Return the exchange of one login."""
        return _Client(credentials)
