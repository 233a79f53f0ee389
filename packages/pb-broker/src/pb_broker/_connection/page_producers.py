"""This module serves page producers: pagers that send a page on request."""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from pb_broker._errors.call_endings import ENDINGS
from pb_broker._errors.caught_failure import caught_failure
from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._session.peer_log import PeerLog

__all__ = ["fail_pager", "send_pages"]

_log = SafeLogger(namespace="pb_broker")


def send_pages(producers: list[Any], log: PeerLog) -> None:
    """Send a page of each pager, and drop those that have no more.

    Args:
        producers: The pagers; those without a further page are removed from the list.
        log: The log for events that the peer causes.
    """
    # Backwards, in the order of twisted.spread.
    over = {id(each) for each in producers[::-1] if not _send_page(each, log)}
    if over:
        producers[:] = [each for each in producers if id(each) not in over]


def _send_page(pager: Any, log: PeerLog) -> bool:
    """Send a page of a pager; return True if it has more."""
    try:
        pager.sendNextPage()
        return bool(pager.stillPaging())
    except ENDINGS:
        # The failure is this pager's alone; the others go on.
        failure = caught_failure()
        if log.allows():
            _log.failure("A pager failed", failure, pb_event="pager_failed")
        fail_pager(pager, failure, log)
        log.see_to_ctrl_c(failure)
        return False


def fail_pager(pager: Any, failure: Failure, log: PeerLog) -> None:
    """End a pager whose pages cannot be sent.

    Args:
        pager: The pager.
        failure: The reason.
        log: The log for events that the peer causes.
    """
    # A program's own pager class may have no such method.
    fail = getattr(pager, "paging_failed", None)
    if fail is not None:
        log.run(fail, failure)
