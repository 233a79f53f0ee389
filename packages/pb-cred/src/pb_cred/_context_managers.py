"""This module has connections that log in, and servers, that last an ``async with``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from twisted.cred.portal import Portal
from twisted.python.failure import Failure

import pb_broker
from pb_broker import RemoteReference
from pb_broker.extending import (
    Client,
    ClientPlace,
    Greeting,
    Reconnecting,
    ServedRoot,
    ServerPlace,
    Serving,
    client_factory_of,
    renamed,
    server_factory_of,
)
from pb_cred._client.client_factory import PBClientFactory, log_in
from pb_cred._client.options import ClientKeywords
from pb_cred._server.options import ServerKeywords
from pb_cred._server.server_factory import PBServerFactory
from pb_cred._tickets.ticket import Ticket

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pb_cred._client.client_service import PBClientService

__all__ = ["client", "greeting", "reconnecting", "serve"]


def greeting(credentials: object, mind: object) -> Greeting | None:
    """Return a function that logs in on a connection; None without credentials."""
    if credentials is None:
        return None
    return partial(log_in, credentials=credentials, mind=mind)


@renamed("endpoint", "where")
def client(
    where: ClientPlace,
    *,
    credentials: object | None = None,
    mind: object | None = None,
    factory: PBClientFactory | None = None,
    ssl: SSLContext | bool | None = None,
    reactor: Any = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Unpack[ClientKeywords],
) -> Client:
    """Connect and log in for as long as an ``async with``.

    For example::

        async with pb.client("tls:host:8787", credentials=credentials) as avatar:
            print(await avatar.callRemote("add", 2, 3))

    It runs on the event loop that runs: Twisted's reactor or an asyncio loop.

    Args:
        where: As for :func:`pb_broker.client`.
        credentials: As for :meth:`PBClientFactory.login`; None to use the root object
            without a login.
        mind: An object of this end for the avatar to talk to; None for none.
        factory: Makes this end; None for one that goes by the options.
        ssl: As for :func:`pb_broker.client`.
        reactor: A Twisted reactor to run on; None for the loop that runs.
        options: Options of the connection and of the login; None for the defaults.
        **keywords: Single options, by the names that :class:`ClientOptions` has.

    Returns:
        A connection to be used with ``async with``, which gives a reference to the
        avatar, and closes the connection at its end.

    Raises:
        TypeError: There is no such option, or one is of the wrong type.
    """
    made = client_factory_of(PBClientFactory, factory, options, keywords)
    greet = greeting(credentials, mind)
    return Client(where, made, greet, ssl=ssl, reactor=reactor)


@renamed("endpoint", "where")
def serve(
    where: ServerPlace,
    root: ServedRoot | Portal | pb_broker.PBServerFactory,
    *,
    grace: float | None = 5.0,
    ssl: SSLContext | None = None,
    reactor: Any = None,
    options: pb_broker.ServerOptions | None = None,
    **keywords: Unpack[ServerKeywords],
) -> Serving:
    """Serve a portal, or a root object, for as long as an ``async with``.

    It runs on the event loop that runs: Twisted's reactor or an asyncio loop.

    Args:
        where: As for :func:`pb_broker.serve`.
        root: A ``twisted.cred`` Portal, for a server that peers have to log in to; a
            :class:`pb_broker.Root`, or another object that a :class:`PBServerFactory`
            takes; or such a factory.
        grace: As for :func:`pb_broker.serve`.
        ssl: As for :func:`pb_broker.serve`.
        reactor: A Twisted reactor to run on; None for the loop that runs.
        options: Options of the server; None for the defaults.
        **keywords: Single options, by the names that :class:`ServerOptions` and
            :class:`LoginOptions` have.

    Returns:
        A server to be used with ``async with``, which gives a
        :class:`pb_broker.Server`.

    Raises:
        TypeError: There is nothing to serve, there is no such option, or one is of the
            wrong type.
    """
    factory = server_factory_of(PBServerFactory, root, options, keywords)
    return Serving(where, factory, grace, ssl=ssl, reactor=reactor)


def reconnecting(
    where: ClientPlace,
    *,
    credentials: object | None = None,
    mind: object | None = None,
    factory: PBClientFactory | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    tickets: bool | Ticket = False,
    on_ticket: Callable[[Ticket], object] | None = None,
    ssl: SSLContext | bool | None = None,
    reactor: Any = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Unpack[ClientKeywords],
) -> Reconnecting[PBClientService]:
    """Connect and log in, and again whenever the connection is lost.

    For example::

        async with pb.reconnecting(where, credentials=credentials) as service:
            print(await service.reference().callRemote("add", 2, 3))

    It runs on the event loop that runs: Twisted's reactor or an asyncio loop.

    Args:
        where: As for :func:`pb_broker.client`.
        credentials: As for :class:`PBClientService`; None to use the root object
            without a login.
        mind: An object of this end for the avatar to talk to; None for none.
        factory: Makes this end of each connection; None for one that goes by the
            options.
        retry_policy: As for :class:`PBClientService`, like the rest of the service's.
        on_connected: Called with what calls go to each time there is a connection.
        on_lost: Called with the reason each time it is lost.
        tickets: As for :class:`PBClientService`.
        on_ticket: Likewise.
        ssl: As for :func:`pb_broker.client`.
        reactor: A Twisted reactor to run on; None for the loop that runs.
        options: Options of each connection and of logins; None for the defaults.
        **keywords: Single options, by the names that :class:`ClientOptions` has.

    Returns:
        A client to be used with ``async with``, which gives the
        :class:`PBClientService`, and stops it at its end.

    Raises:
        TypeError: There is no such option, or one is of the wrong type.
    """
    # Twisted's services take as long to import as all else here together.
    from pb_cred._client.client_service import PBClientService

    make = partial(
        PBClientService,
        credentials=credentials,
        mind=mind,
        retry_policy=retry_policy,
        on_connected=on_connected,
        on_lost=on_lost,
        tickets=tickets,
        on_ticket=on_ticket,
    )
    made = client_factory_of(PBClientFactory, factory, options, keywords)
    return Reconnecting(make, made, where, ssl=ssl, reactor=reactor)
