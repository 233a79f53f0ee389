"""This module has the deferred root, a stand-in for a root object that comes later."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from .referenceable import Referenceable

__all__ = ["LaterRoot"]


class LaterRoot(Referenceable):
    """A stand-in that keeps calls until the root object is there, and passes them on.

    Args:
        coming: A Deferred of the root object.
    """

    def __init__(self, coming: Deferred[Any]) -> None:
        self._waiting: list[Deferred[Any]] = []
        self._root: Any = None
        self._is_here = False
        self._failure: Any = None
        coming.addCallbacks(self._came, self._failed)

    def _pb_called(self) -> object:
        return self._root if self._is_here else self

    def _came(self, root: Any) -> None:
        self._root = root
        self._is_here = True
        self._tell()

    def _failed(self, failure: Any) -> None:
        self._failure = failure
        self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(self._failure)

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Pass a call on to the root object, when it is there.

        The call fails with the reason if there is none.
        """
        if self._is_here:
            return self._root.remoteMessageReceived(broker, message, args, kw)
        coming: Deferred[Any] = Deferred()
        if self._failure is None:
            self._waiting.append(coming)
        else:
            coming.errback(self._failure)
        return coming.addCallback(
            lambda _: self._root.remoteMessageReceived(broker, message, args, kw)
        )
