"""This module is the key cache: it keeps the keys for tokens, and fetches new ones.

Theory of operation
-------------------
A function that gives keys is asked when there is a token to verify and no key for it.
Whoever comes meanwhile waits for the same answer.  The question belongs to nobody: it
goes on when the login that was the reason is given up.  It is asked at most once in a
while, by a clock that nobody sets; an answer that takes longer is not waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pb_broker.extending import SafeLogger
from pb_cred._threads.maybe_await import called

from .keys import Key, Keys, read_keys

__all__ = ["KeyRing"]

_log = SafeLogger(namespace="pb_cred")

#: Largest number of logins that wait for one fetch of keys.
_MOST_WAITING: Final = 1000

_seconds: Callable[[], float] = time.monotonic


class KeyRing:
    """The keys that are good now.

    Args:
        algorithms: What they are for.
        interval: How many seconds pass before a function is asked again.
        max_age: How many seconds what it gave is good for.
    """

    def __init__(
        self, algorithms: tuple[str, ...], interval: float, max_age: float
    ) -> None:
        self._algorithms = algorithms
        self._interval = interval
        self._max_age = max_age
        self._source: Callable[[], Any] | None = None
        self._keys: Keys = {}
        # Times of the last call of the function, and of its last answer, in seconds of
        # the monotonic clock; None for never.
        self._asked: float | None = None
        self._given: float | None = None
        self._asking: Deferred[Any] | None = None
        self._waiting: dict[Deferred[None], None] = {}

    def replace(self, keys: Any) -> None:
        """Take other keys, or another function that gives them.

        Raises:
            TokenKeyError: There are none, or some cannot be used; then everything
                stays as it was.
        """
        source = keys if callable(keys) else None
        found = {} if source else read_keys(keys, self._algorithms)
        old, self._asking = self._asking, None
        self._source, self._keys = source, found
        self._asked = self._given = None
        if old is not None:
            old.cancel()
        if self._source is not None and self._waiting:
            self._ask()
        if self._asking is None:
            self._wake()

    def find(self, kid: str | None) -> Any:
        """Return a key, a Deferred with one, or None if there is none.

        Args:
            kid: Its id; None for the only one that there is.
        """
        found = self._known(kid)
        is_no_question = self._source is None or (kid is None and self._is_fresh())
        if found is not None or is_no_question:
            return found
        self._ask()
        if self._asking is None or len(self._waiting) >= _MOST_WAITING:
            return self._known(kid)
        waiting: Deferred[None] = Deferred(lambda each: self._waiting.pop(each, None))
        self._waiting[waiting] = None
        return waiting.addCallback(lambda _: self._known(kid))

    def _known(self, kid: str | None) -> Key | None:
        if not self._is_fresh():
            return None
        if kid is not None:
            return self._keys.get(kid)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def _is_fresh(self) -> bool:
        if self._source is None:
            return True
        return self._given is not None and _seconds() - self._given < self._max_age

    def _ask(self) -> None:
        """Ask the function, unless that was done a short time ago."""
        now = _seconds()
        if self._asked is not None and now - self._asked < self._interval:
            return
        self._asked = now
        late, self._asking = self._asking, None
        if late is not None:
            _tell(Failure(TimeoutError("the function has not given any keys")))
            late.cancel()
            self._wake()
        self._asking = asking = called(self._source)
        asking.addCallback(self._take, asking)
        asking.addErrback(self._failed, asking)
        asking.addCallback(self._done, asking)

    def _take(self, keys: Any, asking: Deferred[Any]) -> None:
        if asking is not self._asking:
            # Other keys were put in their place.
            return
        self._keys = read_keys(keys, self._algorithms)
        self._given = _seconds()

    def _failed(self, failure: Failure, asking: Deferred[Any]) -> None:
        if asking is self._asking:
            _tell(failure)

    def _done(self, _: None, asking: Deferred[Any]) -> None:
        if asking is self._asking:
            self._asking = None
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            if not each.called:
                each.callback(None)


def _tell(failure: Failure) -> None:
    _log.failure(
        "The keys of tokens are not to be had", failure, pb_event="token_keys_failed"
    )
