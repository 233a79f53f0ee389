"""This module defines avatars, the objects of users on the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.cred.portal import IRealm
from zope.interface import implementer

from pb_broker.extending import Called, arguments_of, find_method
from pb_cred.interfaces import IPerspective

__all__ = ["Avatar", "Perspective", "Realm"]


@implementer(IPerspective)
class Avatar(Called):
    """A user of the application, as long as one login of theirs lasts.

    Subclasses add ``perspective_`` methods: a call of ``x`` by the user's peer runs
    ``perspective_x``.  The method may be an ordinary one, may return a Deferred, or
    may be an ``async def``.  Values are serialized for this avatar: the peer sees a
    :class:`~pb_broker.Viewable` in them as it looks from here.

    Subclasses need not call ``__init__``: :func:`~pb_cred.session_of` finds the
    session, and with it the facts of the login.

    Args:
        avatarId: The user, in the form in which the portal's checker gives it: for
            logins with a password, the name as bytes; for anonymous ones, an empty
            tuple.
    """

    _pb_prefix = "perspective_"
    _pb_entry = "perspectiveMessageReceived"

    avatarId: Any = None

    def __init__(self, avatarId: Any = None) -> None:
        self.avatarId = avatarId

    def _pb_perspective(self) -> Any:
        return self

    def perspectiveMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Run the method that the peer called.

        Args:
            broker: The broker through which the call came.
            message: The method's name without its prefix.
            args: The positional arguments: a tuple, or the jelly of one.
            kw: The keyword arguments: a dict, or the jelly of one.

        Returns:
            The method's result; the broker serializes it.

        Raises:
            NoSuchMethod: There is no ``perspective_`` method of that name.
        """
        args, kw = arguments_of(broker, args, kw, self)
        method = find_method(self, "perspective_", message)
        return method(*args, **kw)

    def logout(self) -> Any:
        """Clean up at the end of the login; called once for each login."""


class Perspective(Avatar):
    """An avatar, under the name that programs of PB's early days have for it.

    Args:
        avatarId: As for :class:`Avatar`.
    """


@implementer(IRealm)
class Realm:
    """A realm that makes an avatar for everybody whom the portal lets in.

    Args:
        avatar_factory: Called with the avatar id; returns an :class:`Avatar`.
        revokes_references: Whether the end of a login takes back what the peer has
            obtained through the avatar, where the connection lasts: references to
            objects, caches and streams, at whatever depth.

    Attributes:
        revokes_references: As above; any realm may have it.
    """

    def __init__(
        self,
        avatar_factory: Callable[[Any], Avatar] = Avatar,
        *,
        revokes_references: bool = False,
    ) -> None:
        self.avatar_factory = avatar_factory
        self.revokes_references = revokes_references

    def requestAvatar(
        self, avatarId: Any, mind: object, *interfaces: Any
    ) -> tuple[Any, Avatar, Callable[[], Any]]:
        """Return an avatar for one login.

        Args:
            avatarId: What the portal's checker calls the user.
            mind: The peer's object for the avatar to talk to, or None.
            *interfaces: What the caller can use; one must be IPerspective.

        Returns:
            IPerspective, the avatar, and what to call when the login ends.

        Raises:
            NotImplementedError: An avatar of another kind is asked for.
        """
        if IPerspective not in interfaces:
            raise NotImplementedError("this realm makes avatars for IPerspective only")
        avatar = self.avatar_factory(avatarId)
        return IPerspective, avatar, avatar.logout
