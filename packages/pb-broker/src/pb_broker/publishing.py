"""This module is for publishing: copies of objects in files, which outlive connections.

A :class:`Publishable` is cached by its peers as any Cacheable is, but its state goes
only to a peer that does not have it yet: its id and the time of its last change are
sent first.  A :class:`RemotePublished` that finds the same time in its file takes the
state from there, and otherwise asks for it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

import pb_banana
import pb_jelly

from ._errors.escaped_log import SafeLogger
from ._event_loops.answers import Answer
from ._event_loops.shell import as_deferred
from ._objects.cacheable import Cacheable, RemoteCache, RemoteCacheObserver
from ._objects.copyable import attributes_of
from ._objects.viewable import ViewPoint

__all__ = ["Publishable", "RemotePublished", "whenReady"]

_log = SafeLogger(namespace="pb_broker")

#: Attributes of a RemotePublished that belong to this process and not into the file.
_TRANSIENT = (
    "broker",
    "remote",
    "luid",
    "_activationListeners",
    "_waiting",
    "_failure",
    "isActivated",
)


class Publishable(Cacheable):
    """An object whose state peers keep from one connection to the next.

    Args:
        publishedID: An id that is unique among the published objects of the server.

    Attributes:
        timestamp: Time of the last change, in seconds since 1970.
    """

    def __init__(self, publishedID: Any) -> None:
        self.republish()
        self.publishedID = publishedID

    def republish(self) -> None:
        """Note a change, which makes the copies of peers out of date."""
        self.timestamp: float = time.time()

    def view_getStateToPublish(self, perspective: Any) -> Any:
        """Return the state to a peer that does not have it."""
        return self.getStateToPublishFor(perspective)

    def getStateToPublishFor(self, perspective: Any) -> Any:
        """Return the state for one perspective."""
        return self.getStateToPublish()

    def getStateToPublish(self) -> Any:
        """Return the state, a dict of attributes."""
        raise NotImplementedError(f"{type(self).__name__}.getStateToPublish")

    def getStateToCacheAndObserveFor(
        self, perspective: Any, observer: RemoteCacheObserver
    ) -> dict[str, Any]:
        """Return the id, the time of the last change, and a reference for the state."""
        if perspective:
            perspective_name = perspective.perspectiveName
            service_name = perspective.getService().serviceName
        else:
            perspective_name = service_name = "None"
        return {
            "remote": ViewPoint(perspective, self),
            "publishedID": self.publishedID,
            "perspective": perspective_name,
            "service": service_name,
            "timestamp": self.timestamp,
        }


class RemotePublished(RemoteCache):
    """The local copy of a :class:`Publishable`.

    Attributes:
        isActivated: True once the state is here.
    """

    isActivated: Any = 0
    _wasCleanWhenLoaded: Any = 0

    def getFileName(self, ext: str = "pub") -> str:
        """Return the name of the file that keeps the state.

        Override it to keep files elsewhere than in the working directory.  Names that
        the peer chooses are a part of it, so all characters that could lead out of the
        directory are replaced.

        Args:
            ext: The ending.
        """
        parts = (self.service, self.perspective, str(self.publishedID))
        return "-".join(_harmless(part) for part in parts) + "." + ext

    service: Any
    perspective: Any
    publishedID: Any
    timestamp: Any
    remote: Any

    def setCopyableState(self, state: Any) -> None:
        """Load the state from the file if it is up to date, or else ask for it."""
        self.setCacheableState(state)
        self._activationListeners: list[Callable[[RemotePublished], object]] = []
        self._waiting: list[Deferred[RemotePublished]] = []
        self._failure: Failure | None = None
        kept = self._load()
        if kept is not None and kept.get("timestamp") == self.timestamp:
            self._cbGotUpdate(kept)
            self._wasCleanWhenLoaded = 1
            return
        asked = as_deferred(self.remote.callRemote("getStateToPublish"))
        asked.addCallback(self._cbGotUpdate)
        asked.addErrback(self._no_state)

    def _load(self) -> dict[str, Any] | None:
        try:
            with open(self.getFileName(), "rb") as file:
                data = file.read()
        except OSError:
            return None
        try:
            return attributes_of(pb_jelly.unjelly(pb_banana.decode(data)))
        except (pb_banana.BananaError, pb_jelly.JellyError) as error:
            _log.warn(
                "A kept copy cannot be read: {error}",
                pb_event="kept_copy_unreadable",
                error=error,
            )
            return None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the attributes that belong to this process."""
        return {k: v for k, v in self.__dict__.items() if k not in _TRANSIENT}

    def _cbGotUpdate(self, newState: Any) -> None:
        self.setCacheableState(newState)
        self.isActivated = 1
        listeners, self._activationListeners = self._activationListeners, []
        for listener in listeners:
            listener(self)
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(self)
        self.activated()
        expression = pb_jelly.jelly(self.__getstate__())
        data = pb_banana.encode(expression)
        with open(self.getFileName(), "wb") as file:
            file.write(data)

    def _no_state(self, failure: Failure) -> None:
        _log.failure(
            "The state of a published object could not be had",
            failure,
            pb_event="published_state_missing",
        )
        self._failure = failure
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.errback(failure)

    def activated(self) -> None:
        """Act on the arrival of the state; to override."""

    def callWhenActivated(self, callback: Callable[[RemotePublished], object]) -> None:
        """Call ``callback`` with this copy as soon as the state is here."""
        if self.isActivated:
            callback(self)
        else:
            self._activationListeners.append(callback)

    def when_activated(self) -> Deferred[RemotePublished]:
        """Return a Deferred that fires with this copy, or fails without its state."""
        if self.isActivated:
            return succeed(self)
        if self._failure is not None:
            return fail(self._failure)
        deferred: Deferred[RemotePublished] = Deferred()
        self._waiting.append(deferred)
        return deferred


def _harmless(part: Any) -> str:
    return re.sub(r"[^\w.-]", "_", str(part)[:80]).replace("..", "__")


def whenReady(d: Answer[Any]) -> Deferred[Any]:
    """Wait for a published object and then for its state.

    Args:
        d: The result of a ``callRemote`` whose answer is a :class:`RemotePublished`.

    Returns:
        A Deferred that fires with the object when its state is here, and fails if there
        is no object, or no state.
    """
    return as_deferred(d).addCallback(_activated)


def _activated(published: RemotePublished) -> Deferred[RemotePublished]:
    return published.when_activated()
