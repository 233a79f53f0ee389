"""This module keeps copies of objects in files, so that they outlive a connection.

A :class:`Publishable` is cached by its peers as any Cacheable is, but its state goes
only when a peer does not have it yet: what is sent at once is who it is and when it
last changed.  A :class:`RemotePublished` that finds the same time in its file takes
the state from there, and otherwise asks for it.
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

from ._errors.safe_logger import SafeLogger
from ._event_loops.answers import Answer
from ._event_loops.shell import as_deferred
from ._objects.cacheable import Cacheable, RemoteCache, RemoteCacheObserver
from ._objects.copyable import attributes_of
from ._objects.viewable import ViewPoint

__all__ = ["Publishable", "RemotePublished", "whenReady"]

_log = SafeLogger(namespace="pb_broker")

#: What of a RemotePublished belongs to this process and not into the file.
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
        publishedID: What tells it from the others that the same server publishes.

    Attributes:
        timestamp: When it last changed, in seconds since 1970.
    """

    def __init__(self, publishedID: Any) -> None:
        self.republish()
        self.publishedID = publishedID

    def republish(self) -> None:
        """Say that it has changed: what peers have kept is out of date."""
        self.timestamp = time.time()

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
        """Return who this is, when it changed, and where the state is to be had."""
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
        isActivated: Whether the state is here.
    """

    isActivated: Any = 0
    _wasCleanWhenLoaded: Any = 0

    def getFileName(self, ext: str = "pub") -> str:
        """Return the name of the file that keeps the state.

        Override it to keep files elsewhere than in the working directory.  What the
        peer calls itself has a part in the name, so everything that could lead out
        of the directory is taken out of it.

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
        """Take the state from the file if it is the same, or else ask for it."""
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
        """Return the state without what belongs to this process."""
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
        """Learn that the state is here; override to act on it."""

    def callWhenActivated(self, callback: Callable[[RemotePublished], object]) -> None:
        """Have ``callback`` called with this copy as soon as the state is here."""
        if self.isActivated:
            callback(self)
        else:
            self._activationListeners.append(callback)

    def when_activated(self) -> Deferred[RemotePublished]:
        """Return a Deferred with this copy when the state is here, or why it is not."""
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
        d: The answer of a call that gives a :class:`RemotePublished`, as ``callRemote``
            returns it.

    Returns:
        A Deferred that fires with the object when its state is here, and fails if there
        is no object, or no state.
    """
    return as_deferred(d).addCallback(_activated)


def _activated(published: RemotePublished) -> Deferred[RemotePublished]:
    return published.when_activated()
