"""This module is PLAIN (RFC 4616): the password itself, within TLS.

It is for checkers that have to see the password.  A server takes it over TLS alone, and
a client sends it to nobody but a server whose certificate it has verified.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Any, Final

from twisted.cred.credentials import IAnonymous, IUsernamePassword
from zope.interface import implementer

from pb_cred._user_names import MAX_NAME, is_text
from pb_cred.errors import LoginRefused
from pb_cred.mechanisms import (
    Claim,
    ClientExchange,
    ClientMechanism,
    LoginContext,
    ServerExchange,
    ServerMechanism,
)

from .scram.scram import as_name, takes
from .single_message import OneMessage

__all__ = [
    "NAME",
    "PlainClientMechanism",
    "PlainCredentials",
    "PlainServerMechanism",
]

NAME: Final = "PLAIN"

#: The longest password, in bytes.
_MAX_PASSWORD: Final = 4096


@implementer(IUsernamePassword)
class PlainCredentials:
    """A name and a password, as a peer has sent them."""

    def __init__(self, username: bytes | str, password: bytes) -> None:
        self.username = username
        self.password = password

    def checkPassword(self, password: bytes | str) -> bool:
        """Tell whether it is this one, in constant time."""
        if isinstance(password, str):
            password = password.encode()
        return compare_digest(self.password, password)


class _Server(ServerExchange):
    def __init__(self, context: LoginContext) -> None:
        self._context = context

    def step(self, data: bytes) -> Claim:
        """Take the only message.

        Raises:
            LoginRefused: It is none, or wants to act for another user.
        """
        parts = data.split(b"\0")
        if len(parts) != 3 or not is_text(data.replace(b"\0", b"")):
            raise LoginRefused
        whom, username, password = parts
        if whom not in (b"", username):
            raise LoginRefused
        if not 0 < len(username) <= MAX_NAME or not 0 < len(password) <= _MAX_PASSWORD:
            raise LoginRefused
        self._context.username = username
        return Claim(PlainCredentials(username, password))


class PlainServerMechanism(ServerMechanism):
    """PLAIN, for a portal whose checker has to see the password."""

    name = NAME

    def is_served_by(self, portal: Any) -> bool:
        """Tell whether there is a checker that takes passwords."""
        return takes(portal, IUsernamePassword)

    def is_available(self, context: LoginContext) -> bool:
        """Return True on an encrypted connection."""
        return context.is_tls

    def start(self, portal: Any, context: LoginContext) -> ServerExchange:
        """Return the exchange of one login."""
        return _Server(context)


class PlainClientMechanism(ClientMechanism):
    """PLAIN, to a server that is whom we take it for."""

    name = NAME

    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        """Tell whether these are a name and a password, and the server is known."""
        if IAnonymous.providedBy(credentials) or not context.is_verified:
            return False
        name, password = as_name(credentials), _password(credentials)
        if len(name) > MAX_NAME or len(password) > _MAX_PASSWORD:
            return False
        return all(each and is_text(each) for each in (name, password))

    def start(self, credentials: Any, context: LoginContext) -> ClientExchange:
        """Return the exchange of one login."""
        message = b"\0".join([b"", as_name(credentials), _password(credentials)])
        return OneMessage(message)


def _password(credentials: Any) -> bytes:
    password: Any = getattr(credentials, "password", None)
    if isinstance(password, str):
        return password.encode(errors="surrogatepass")
    return password if isinstance(password, bytes) else b""
