"""This module has the published views: tables of a connection, under PB's names.

Programs read them, and a few write to them: their types and contents are those of
``twisted.spread``, independent of the tables behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from pb_broker._limits import BrokerLimits
from pb_broker._objects.disconnect_notices import Notices
from pb_broker._session.exports import Local, LocalObjects
from pb_broker._session.ownership import Ownership
from pb_broker._session.session import Session
from pb_jelly import Taster

from .lifecycle import Lifecycle

__all__ = ["PublishedViews"]


class PublishedViews:
    """The published views of a broker's tables.

    Attributes:
        lifecycle: The state of the connection.
        session: The session.
    """

    lifecycle: Lifecycle
    session: Session

    @property
    def security(self) -> Taster:
        """The policy by which the peer's values are accepted and ours are sent."""
        return self.session.serializer.security

    @security.setter
    def security(self, security: Taster) -> None:
        self.session.serializer.security = security

    @property
    def limits(self) -> BrokerLimits | None:
        """Limits of this connection alone; None for those of all connections."""
        return self.session.quotas.limits

    @property
    def ownership(self) -> Ownership | None:
        """The owners of the peer's references; None if there are none."""
        return self.session.ownership

    @property
    def maxBrokerRefsViolations(self) -> int:
        """The number of values refused because the peer holds too many objects."""
        return self.session.quotas.violations

    @property
    def localObjects(self) -> LocalObjects:
        """Objects of ours that the peer can call, by luid or well-known name."""
        return LocalObjects(self.session.exports)

    @property
    def luids(self) -> dict[Any, int]:
        """Luids of the objects that the peer can call, by process-unique id."""
        self.session.exports.begin()
        return self.session.exports.luids

    @property
    def remotelyCachedObjects(self) -> dict[int, Local]:
        """Objects of ours that the peer has cached, by luid."""
        self.session.caches.begin()
        return self.session.caches.objects

    @property
    def remotelyCachedLUIDs(self) -> dict[Any, int]:
        """Luids of the objects that the peer has cached, by process-unique id."""
        self.session.caches.begin()
        return self.session.caches.luids

    @property
    def locallyCachedObjects(self) -> dict[int, Any]:
        """Caches of the peer's objects, by the peer's luid."""
        return self.session.caches.kept()

    @property
    def waitingForAnswers(self) -> Mapping[int, Deferred[Any]]:
        """Calls that wait for an answer, by request id."""
        return self.session.outgoing.listed()

    @property
    def connects(self) -> list[Callable[[], object]] | None:
        """Callbacks given to :meth:`notifyOnConnect`; None once the peer is ready."""
        return self.lifecycle.connects

    @property
    def disconnects(self) -> Notices:
        """Callbacks given to :meth:`notifyOnDisconnect`, to be used as a list."""
        return self.lifecycle.disconnect_notices()

    @property
    def failures(self) -> list[Callable[[], object]]:
        """Callbacks given to :meth:`notifyOnFail`."""
        return self.lifecycle.failure_callbacks()

    @property
    def _localCleanup(self) -> dict[Any, Callable[[], object]]:
        exports = self.session.exports
        if exports.cleanups is None:
            exports.cleanups = {}
        return exports.cleanups

    @property
    def serializingPerspective(self) -> Any:
        """The perspective for which a value is being serialized right now."""
        context = self.session.serializer.context
        return None if context is None else context.perspective

    @property
    def unserializingPerspective(self) -> Any:
        """The perspective for which a value is being unserialized right now."""
        return self.serializingPerspective

    @property
    def jellyMethod(self) -> Any:
        """The method whose result is being serialized right now; None if unknown."""
        context = self.session.serializer.context
        return None if context is None else context.method

    @property
    def jellyArgs(self) -> Any:
        """Positional arguments of that method's call; None if unknown."""
        context = self.session.serializer.context
        return None if context is None else context.args

    @property
    def jellyKw(self) -> Any:
        """Keyword arguments of that method's call; None if unknown."""
        context = self.session.serializer.context
        return None if context is None else context.kw
