"""This module holds the errors of pb-cred: of logins, stores and the drop-in."""

from __future__ import annotations

from typing import Any

from twisted.cred.error import (
    LoginDenied,
    LoginFailed,
    Unauthorized,
    UnauthorizedLogin,
    UnhandledCredentials,
)

from pb_broker import (
    CopyableFailure,
    Error,
    NoSuchMethod,
    ProtocolError,
    register_exception,
)
from pb_broker.extending import reduced
from pb_jelly import Jellier, Jellyable

__all__ = [
    "CertificateError",
    "CredError",
    "DropInError",
    "ExplainedRefusal",
    "LoginRefused",
    "LoginRequired",
    "LoginUnavailable",
    "MechanismError",
    "NoLogin",
    "NoMechanism",
    "NoTicket",
    "NotLoggedIn",
    "PasswordStoreError",
    "TicketStoreError",
    "TokenKeyError",
    "UnknownUser",
    "UnsuitablePassword",
    "UnusableCredentials",
]

# A server's answer to a failed login can be caught at the client by its class:
# ``except UnauthorizedLogin`` around ``await factory.login(...)``.
for _cls in (
    LoginDenied,
    LoginFailed,
    Unauthorized,
    UnauthorizedLogin,
    UnhandledCredentials,
):
    register_exception(_cls)


class CredError(Exception):
    """The root of this package's own errors."""

    __reduce__ = reduced


class DropInError(CredError, RuntimeError):
    """The drop-in for ``twisted.spread`` comes too late to be one."""


class CertificateError(CredError):
    """Certificates that a server is told to go by cannot be used.

    The message says which, and why.
    """


class NotLoggedIn(CredError, LookupError):
    """An avatar has no session."""


class SessionEnded(CredError, Error):
    """A session was ended at the server's end.

    It is why a connection was closed.

    Args:
        reason: Why: as in the audit event of the logout.

    Attributes:
        reason: As above.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the session has ended: {reason}")
        self.reason = reason


class PasswordStoreError(CredError):
    """Passwords cannot be read or written where they are kept.

    The message says where and why, and has nothing of what is kept.
    """


class TicketStoreError(CredError):
    """A store of tickets cannot be read or written.

    The message says where and why, and has nothing of what is kept.
    """


class TokenKeyError(CredError, ValueError):
    """Keys to verify tokens with cannot be used.

    The message says why, and has nothing of a key but its id.
    """


class UnknownUser(CredError, LookupError):
    """There is no user of that name."""


class UnsuitablePassword(CredError, ValueError):
    """A password cannot be set; the message does not quote it."""


class MechanismError(CredError, ProtocolError):
    """The server does not keep to the login's mechanism, or fails to prove itself.

    Whoever is at the other end may not be whom it was taken for.
    """


class NoMechanism(CredError, UnhandledCredentials):
    """There is no way to log in that the server offers and that is good enough here."""


class NoLogin(NoMechanism, NoSuchMethod):
    """The server serves an object without any login: credentials are of no use there.

    Connect without them, or to another server.
    """


class UnusableCredentials(NoMechanism, ValueError):
    """The credentials cannot be sent to any server; the message has the reason.

    It has nothing of the password.
    """


class LoginRequired(NoSuchMethod):
    """A method was called at a server to which one has to log in first.

    Give the client credentials.
    """


register_exception(LoginRequired)


class NoTicket(CredError, ValueError, Error):
    """There is no ticket to be had for this login, or at this server.

    The client has only asked; that is not logged.
    """

    is_logged = False


register_exception(NoTicket)


class LoginRefused(Jellyable, CredError, UnauthorizedLogin, Error):
    """A login that is refused, as it is told to the peer.

    The peer is told ``UnauthorizedLogin`` and nothing else: not whether it was the
    name, the password or the challenge.  The log has it as ``login_refused``.
    """

    is_logged = False

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the s-expression of a bare ``UnauthorizedLogin``."""
        return CopyableFailure(UnauthorizedLogin()).jellyFor(jellier)


class ExplainedRefusal(UnauthorizedLogin):
    """A refusal whose text is told to the client, as is the name of its class.

    A checker raises it, or a subclass, where a client is to know more than that it is
    not let in: that an account has expired, or that there are no guests today.  All
    else that a checker says stays at the server.  What tells names that are users'
    from others is better not said.  A client catches it as ``UnauthorizedLogin``, and
    as what it is if both ends have the class and the client registers it with
    :func:`pb_broker.register_exception`.

    A checker with a true attribute ``explains_refusals`` has each of its refusals told
    so.
    """


register_exception(ExplainedRefusal)


class ToldRefusal(LoginRefused):
    """A refusal as it is told to the peer where it may know the reason.

    Args:
        reason: What the checker has raised.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the s-expression of the reason."""
        return CopyableFailure(self.reason).jellyFor(jellier)


class LoginUnavailable(Jellyable, CredError, LoginFailed, Error):
    """A login that is not possible at present, as it is told to the peer.

    The peer is told ``LoginFailed``, and not what there is here that fails.  That is
    logged once, and not for each login.
    """

    is_logged = False

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the s-expression of a ``LoginFailed`` with the same text."""
        return CopyableFailure(LoginFailed(*self.args)).jellyFor(jellier)
