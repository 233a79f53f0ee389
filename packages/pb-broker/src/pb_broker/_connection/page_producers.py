"""This module sends the pages of pagers, one whenever the transport has room for it."""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from pb_broker._errors.call_endings import ENDINGS
from pb_broker._errors.safe_logger import SafeLogger
from pb_broker._session.peer_log import PeerLog

__all__ = ["fail_pager", "send_pages"]

_log = SafeLogger(namespace="pb_broker")


def send_pages(producers: list[Any], log: PeerLog) -> None:
    """Send a page of each pager, and drop those that have no more.

    Args:
        producers: The pagers; it is changed.
        log: The log of what the peer causes.
    """
    # Backwards, as ever.
    over = {id(each) for each in producers[::-1] if not _send_page(each, log)}
    if over:
        producers[:] = [each for each in producers if id(each) not in over]


def _send_page(pager: Any, log: PeerLog) -> bool:
    """Send a page of a pager; tell whether it has more."""
    try:
        pager.sendNextPage()
        return bool(pager.stillPaging())
    except ENDINGS:
        # No other pager, nor the transport that asks for pages, has to do with it.
        failure = Failure()
        if log.allows():
            _log.failure("A pager failed", failure, pb_event="pager_failed")
        fail_pager(pager, failure, log)
        log.see_to_ctrl_c(failure)
        return False


def fail_pager(pager: Any, failure: Failure, log: PeerLog) -> None:
    """Tell a pager that no more pages can be sent.

    Args:
        pager: The pager.
        failure: The reason.
        log: The log of what the peer causes.
    """
    # A program may have one that is not ours.
    fail = getattr(pager, "paging_failed", None)
    if fail is not None:
        log.run(fail, failure)
