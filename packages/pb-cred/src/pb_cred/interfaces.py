"""This module declares the interfaces of avatars and of password checkers."""

# The methods of an interface have no self.
# pyright: reportSelfClsParameterName=false

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# mypy's plugin knows zope's interfaces; to pyright they are of an unknown kind, and so
# would be each class here.  No system has this name: pyright, which knows that, reads
# the second branch, and mypy, which does not, keeps the types of the first.
if not TYPE_CHECKING or os.name == "one with mypy":
    from twisted.cred.credentials import ICredentials
    from zope.interface import Interface
else:
    from ._typed_interface import Interface  # type: ignore[assignment]
    from ._typed_interface import Interface as ICredentials  # type: ignore[assignment]

__all__ = [
    "IPerspective",
    "IScramVerifiers",
    "IStandingChecker",
    "IUsernameMD5Password",
]


class IPerspective(Interface):
    """One user's view of an application, made by a realm for PB.

    Everything that the user's peer calls on its avatar arrives at one method.
    :class:`~pb_cred.Avatar` is the usual implementation.
    """

    def perspectiveMessageReceived(
        broker: Any, message: str, args: Any, kwargs: Any
    ) -> Any:
        """Handle a call of the peer.

        Args:
            broker: The broker of the connection that the call came through.
            message: The name of what was called.
            args: The positional arguments, a tuple.  ``broker.unserialize(args)``
                gives them back unchanged.
            kwargs: The keyword arguments, a dict; likewise.

        Returns:
            The result: a value, a Deferred, a coroutine, or what
            ``broker.serialize`` makes of one.
        """


class IUsernameMD5Password(ICredentials):
    """A name, and the proof that a password is known, checkable against its MD5.

    A checker that accepts these can store MD5 digests of passwords in place of the
    passwords.  That is hardly better: who steals such a digest can log in with it.

    Attributes:
        username: The name, as bytes.
    """

    def checkPassword(password: Any) -> Any:
        """Tell whether the proof was made with ``password``: a bool, or a Deferred."""

    def checkMD5Password(password: Any) -> Any:
        """Tell likewise, given the MD5 digest of the password."""


class IScramVerifiers(Interface):
    """A password store that can serve SCRAM-SHA-256."""

    def scram_verifier(username: Any) -> Any:
        """Look up the SCRAM verifier of a user.

        Args:
            username: The name that somebody wants to log in with, as bytes.

        Returns:
            A ``pb_cred.stores.Verifier``, or a Deferred with one.  For a user that
            there is not, or who has none, it is a stand-in that no password fits
            and that is the same each time, with iterations and a salt's length that
            users have: nobody can tell the two apart.
        """


class IStandingChecker(Interface):
    """A checker that can tell whether an answer of its own still holds.

    A realm may take its time for an avatar.  A password that is changed meanwhile is
    not to let anybody in, and a checker cannot simply be asked again: codes that are
    good once are not good twice.
    """

    def still_holds(credentials: Any, avatar_id: Any) -> Any:
        """Tell whether credentials that were accepted would be accepted now.

        Args:
            credentials: The same object that ``requestAvatarId`` was given.
            avatar_id: The avatar id that it has answered.

        Returns:
            A bool, or a Deferred or an awaitable with one.
        """
