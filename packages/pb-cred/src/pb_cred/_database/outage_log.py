"""This module tells the log of a store that cannot be asked, once while that lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pb_cred.errors import LoginUnavailable

__all__ = ["Outages"]


class Outages:
    """The outages of a store that logins have to ask.

    Args:
        error: What the store raises when it cannot be asked.
        tell: Tells the log, with what is the reason.
    """

    def __init__(self, error: type[Exception], tell: Callable[[str], None]) -> None:
        self._error = error
        self._tell = tell
        # Reason of the present outage, as logged; None while the store answers.
        self._told: str | None = None

    def watch(self, answer: Deferred[Any]) -> Deferred[Any]:
        """Watch the store's answer to a login.

        Args:
            answer: A Deferred with that.

        Returns:
            It; it fails with LoginUnavailable where the store cannot be asked.
        """
        return answer.addCallbacks(self._worked, self._failed)

    def _worked(self, result: Any) -> Any:
        self._told = None
        return result

    def _failed(self, failure: Failure) -> Failure:
        if failure.check(self._error) is None:
            return failure
        reason = str(failure.value)
        if reason != self._told:
            # Logged once for each outage: any peer can try to log in, and often.
            self._told = reason
            self._tell(reason)
        # The reason names the store, which is no business of the peer's.
        return Failure(LoginUnavailable("logging in is not possible at present"))
