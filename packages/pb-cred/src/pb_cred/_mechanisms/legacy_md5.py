"""This module is the login that every PB peer knows: challenge and MD5 response.

What it is, and is not
----------------------
The server sends random bytes, the client answers with
``md5(md5(password) + challenge)``.  So the password does not cross the wire, and an
answer that was overheard opens nothing afterwards: each challenge is good for one
answer, right or wrong.  But whoever overhears one exchange can try passwords
against it at leisure, the server has to know the password or its MD5, and nothing
ties the exchange to the connection.  Use it inside TLS.
"""

from __future__ import annotations

from hashlib import md5
from hmac import compare_digest
from secrets import token_bytes
from typing import Any, Final

from twisted.cred.credentials import IUsernameHashedPassword
from twisted.internet.defer import Deferred
from zope.interface import implementer

from pb_broker import ProtocolError, RemoteReference
from pb_broker.extending import as_deferred
from pb_cred._passwords.hashing import Password
from pb_cred.interfaces import IUsernameMD5Password

__all__ = [
    "MECHANISM",
    "MD5Credentials",
    "challenge",
    "log_in",
    "respond",
]

MECHANISM: Final = "md5"


def challenge() -> bytes:
    """Return sixteen random bytes for a peer to prove itself on."""
    return token_bytes(16)


def respond(challenge: bytes, password: bytes | str) -> bytes:
    """Return the response to ``challenge`` that proves the knowledge of ``password``.

    Args:
        challenge: What the server sent.
        password: The password; text is encoded as UTF-8.
    """
    return _response(challenge, md5(as_bytes(password)).digest())


def _response(challenge: bytes, digest: bytes) -> bytes:
    return md5(digest + challenge).digest()


def as_bytes(value: bytes | str) -> bytes:
    """Return a name or a password as it goes over the wire."""
    return value.encode() if isinstance(value, str) else value


# The server's side


@implementer(IUsernameHashedPassword, IUsernameMD5Password)
class MD5Credentials:
    """A peer's claim to a user name, with the response to one challenge.

    Args:
        username: Who it says it is.
        challenge: What it was sent.
        response: What it answered.
    """

    def __init__(
        self, username: bytes | str, challenge: bytes, response: bytes
    ) -> None:
        self.username = username
        self.challenge = challenge
        self.response = response

    def checkPassword(self, password: bytes | str) -> bool:
        """Tell whether the response was made with ``password``."""
        return self.checkMD5Password(md5(as_bytes(password)).digest())

    def checkMD5Password(self, password: bytes) -> bool:
        """Tell whether it was made with the password whose MD5 digest is given."""
        return compare_digest(self.response, _response(self.challenge, password))


# The client's side


def log_in(
    root: RemoteReference, username: bytes | str, password: bytes | str, mind: Any
) -> Deferred[Any]:
    """Log in with a password.

    Args:
        root: The server's login root.
        username: Who we are.
        password: How we show it.
        mind: Our object for the avatar to talk to, or None.

    Returns:
        A Deferred with the avatar.
    """
    secret = Password(password)
    # A traceback of the code below would show the variable.
    del password
    # As it was given: a legacy server's checker gets it so.
    begun = as_deferred(root.callRemote("login", username))
    return begun.addCallback(answer, secret, mind)


def answer(
    challenges: Any, password: bytes | str | Password, mind: Any
) -> Deferred[Any]:
    """Answer a server's challenge.

    Args:
        challenges: What the server said: a challenge, and an object to respond to.
        password: The password.
        mind: Our object for the avatar to talk to, or None.

    Returns:
        A Deferred with the avatar.

    Raises:
        ProtocolError: The server said something else.
    """
    secret = password if isinstance(password, Password) else Password(password)
    del password
    if isinstance(challenges, (tuple, list)) and len(challenges) == 2:
        challenge, challenger = challenges
        if isinstance(challenge, bytes) and isinstance(challenger, RemoteReference):
            response = respond(challenge, secret.raw)
            return as_deferred(challenger.callRemote("respond", response, mind))
    raise ProtocolError("the server's challenge is not one")
