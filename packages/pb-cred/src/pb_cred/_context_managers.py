"""This module has connections that log in, and servers, that last an ``async with``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.portal import Portal

import pb_broker
from pb_broker.extending import (
    Client,
    ServedRoot,
    Serving,
    client_factory_of,
    server_factory_of,
)
from pb_cred._client.client_factory import PBClientFactory, log_in
from pb_cred._client.options import ClientKeywords
from pb_cred._server.options import ServerKeywords
from pb_cred._server.server_factory import PBServerFactory

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["client", "serve"]


class _LoggingIn(Client):
    """A connection and a login, for as long as an ``async with``."""

    def __init__(
        self,
        endpoint: Any,
        factory: PBClientFactory,
        credentials: Any,
        mind: Any,
        reactor: Any,
    ) -> None:
        super().__init__(endpoint, factory, reactor)
        self._credentials = credentials
        self._mind = mind

    async def _greet(self, root: Any) -> Any:
        return await log_in(root, self._credentials, self._mind)


def client(
    endpoint: Any,
    *,
    credentials: Any = None,
    mind: Any = None,
    factory: PBClientFactory | None = None,
    reactor: Any = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Unpack[ClientKeywords],
) -> Client:
    """Connect and log in for as long as an ``async with``.

    For example::

        async with pb.client("tls:host:8787", credentials=credentials) as avatar:
            print(await avatar.callRemote("add", 2, 3))

    Args:
        endpoint: As for :func:`pb_broker.client`.
        credentials: As for :meth:`PBClientFactory.login`; None to use the root object
            without a login.
        mind: An object of ours for the avatar to talk to.
        factory: Makes our end; None for one that goes by the options.
        reactor: The reactor; None for the installed one.
        options: Options of the connection and of the login; None for the defaults.
        **keywords: Single options, as for :class:`PBClientFactory`.

    Returns:
        What ``async with`` takes; it gives a reference to the avatar, and closes the
        connection at its end.
    """
    made = client_factory_of(PBClientFactory, factory, options, keywords)
    if credentials is None:
        return Client(endpoint, made, reactor)
    return _LoggingIn(endpoint, made, credentials, mind, reactor)


def serve(
    endpoint: Any,
    root: ServedRoot | Portal | pb_broker.PBServerFactory,
    *,
    grace: float | None = 5.0,
    reactor: Any = None,
    options: pb_broker.ServerOptions | None = None,
    **keywords: Unpack[ServerKeywords],
) -> Serving:
    """Serve a portal, or a root object, for as long as an ``async with``.

    Args:
        endpoint: As for :func:`pb_broker.serve`.
        root: What a :class:`PBServerFactory` takes for its first argument, such as a
            ``twisted.cred`` Portal; or such a factory.
        grace: As for :func:`pb_broker.serve`.
        reactor: The reactor; None for the installed one.
        options: Options of the server; None for the defaults.
        **keywords: Single options, as for :class:`PBServerFactory`.

    Returns:
        What ``async with`` takes; it gives Twisted's ``IListeningPort``.
    """
    factory = server_factory_of(PBServerFactory, root, options, keywords)
    return Serving(endpoint, factory, grace, reactor)
