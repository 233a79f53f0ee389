"""This module has brokers on asyncio in any case, even beside a running reactor.

:func:`pb_broker.client`, :func:`pb_broker.serve` and :func:`pb_broker.reconnecting`
find the running event loop.  Those of the same names here always run on asyncio: they
are for a task of asyncio's in a program with Twisted's reactor over asyncio's loop, and
take other arguments of the loop's methods as well::

    from pb_broker import asyncio as pb_asyncio

    async with pb_asyncio.client("tls:example.org:8787", local_addr=here) as calculator:
        print(await calculator.callRemote("add", 2, 3))

They may be awaited too, and closed by hand.  All else is in ``pb_broker``.  A call
gives an ``asyncio.Future``; methods that the peer calls may be ``async def`` and await
all of asyncio's awaitables.
"""

from __future__ import annotations

from asyncio import BaseEventLoop
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final, overload
from warnings import warn

from twisted.python.failure import Failure

from ._endpoints.argument_checks import checked_host
from ._endpoints.asyncio_connections import (
    Connecting,
    client_arguments,
    server_arguments,
)
from ._endpoints.asyncio_connections import Listening as Serving
from ._endpoints.context_managers import Reconnecting
from ._endpoints.factories import (
    PBClientFactory,
    PBServerFactory,
    client_factory_of,
    server_factory_of,
)
from ._endpoints.options import ClientOptions, ServerOptions, option_names
from ._endpoints.places import ClientPlace, ServedRoot, ServerPlace
from ._endpoints.servers import Server
from ._objects.remote_reference import RemoteReference

if TYPE_CHECKING:
    from ._endpoints.client_service import PBClientService

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


def client(
    where: ClientPlace | None = None,
    *,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: ClientOptions | None = None,
    **keywords: Any,
) -> Connecting:
    """Connect to a server.

    Args:
        where: As for :func:`pb_broker.client`; None if another argument, such as
            ``sock``, gives the place.
        ssl: TLS context, or True for the default one, in place of the description's;
            None for that one.
        factory: The factory of this end, for this one connection; None to make one with
            the options.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, named as the fields of :class:`ClientOptions`, and
            arguments of the loop's ``create_connection``, such as ``server_hostname``
            or ``local_addr``.

    Returns:
        A connection to await, or to be used with ``async with``, which gives a
        reference to the server's root object.  That fails with ``OSError`` if there is
        no server, and with :class:`~pb_broker.DeadReferenceError` if the connection is
        lost before it is ready.

    Raises:
        TypeError: ``where`` is no endpoint, or an option is of the wrong type.
        ValueError: The description describes no endpoint.
    """
    given, place = split_options(option_names(ClientOptions), keywords, *CLIENT_METHODS)
    made = client_factory_of(PBClientFactory, factory, options, given)
    return Connecting(made, client_place((where,), place, ssl))


@overload
def connect(
    where: ClientPlace,
    *,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: ClientOptions | None = None,
    **keywords: Any,
) -> Connecting: ...


@overload
def connect(
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: ClientOptions | None = None,
    **keywords: Any,
) -> Connecting: ...


def connect(
    *where: Any,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: ClientOptions | None = None,
    **keywords: Any,
) -> Connecting:
    """Connect to a server, as :func:`client` does.

    A host and a port as two arguments, or a ``path`` of a Unix socket, are accepted for
    one more minor version, with a DeprecationWarning.
    """
    given, place = split_options(option_names(ClientOptions), keywords, *CLIENT_METHODS)
    made = client_factory_of(PBClientFactory, factory, options, given)
    return Connecting(made, client_place(where, place, ssl))


@overload
def reconnecting(
    where: ClientPlace,
    *,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    options: ClientOptions | None = None,
    **keywords: Any,
) -> Reconnecting[PBClientService]: ...


@overload
def reconnecting(
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    options: ClientOptions | None = None,
    **keywords: Any,
) -> Reconnecting[PBClientService]: ...


def reconnecting(
    *where: Any,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    options: ClientOptions | None = None,
    **keywords: Any,
) -> Reconnecting[PBClientService]:
    """Connect to a server, and again whenever the connection is lost.

    Args:
        *where: As for :func:`client`; a host and a port, or a ``path``, are accepted as
            for :func:`connect`.
        ssl: As for :func:`client`.
        factory: The factory of this end of each connection; None to make one with the
            options.
        retry_policy: As for :class:`~pb_broker.PBClientService`.
        on_connected: As for :class:`~pb_broker.PBClientService`.
        on_lost: As for :class:`~pb_broker.PBClientService`.
        options: Options of each connection; None for the defaults.
        **keywords: As for :func:`client`.

    Returns:
        A client to be used with ``async with``, which gives the service.
    """
    # Twisted's services take as long to import as all else here together.
    from ._endpoints.client_service import PBClientService

    make = partial(
        PBClientService,
        retry_policy=retry_policy,
        on_connected=on_connected,
        on_lost=on_lost,
    )
    given, place = split_options(option_names(ClientOptions), keywords, *CLIENT_METHODS)
    made = client_factory_of(PBClientFactory, factory, options, given)
    return Reconnecting(make, made, client_place(where, place, ssl))


@overload
def serve(
    where: ServerPlace | None,
    root: ServedRoot | PBServerFactory,
    *,
    ssl: SSLContext | None = None,
    grace: float | None = 5.0,
    options: ServerOptions | None = None,
    **keywords: Any,
) -> Serving: ...


@overload
def serve(
    root: ServedRoot | PBServerFactory,
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | None = None,
    ssl: SSLContext | None = None,
    grace: float | None = 5.0,
    options: ServerOptions | None = None,
    **keywords: Any,
) -> Serving: ...


def serve(
    *where: Any,
    ssl: SSLContext | None = None,
    grace: float | None = 5.0,
    options: ServerOptions | None = None,
    **keywords: Any,
) -> Serving:
    """Offer a root object.

    The root object first, then a host and a port, or a ``path`` of a Unix socket, are
    accepted for one more minor version, with a DeprecationWarning.

    Args:
        *where: The endpoint and the root object, as for :func:`pb_broker.serve`.  None
            as the endpoint if another argument, such as ``sock``, gives the place.
        ssl: TLS context in place of the description's; None for that one.
        grace: Seconds in which calls may end when ``async with`` closes the server;
            None for any time.
        options: Options of the server; None for the defaults.
        **keywords: Single options, named as the fields of :class:`ServerOptions`, and
            arguments of the loop's ``create_server``, such as ``backlog`` or
            ``reuse_port``.

    Returns:
        A server to await, or to be used with ``async with``, which gives a
        :class:`Server`.

    Raises:
        TypeError: There is no root object, or an option is of the wrong type.
        ValueError: The description describes no endpoint.
    """
    given, place = split_options(option_names(ServerOptions), keywords, *SERVER_METHODS)
    root, arguments = server_place(where, place, ssl)
    made = server_factory_of(PBServerFactory, root, options, given)
    return Serving(made, arguments, grace)


#: Methods of the loop with arguments for clients, and with arguments for servers.
CLIENT_METHODS: Final = ("create_connection", "create_unix_connection")
SERVER_METHODS: Final = ("create_server", "create_unix_server")

#: Arguments of the functions here besides options and arguments of the loop's.
_PLACES: Final = frozenset({"where", "root", "host", "port", "path"})


def split_options(
    names: frozenset[str], keywords: Mapping[str, Any], *methods: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split keyword arguments into options of this package and arguments of the loop.

    Args:
        names: The names of options.
        keywords: The keyword arguments.
        *methods: Names of the loop's methods that take the others.

    Raises:
        TypeError: An argument is neither.
    """
    ours = {name: keywords[name] for name in names & keywords.keys()}
    others = {name: value for name, value in keywords.items() if name not in ours}
    unknown = others.keys() - _PLACES
    for method in methods:
        function = getattr(BaseEventLoop, method)
        unknown -= signature(function).parameters.keys()
    for name in unknown:
        raise TypeError(f"there is no argument {name!r}, here nor of asyncio's loops")
    return ours, others


def client_place(
    where: tuple[Any, ...], place: dict[str, Any], ssl: SSLContext | bool | None
) -> dict[str, Any]:
    """Return the arguments of a place to connect to, for :class:`Connecting`.

    Args:
        where: Positional arguments: an endpoint, or a host and a port.
        place: Arguments of the loop's, and positional ones that are given by name.
        ssl: TLS context, or True for the default one; None for the description's.

    Raises:
        TypeError: There is no endpoint, or more than one.
        ValueError: The description describes no endpoint.
    """
    place = dict(place)
    if "where" in place:
        where = (place.pop("where"), *where)
    legacy = {"host", "port", "path"} & place.keys()
    if len(where) == 1 and where[0] is not None and not legacy:
        return {**client_arguments(where[0], ssl), **place}
    if where in ((), (None,)) and not legacy and "sock" in place:
        return {"ssl": ssl, **place}
    return _legacy_place(where, place, ssl)


def server_place(
    where: tuple[Any, ...], place: dict[str, Any], ssl: SSLContext | None
) -> tuple[Any, dict[str, Any]]:
    """Return the root object, and the arguments of a place, for :class:`Serving`.

    Args:
        where: Positional arguments: an endpoint and a root; or a root, a host and a
            port.
        place: Arguments of the loop's, and positional ones that are given by name.
        ssl: TLS context; None for the description's.

    Raises:
        TypeError: There is no endpoint or no root, or there are too many arguments.
        ValueError: The description describes no endpoint.
    """
    place = dict(place)
    if "where" in place:
        where = (place.pop("where"), *where)
    if "root" in place:
        where = (*where[:1], place.pop("root"), *where[1:])
    legacy = {"host", "port", "path"} & place.keys()
    first = where[0] if where else None
    is_place = isinstance(first, str) or hasattr(first, "listen")
    if is_place and not legacy and len(where) == 2:
        return where[1], {**server_arguments(where[0], ssl), **place}
    if "sock" in place and len(where) == 2 and where[0] is None:
        return where[1], {"ssl": ssl, **place}
    if is_place or not where:
        raise TypeError("serve() takes where to listen, and a root object")
    return where[0], _legacy_place(where[1:], place, ssl)


def _legacy_place(
    where: tuple[Any, ...], place: dict[str, Any], ssl: SSLContext | bool | None
) -> dict[str, Any]:
    """Return arguments of the loop's for a host and a port, or a path.

    Raises:
        TypeError: The host or the port is of the wrong type.
        ValueError: There are two places.
    """
    if len(where) > 2:
        raise TypeError("where to connect to, or to listen, is one argument")
    given = {**dict(zip(("host", "port"), where, strict=False)), **place}
    host, port, path = (given.pop(name, None) for name in ("host", "port", "path"))
    checked_host(host, port)
    warn(
        "a host and a port, or a path, are deprecated as arguments of their own:"
        " describe an endpoint, such as tls:example.org:8787 or unix:/run/socket",
        DeprecationWarning,
        stacklevel=4,
    )
    if path is None:
        arguments: dict[str, Any] = {"host": host, "port": port}
    elif host is None and port is None:
        arguments = {"path": path}
    else:
        raise ValueError("a path takes the place of host and port")
    return {**arguments, "ssl": ssl, **given}
