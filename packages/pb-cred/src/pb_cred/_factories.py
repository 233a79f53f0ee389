"""This module gives the factories their login."""

from __future__ import annotations

from typing import Any

from twisted.cred.credentials import IAnonymous
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred

import pb_broker
from pb_broker import (
    BrokerLimits,
    CallObserver,
    Heartbeat,
    IPBRoot,
    RemoteReference,
)

from . import _anonymous, _md5
from ._login_root import PortalRoot

__all__ = ["PBClientFactory", "PBServerFactory", "log_in"]


class PBClientFactory(pb_broker.PBClientFactory):
    """Makes the client's end of a connection, and logs in.

    See :class:`pb_broker.PBClientFactory` for its arguments.
    """

    def login(self, credentials: Any, client: Any = None) -> Deferred[RemoteReference]:
        """Log in to the server; may be called before or after connecting.

        Args:
            credentials: From :mod:`twisted.cred.credentials`: ``Anonymous()``, or
                ``UsernamePassword(name, password)``, each as bytes or text.
            client: The *mind*: an object of ours for the avatar to talk to.

        Returns:
            A Deferred with a reference to the avatar.  It fails with
            ``twisted.cred.error.UnauthorizedLogin`` if the server does not know the
            name with this password.  Cancelling it gives up.
        """
        return self.getRootObject().addCallback(log_in, credentials, client)


def log_in(root: Any, credentials: Any, mind: Any) -> Deferred[RemoteReference]:
    """Log in at a server's root object; see :meth:`PBClientFactory.login`."""
    if IAnonymous.providedBy(credentials):
        return _anonymous.log_in(root, mind)
    return _md5.log_in(root, credentials.username, credentials.password, mind)


class PBServerFactory(pb_broker.PBServerFactory):
    """Makes the server's end of each connection: a root object, or a login.

    Args:
        root: What provides or can be adapted to :class:`pb_broker.IPBRoot`, such as
            a :class:`pb_broker.Root`; or a ``twisted.cred`` Portal, for a server
            that peers have to log in to.
        security: The policy for the peers' values; None means
            :data:`pb_jelly.globalSecurity`.  As in ``twisted.spread``, a bool or an
            int in this place is ``unsafeTracebacks``.
        portal: Another way to give a Portal; ``root`` may then be left out, or be
            the portal's realm.  As in ``twisted.spread``, a policy in this place is
            ``security``.
        unsafeTracebacks: Whether remote methods that fail show the peer their
            traceback.
        limits: What each connection may cost; None means the process's default.
        login_limits: What it may cost as long as nobody has logged in; None means
            the default: 16 KiB, 256 nodes and 8 levels for a message, 16 references.
            Without a portal there is no login to wait for.
        call_timeout: How long answers to calls from here are waited for, in seconds;
            None for ever.
        handshake_timeout: As for :class:`pb_broker.PBServerFactory`.
        login_timeout: How many seconds a peer has to log in; None means the default,
            60.
        heartbeat: As for :class:`pb_broker.PBServerFactory`.
        login_backlog: As for :class:`pb_broker.PBServerFactory`.
        login_tries: How many refused logins end a connection; None means the default,
            6.
        observer: As for :class:`pb_broker.PBServerFactory`.

    Raises:
        TypeError: There is nothing to serve, or two things.
    """

    portal_root: type[PortalRoot] = PortalRoot

    def __init__(
        self,
        root: Any = None,
        security: Any = None,
        portal: Any = None,
        unsafeTracebacks: Any = False,
        *,
        limits: BrokerLimits | None = None,
        login_limits: BrokerLimits | None = None,
        call_timeout: float | None = None,
        handshake_timeout: float | None = None,
        login_timeout: float | None = None,
        heartbeat: Heartbeat | bool | None = None,
        login_backlog: tuple[int, int] | None = None,
        login_tries: int | None = None,
        observer: CallObserver | None = None,
    ) -> None:
        profile = self.protocol.profile
        if login_limits is None:
            login_limits = profile.login_limits
        if login_tries is None:
            login_tries = profile.login_tries
        if isinstance(security, int):
            security, unsafeTracebacks = None, security or unsafeTracebacks
        if hasattr(portal, "isTypeAllowed"):
            if security is not None:
                raise TypeError("there are two policies in place of one")
            security, portal = portal, None
        if portal is not None:
            if root is not None and not IRealm.providedBy(root):
                raise TypeError("with a portal, the only root is its login")
            root = self.portal_root(portal, login_limits, login_tries)
        elif isinstance(root, Portal) and _adapted(root) is None:
            # Somebody may have registered an adapter for portals of their own.
            root = self.portal_root(root, login_limits, login_tries)
        super().__init__(
            root,
            unsafeTracebacks,
            security,
            limits=limits,
            call_timeout=call_timeout,
            handshake_timeout=handshake_timeout,
            login_timeout=login_timeout,
            heartbeat=heartbeat,
            login_backlog=login_backlog,
            observer=observer,
        )


def _adapted(root: Any) -> Any:
    """Return what provides IPBRoot for ``root``, or None."""
    interface: Any = IPBRoot
    return interface(root, None)
