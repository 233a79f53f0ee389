"""This module has the memory of large strings kept for the next ones.

glibc gives what is free at the end of the heap back to the system where that is more
than a threshold: a quarter of a megabyte at first, and later twice the largest block
that it has seen come and go.  A program that exchanges strings of half a megabyte then
meets each page of each of them anew, which takes longer than all else that is done with
them.  One block of some megabytes, which nobody ever writes to, settles that: from then
on twice as much is kept.  Other C libraries are not impressed.
"""

from __future__ import annotations

from typing import Final

__all__ = ["keep_large_blocks"]

#: Twice as much is kept.
_BLOCK: Final = 8 * 1024 * 1024

_done: list[bool] = []


def keep_large_blocks() -> None:
    """Have the memory of large strings kept, from the first of them on."""
    if not _done:
        _done.append(True)
        bytes(_BLOCK)
