"""Logging in on asyncio, without Twisted's reactor.

:func:`connect` opens a connection, logs in and gives the avatar; :func:`serve` serves a
``twisted.cred`` Portal::

    from pb_cred import asyncio as pb_asyncio

    async with pb_asyncio.serve(portal, "localhost", 8787, ssl=context):
        async with pb_asyncio.connect(
            "localhost", 8787, ssl=trusting, credentials=UsernamePassword(*words)
        ) as avatar:
            print(await avatar.callRemote("add", 2, 3))

A realm's ``requestAvatar`` and a checker's ``requestAvatarId`` may be ``async def`` and
await anything of asyncio's.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.cred.portal import Portal

import pb_broker
from pb_broker.asyncio import Connecting, Reconnecting, Server, Serving, _split, _where
from pb_broker.extending import (
    AsyncioShell,
    ServedRoot,
    client_factory_of,
    option_names,
    server_factory_of,
)

from ._client.client_factory import PBClientFactory, log_in
from ._client.client_service import PBClientService
from ._client.options import ClientOptions
from ._server.options import LoginOptions, ServerOptions
from ._server.server_factory import PBServerFactory

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from twisted.python.failure import Failure

    from ._tickets.ticket import Ticket

__all__ = [
    "Connecting",
    "Reconnecting",
    "Server",
    "Serving",
    "connect",
    "reconnecting",
    "serve",
]


class _LoggingIn(Connecting):
    """A connection that is to be, and a login over it."""

    def __init__(
        self,
        factory: PBClientFactory,
        where: dict[str, Any],
        credentials: Any,
        mind: Any,
    ) -> None:
        super().__init__(factory, where)
        self._credentials = credentials
        self._mind = mind

    async def _greet(self, shell: AsyncioShell) -> Any:
        root = await super()._greet(shell)
        return await shell.given(log_in(root, self._credentials, self._mind))


def connect(
    host: str | None = None,
    port: int | None = None,
    *,
    credentials: Any = None,
    mind: Any = None,
    path: str | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: pb_broker.ClientOptions | None = None,
    **keywords: Any,
) -> Connecting:
    """Open a connection to a server, and log in.

    Args:
        host: Its name or address.
        port: Its port.
        credentials: As for :meth:`pb_cred.PBClientFactory.login`; None to use the root
            object without a login.
        mind: An object of ours for the avatar to talk to.
        path: Its Unix socket, in place of host and port.
        ssl: For TLS: a context, or True for the default one.
        factory: Makes our end; as for :func:`pb_broker.asyncio.connect`.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, as for a :class:`PBClientFactory`, and other
            arguments of the loop's ``create_connection``.

    Returns:
        Something to await, or to use with ``async with``, which gives a reference to
        the avatar.  That fails as :func:`pb_broker.asyncio.connect` does, and with
        ``twisted.cred.error.UnauthorizedLogin`` if the server does not let us in.
    """
    given, place = _split(option_names(ClientOptions), keywords)
    where = _where(host, port, path, place, ssl=ssl)
    made = client_factory_of(PBClientFactory, factory, options, given)
    if credentials is None:
        return Connecting(made, where)
    return _LoggingIn(made, where, credentials, mind)


def reconnecting(
    host: str | None = None,
    port: int | None = None,
    *,
    credentials: Any = None,
    mind: Any = None,
    path: str | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: pb_broker.ClientOptions | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[Any], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    tickets: bool | Ticket = False,
    on_ticket: Callable[[Ticket], object] | None = None,
    **keywords: Any,
) -> Reconnecting[PBClientService]:
    """Connect and log in, and again whenever the connection is lost.

    Args:
        host: As for :func:`connect`, like the rest of where to connect.
        port: Its port.
        credentials: As for :class:`pb_cred.PBClientService`, like the rest.
        mind: An object of ours for the avatar to talk to.
        path: Its Unix socket, in place of both.
        ssl: For TLS: a context, or True for the default one.
        factory: Makes our end of each connection.
        retry_policy: How long to wait after attempts that have failed.
        on_connected: Called with what calls go to each time there is a connection.
        on_lost: Called with the reason each time it is lost.
        tickets: As for :class:`pb_cred.PBClientService`.
        on_ticket: Likewise.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, as for a :class:`PBClientFactory`, and other
            arguments of the loop's ``create_connection``.

    Returns:
        What ``async with`` takes; it gives the service, whose ``when_avatar`` gives a
        Future.
    """
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
    given, place = _split(option_names(ClientOptions), keywords)
    where = _where(host, port, path, place, ssl=ssl)
    made = client_factory_of(PBClientFactory, factory, options, given)
    return Reconnecting(make, made, where)


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
) -> Serving:
    """Serve a portal, or a root object.

    Args:
        root: What a :class:`pb_cred.PBServerFactory` takes for its first argument, such
            as a ``twisted.cred`` Portal; or such a factory.
        host: The name or address to listen on; None for all.
        port: The port; 0 for one that is free.
        path: A Unix socket to listen on, in place of both.
        ssl: For TLS: a context.
        grace: As for :func:`pb_broker.asyncio.serve`.
        options: Options of the server; None for the defaults.
        **keywords: Single options, as for a :class:`PBServerFactory`, and other
            arguments of the loop's ``create_server``.

    Returns:
        Something to await, or to use with ``async with``, which gives a
        :class:`Server`.
    """
    names = option_names(ServerOptions) | option_names(LoginOptions)
    given, place = _split(names, keywords)
    where = _where(host, port, path, place, ssl=ssl)
    made = server_factory_of(PBServerFactory, root, options, given)
    return Serving(made, where, grace)
