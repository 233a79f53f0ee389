"""This module has connections that log in, and servers, that last an ``async with``."""

from __future__ import annotations

from typing import Any

from pb_broker.extending import Client, Serving, checked_client_factory, serving
from pb_cred._client.client_factory import PBClientFactory, log_in
from pb_cred._server.server_factory import PBServerFactory

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
        factory: Makes our end; None for one without anything special.
        reactor: The reactor; None for the installed one.

    Returns:
        What ``async with`` takes; it gives a reference to the avatar, and closes the
        connection at its end.
    """
    factory = checked_client_factory(factory, PBClientFactory)
    if credentials is None:
        return Client(endpoint, factory, reactor)
    return _LoggingIn(endpoint, factory, credentials, mind, reactor)


def serve(
    endpoint: Any, root: Any, *, grace: float | None = 5.0, reactor: Any = None
) -> Serving:
    """Serve a portal, or a root object, for as long as an ``async with``.

    Args:
        endpoint: As for :func:`pb_broker.serve`.
        root: What a :class:`PBServerFactory` takes for its first argument, such as a
            ``twisted.cred`` Portal; or such a factory.
        grace: As for :func:`pb_broker.serve`.
        reactor: The reactor; None for the installed one.

    Returns:
        What ``async with`` takes; it gives Twisted's ``IListeningPort``.
    """
    return Serving(endpoint, serving(root, PBServerFactory), grace, reactor)
