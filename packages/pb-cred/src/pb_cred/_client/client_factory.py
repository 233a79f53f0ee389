"""This module defines the client factory, which logs in over its connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

import pb_broker
from pb_broker import RemoteReference, SecurityOptions
from pb_broker.extending import options_of
from pb_cred._mechanisms.mechanism_table import client_mechanisms
from pb_cred.mechanisms import ClientMechanism

from . import mechanism_choice
from .options import ClientFactoryKeywords, ClientOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["PBClientFactory", "log_in"]


class PBClientFactory(pb_broker.PBClientFactory):
    """Makes the client's end of a connection, and logs in.

    Args:
        unsafeTracebacks: As in :class:`ClientOptions`; None for what ``options`` say.
        security: Likewise.
        options: Options of the client; None for the defaults.
        **keywords: Single options, by the names that :class:`ClientOptions` has for
            them, in place of those in ``options``.

    Raises:
        TypeError: There is no such option, or one is of the wrong type.
        ValueError: There is no such mechanism, or a time is negative.
    """

    # Class attributes, for subclasses whose __init__ does not call this one.
    mechanisms: tuple[ClientMechanism, ...] | None = None
    allow_legacy_md5: bool = False

    def __init__(
        self,
        unsafeTracebacks: Any = None,
        security: SecurityOptions | None = None,
        *,
        options: pb_broker.ClientOptions | None = None,
        **keywords: Unpack[ClientFactoryKeywords],
    ) -> None:
        taken = options_of(ClientOptions, options, keywords, type(self).__name__)
        super().__init__(unsafeTracebacks, security, options=taken)
        if taken.mechanisms is not None:
            self.mechanisms = client_mechanisms(taken.mechanisms)
        if taken.allow_legacy_md5 is not None:
            self.allow_legacy_md5 = taken.allow_legacy_md5

    def login(
        self,
        credentials: object,
        client: object | None = None,
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
            mechanisms: Mechanisms to log in by, the best first; None for those of the
                factory.

        Returns:
            A Deferred with a reference to the avatar.  It fails with
            ``twisted.cred.error.UnauthorizedLogin`` if the server does not know the
            name with this password, with :class:`~pb_cred.NoMechanism` if it offers no
            mechanism that is good enough, and with :class:`~pb_cred.MechanismError` if
            it cannot show that it is the right server.  Cancelling it gives up.

        Raises:
            ValueError: There is no such mechanism.
        """
        wanted = None if mechanisms is None else client_mechanisms(mechanisms)
        return self.getRootObject().addCallback(log_in, credentials, client, wanted)


def log_in(
    root: RemoteReference[Any],
    credentials: object,
    mind: object | None,
    mechanisms: Iterable[str | ClientMechanism] | None = None,
) -> Deferred[RemoteReference]:
    """Log in at a server's root object; see :meth:`PBClientFactory.login`."""
    factory = root.broker.factory
    if mechanisms is None:
        mechanisms = getattr(factory, "mechanisms", None)
    allows_md5 = getattr(factory, "allow_legacy_md5", False)
    return mechanism_choice.log_in(root, credentials, mind, mechanisms, allows_md5)
