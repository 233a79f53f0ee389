"""This module keeps large blocks of freed memory in the process, for later strings.

glibc returns free memory at the end of the heap to the system if it is more than a
threshold: a quarter of a megabyte at first, and later twice the largest block that was
ever freed.  A program that exchanges strings of half a megabyte then has a page fault
for each page of each string, which takes longer than all else that is done with them.
Allocating and freeing one block of some megabytes, which is never written to, raises
the threshold to twice its size.  With other C libraries it has no effect.
"""

from __future__ import annotations

from typing import Final

__all__ = ["keep_large_blocks"]

#: Size of the block, in bytes; twice as much free memory is kept.
_BLOCK: Final = 8 * 1024 * 1024

_done: list[bool] = []


def keep_large_blocks() -> None:
    """Raise glibc's threshold, once in the life of the process."""
    if not _done:
        _done.append(True)
        bytes(_BLOCK)
