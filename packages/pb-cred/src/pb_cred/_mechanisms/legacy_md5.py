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

from collections.abc import Callable
from hashlib import md5
from hmac import compare_digest
from secrets import token_bytes
from typing import Any, Final

from twisted.cred.credentials import IUsernameHashedPassword
from twisted.internet.defer import Deferred
from zope.interface import implementer

from pb_broker import Broker, ProtocolError, RemoteReference
from pb_broker.extending import as_deferred
from pb_cred._passwords.hashing import Password
from pb_cred.errors import LoginRefused
from pb_cred.interfaces import IUsernameMD5Password

from .temporary_reference import TemporaryReference

__all__ = [
    "MECHANISM",
    "Challenges",
    "MD5Credentials",
    "challenge",
    "log_in",
    "respond",
]

MECHANISM: Final = "md5"

#: Largest number of unanswered challenges on one connection.
MAX_CHALLENGES: Final = 256
#: The longest name that a peer may log in with, in bytes.
MAX_NAME: Final = 1024


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


class Challenges:
    """The challenges of one connection that were not answered yet.

    A peer may begin as many logins as it likes, and finish none: only so many
    stay, and the oldest is forgotten first.

    Args:
        broker: The connection's broker.
        admit: Called with credentials and a mind; decides.
        claim: Makes the credentials of a name, a challenge and a response.
        keeps_names: Whether a name is left as the peer has sent it; otherwise text
            becomes bytes, so that no peer chooses what its avatar id is.

    Attributes:
        admit: As above.
        claim: As above.
    """

    def __init__(
        self,
        broker: Broker,
        admit: Callable[[Any, Any, str], Deferred[Any]],
        *,
        claim: Callable[[bytes | str, bytes, bytes], MD5Credentials] = MD5Credentials,
        keeps_names: bool = False,
    ) -> None:
        self.admit = admit
        self.claim = claim
        self._keeps_names = keeps_names
        self._broker = broker
        # A dict as an ordered set: the oldest challenge is the first to go.
        self._open: dict[Challenger, None] = {}

    def issue(self, username: Any) -> tuple[bytes, Challenger]:
        """Return a challenge, and the object that takes the response to it.

        Args:
            username: Who the peer says it is, as bytes or text.

        Raises:
            LoginRefused: That is no name.
        """
        if isinstance(username, str):
            if len(username) > MAX_NAME:
                raise LoginRefused
            if not self._keeps_names:
                username = username.encode(errors="surrogatepass")
        elif type(username) is not bytes:
            raise LoginRefused
        if len(username) > MAX_NAME:
            raise LoginRefused
        if len(self._open) >= MAX_CHALLENGES:
            self.close(next(iter(self._open)))
        challenger = Challenger(self, username, challenge())
        self._open[challenger] = None
        return challenger.challenge, challenger

    def close(self, challenger: Challenger) -> bool:
        """Take a challenge back; tell whether it was open until now."""
        if challenger not in self._open:
            return False
        del self._open[challenger]
        challenger.take_back(self._broker)
        return True


class Challenger(TemporaryReference):
    """The object that a peer sends its response to; it accepts one.

    Args:
        challenges: Where it belongs.
        username: Who the peer says it is.
        challenge: What it was sent.
    """

    def __init__(
        self, challenges: Challenges, username: bytes | str, challenge: bytes
    ) -> None:
        self.challenge = challenge
        self._challenges = challenges
        self._username = username

    def remote_respond(self, response: Any, mind: Any = None) -> Deferred[Any]:
        """Finish the login.

        Args:
            response: The response to the challenge.
            mind: The peer's object for the avatar to talk to, or None.

        Returns:
            A Deferred with the avatar, or with LoginRefused.

        Raises:
            LoginRefused: There was a response before, or this is none.
        """
        if not self._challenges.close(self) or type(response) is not bytes:
            raise LoginRefused
        credentials = self._challenges.claim(self._username, self.challenge, response)
        return self._challenges.admit(credentials, mind, MECHANISM)


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
