"""This module defines the MD5 challenge, the server's side of logins of legacy peers.

A peer may begin as many logins as it likes, and finish none; :class:`Challenges` keeps
the newest of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred

from pb_broker import Broker
from pb_cred._mechanisms import legacy_md5
from pb_cred._mechanisms.legacy_md5 import MECHANISM, MD5Credentials
from pb_cred.errors import LoginRefused

from .sasl_exchange import TemporaryReference

__all__ = ["MAX_CHALLENGES", "MAX_NAME", "Challenger", "Challenges"]

#: Largest number of unanswered challenges on one connection.
MAX_CHALLENGES: Final = 256
#: The longest name that a peer may log in with, in bytes.
MAX_NAME: Final = 1024


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
        challenger = Challenger(self, username, legacy_md5.challenge())
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
