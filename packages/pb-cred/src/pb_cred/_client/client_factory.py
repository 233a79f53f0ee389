"""This module defines the client factory, which logs in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred

import pb_broker
from pb_broker import BrokerLimits, CallObserver, Heartbeat, RemoteReference
from pb_cred._mechanisms.mechanism_table import client_mechanisms
from pb_cred.mechanisms import ClientMechanism

from . import mechanism_choice

__all__ = ["PBClientFactory", "log_in"]


class PBClientFactory(pb_broker.PBClientFactory):
    """Makes the client's end of a connection, and logs in.

    Args:
        unsafeTracebacks: As for :class:`pb_broker.PBClientFactory`.
        security: As for :class:`pb_broker.PBClientFactory`.
        limits: As for :class:`pb_broker.PBClientFactory`.
        call_timeout: As for :class:`pb_broker.PBClientFactory`.
        handshake_timeout: As for :class:`pb_broker.PBClientFactory`.
        heartbeat: As for :class:`pb_broker.PBClientFactory`.
        observer: As for :class:`pb_broker.PBClientFactory`.
        mechanisms: By which mechanisms to log in, the best first: names, or objects
            from :mod:`pb_cred.mechanisms`.  None means SCRAM-SHA-256-PLUS,
            SCRAM-SHA-256 and PLAIN for passwords, and ANONYMOUS.  An empty list means
            none: to log in as legacy peers do, if that is allowed.
        allow_legacy_md5: Whether to log in by MD5 at a server that knows nothing else,
            as a ``twisted.spread`` one; None means the default, False.

    Raises:
        ValueError: There is no such mechanism.
    """

    # Subclasses may have an __init__ of their own.
    mechanisms: tuple[ClientMechanism, ...] | None = None
    allow_legacy_md5: bool = False

    def __init__(
        self,
        unsafeTracebacks: Any = False,
        security: Any = None,
        *,
        limits: BrokerLimits | None = None,
        call_timeout: float | None = None,
        handshake_timeout: float | None = None,
        heartbeat: Heartbeat | bool | None = None,
        observer: CallObserver | None = None,
        mechanisms: Iterable[str | ClientMechanism] | None = None,
        allow_legacy_md5: bool | None = None,
    ) -> None:
        super().__init__(
            unsafeTracebacks,
            security,
            limits=limits,
            call_timeout=call_timeout,
            handshake_timeout=handshake_timeout,
            heartbeat=heartbeat,
            observer=observer,
        )
        if mechanisms is not None:
            self.mechanisms = client_mechanisms(mechanisms)
        if allow_legacy_md5 is not None:
            self.allow_legacy_md5 = allow_legacy_md5

    def login(
        self,
        credentials: Any,
        client: Any = None,
        *,
        mechanisms: Iterable[str | ClientMechanism] | None = None,
    ) -> Deferred[RemoteReference]:
        """Log in to the server; may be called before or after connecting.

        Args:
            credentials: From :mod:`twisted.cred.credentials`: ``Anonymous()``, or
                ``UsernamePassword(name, password)``, each as bytes or text; or from
                :mod:`pb_cred.certificates`, :mod:`pb_cred.tokens` or
                :mod:`pb_cred.tickets`.
            client: The *mind*: an object of ours for the avatar to talk to.
            mechanisms: By which mechanisms; None for those of the factory.

        Returns:
            A Deferred with a reference to the avatar.  It fails with
            ``twisted.cred.error.UnauthorizedLogin`` if the server does not know the
            name with this password, with :class:`~pb_cred.NoMechanism` if it offers no
            way that is good enough, and with :class:`~pb_cred.MechanismError` if it
            cannot show that it is the right server.  Cancelling it gives up.

        Raises:
            ValueError: There is no such mechanism.
        """
        wanted = None if mechanisms is None else client_mechanisms(mechanisms)
        return self.getRootObject().addCallback(log_in, credentials, client, wanted)


def log_in(
    root: Any,
    credentials: Any,
    mind: Any,
    mechanisms: Iterable[str | ClientMechanism] | None = None,
) -> Deferred[RemoteReference]:
    """Log in at a server's root object; see :meth:`PBClientFactory.login`."""
    factory = root.broker.factory
    if mechanisms is None:
        mechanisms = getattr(factory, "mechanisms", None)
    allows_md5 = getattr(factory, "allow_legacy_md5", False)
    return mechanism_choice.log_in(root, credentials, mind, mechanisms, allows_md5)
