"""This module logs in on asyncio alone, beside any other event loop.

:func:`pb_cred.client`, :func:`pb_cred.serve` and :func:`pb_cred.reconnecting` find out
on which event loop they run; those of the same names here run on asyncio, as those of
:mod:`pb_broker.asyncio` do::

    from pb_cred import asyncio as pb_asyncio

    async with pb_asyncio.client(
        "tls:example.org:8787", credentials=UsernamePassword(*words), local_addr=here
    ) as avatar:
        print(await avatar.callRemote("add", 2, 3))

A realm's ``requestAvatar`` and a checker's ``requestAvatarId`` may be ``async def`` and
await anything of asyncio's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final, overload

from twisted.cred.portal import Portal
from twisted.python.failure import Failure

import pb_broker
from pb_broker import RemoteReference
from pb_broker.asyncio import Connecting, Reconnecting, Server, Serving
from pb_broker.extending import (
    CLIENT_METHODS,
    SERVER_METHODS,
    ClientPlace,
    ServedRoot,
    ServerPlace,
    client_factory_of,
    client_place,
    option_names,
    server_factory_of,
    server_place,
    split_options,
)

from ._client.client_factory import PBClientFactory
from ._client.options import ClientOptions
from ._context_managers import greeting
from ._server.options import LoginOptions, ServerOptions
from ._server.server_factory import PBServerFactory
from ._tickets.ticket import Ticket

if TYPE_CHECKING:
    from ._client.client_service import PBClientService

__all__ = [
    "Connecting",
    "Reconnecting",
    "Server",
    "Serving",
    "client",
    "connect",
    "reconnecting",
    "serve",
]

_CLIENT_OPTIONS: Final = option_names(ClientOptions)
_SERVER_OPTIONS: Final = option_names(ServerOptions) | option_names(LoginOptions)


def client(
    where: ClientPlace | None = None,
    *,
    credentials: object | None = None,
    mind: object | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Any,
) -> Connecting:
    """Connect to a server, and log in.

    Args:
        where: As for :func:`pb_broker.asyncio.client`.
        credentials: As for :meth:`pb_cred.PBClientFactory.login`; None to use the root
            object without a login.
        mind: An object of this end for the avatar to talk to; None for none.
        ssl: As for :func:`pb_broker.asyncio.client`.
        factory: Makes this end; None for one that goes by the options.
        options: Options of the connection and of the login; None for the defaults.
        **keywords: Single options, by the names that :class:`pb_cred.ClientOptions`
            has, and arguments of the loop's ``create_connection``.

    Returns:
        A connection to await, or to be used with ``async with``, which gives a
        reference to the avatar.  That fails as :func:`pb_broker.asyncio.client` does,
        and with ``twisted.cred.error.UnauthorizedLogin`` if the server does not let the
        user in.

    Raises:
        TypeError: The endpoint is none, or an option is of the wrong type.
        ValueError: The description is none of an endpoint.
    """
    given, place = split_options(_CLIENT_OPTIONS, keywords, *CLIENT_METHODS)
    made = client_factory_of(PBClientFactory, factory, options, given)
    arguments = client_place((where,), place, ssl)
    return Connecting(made, arguments, greeting(credentials, mind))


@overload
def connect(
    where: ClientPlace,
    *,
    credentials: object | None = None,
    mind: object | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Any,
) -> Connecting: ...


@overload
def connect(
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | None = None,
    credentials: object | None = None,
    mind: object | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Any,
) -> Connecting: ...


def connect(
    *where: Any,
    credentials: object | None = None,
    mind: object | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Any,
) -> Connecting:
    """Connect to a server, and log in, as :func:`client` does.

    A host and a port as two arguments, or a ``path`` of a Unix socket, are understood
    for one more minor version, with a DeprecationWarning.
    """
    given, place = split_options(_CLIENT_OPTIONS, keywords, *CLIENT_METHODS)
    made = client_factory_of(PBClientFactory, factory, options, given)
    arguments = client_place(where, place, ssl)
    return Connecting(made, arguments, greeting(credentials, mind))


@overload
def reconnecting(
    where: ClientPlace,
    *,
    credentials: object | None = None,
    mind: object | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    tickets: bool | Ticket = False,
    on_ticket: Callable[[Ticket], object] | None = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Any,
) -> Reconnecting[PBClientService]: ...


@overload
def reconnecting(
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | None = None,
    credentials: object | None = None,
    mind: object | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    tickets: bool | Ticket = False,
    on_ticket: Callable[[Ticket], object] | None = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Any,
) -> Reconnecting[PBClientService]: ...


def reconnecting(
    *where: Any,
    credentials: object | None = None,
    mind: object | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    tickets: bool | Ticket = False,
    on_ticket: Callable[[Ticket], object] | None = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Any,
) -> Reconnecting[PBClientService]:
    """Connect and log in, and again whenever the connection is lost.

    Args:
        *where: As for :func:`pb_broker.asyncio.reconnecting`.
        credentials: As for :class:`pb_cred.PBClientService`, like the rest.
        mind: An object of this end for the avatar to talk to; None for none.
        ssl: As for :func:`client`.
        factory: Makes this end of each connection; None for one that goes by the
            options.
        retry_policy: Seconds to wait after attempts that have failed.
        on_connected: Called with what calls go to each time there is a connection.
        on_lost: Called with the reason each time it is lost.
        tickets: As for :class:`pb_cred.PBClientService`.
        on_ticket: Likewise.
        options: Options of each connection and of logins; None for the defaults.
        **keywords: As for :func:`client`.

    Returns:
        A client to be used with ``async with``, which gives the service, whose
        ``when_avatar`` gives a Future.
    """
    # Twisted's services take as long to import as all else here together.
    from ._client.client_service import PBClientService

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
    given, place = split_options(_CLIENT_OPTIONS, keywords, *CLIENT_METHODS)
    made = client_factory_of(PBClientFactory, factory, options, given)
    return Reconnecting(make, made, client_place(where, place, ssl))


@overload
def serve(
    where: ServerPlace | None,
    root: ServedRoot | Portal | pb_broker.PBServerFactory,
    *,
    ssl: SSLContext | None = None,
    grace: float | None = 5.0,
    options: pb_broker.ServerOptions | None = None,
    **keywords: Any,
) -> Serving: ...


@overload
def serve(
    root: ServedRoot | Portal | pb_broker.PBServerFactory,
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | None = None,
    ssl: SSLContext | None = None,
    grace: float | None = 5.0,
    options: pb_broker.ServerOptions | None = None,
    **keywords: Any,
) -> Serving: ...


def serve(
    *where: Any,
    ssl: SSLContext | None = None,
    grace: float | None = 5.0,
    options: pb_broker.ServerOptions | None = None,
    **keywords: Any,
) -> Serving:
    """Serve a portal, or a root object.

    Args:
        *where: Where to listen, and the portal or root object; as for
            :func:`pb_cred.serve`.  The old order is understood as for
            :func:`pb_broker.asyncio.serve`.
        ssl: As for :func:`pb_broker.asyncio.serve`.
        grace: As for :func:`pb_broker.asyncio.serve`.
        options: Options of the server; None for the defaults.
        **keywords: Single options, by the names that :class:`pb_cred.ServerOptions` and
            :class:`pb_cred.LoginOptions` have, and arguments of the loop's
            ``create_server``.

    Returns:
        A server to await, or to be used with ``async with``, which gives a
        :class:`Server`.

    Raises:
        TypeError: There is nothing to serve, or an option is of the wrong type.
        ValueError: The description is none of an endpoint.
    """
    given, place = split_options(_SERVER_OPTIONS, keywords, *SERVER_METHODS)
    root, arguments = server_place(where, place, ssl)
    made = server_factory_of(PBServerFactory, root, options, given)
    return Serving(made, arguments, grace)
