"""This module keeps a client connected and logged in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

import pb_broker
from pb_broker import RemoteReference

from ._factories import PBClientFactory, log_in

__all__ = ["PBClientService"]


class PBClientService(pb_broker.PBClientService):
    """Connects to a server and logs in, and again whenever the connection is lost.

    Args:
        endpoint: As for :class:`pb_broker.PBClientService`, like the rest.
        factory: Makes our end of each connection.
        credentials: Who to log in as; None for not at all.
        mind: An object of ours for the avatar to talk to.
        retry_policy: How long to wait after attempts that failed.  A login that is
            refused is such an attempt.
        on_connected: Called with what calls go to: the avatar, where there is one.
        on_lost: Called with the reason when the connection is lost.
        clock: An ``IReactorTime``; None for the reactor.
    """

    def __init__(
        self,
        endpoint: Any,
        factory: PBClientFactory,
        credentials: Any = None,
        mind: Any = None,
        *,
        retry_policy: Callable[[int], float] | None = None,
        on_connected: Callable[[Any], Any] | None = None,
        on_lost: Callable[[Failure], object] | None = None,
        clock: Any = None,
    ) -> None:
        super().__init__(
            endpoint,
            factory,
            retry_policy=retry_policy,
            on_connected=on_connected,
            on_lost=on_lost,
            clock=clock,
        )
        self._credentials = credentials
        self._mind = mind

    def when_avatar(self, fail_after: int | None = None) -> Deferred[RemoteReference]:
        """Wait until we are logged in.

        Args:
            fail_after: As for :meth:`when_root`.

        Returns:
            A Deferred with a reference to the avatar.

        Raises:
            ValueError: There are no credentials to log in with.
        """
        if self._credentials is None:
            raise ValueError("without credentials there is no avatar")
        waiting: Deferred[Any] = self._shell.given(self._when_current(fail_after))
        return waiting

    def _greet(self, root: Any) -> Any:
        if self._credentials is None:
            return root
        return log_in(root, self._credentials, self._mind)
