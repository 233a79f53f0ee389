"""This module writes a list path: the place of a value in nested lists."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["path_of"]

# Most indices shown of each end of a path, since a peer decides its length.
_SHOWN = 8


def path_of(indices: Sequence[int]) -> str:
    """Return the place that *indices* lead to, as Python would write it.

    Args:
        indices: Index into each list on the way, outermost first.

    Returns:
        Text such as ``[3][0]``, bounded in length however deep the place is.
    """
    shown = [f"[{index}]" for index in indices[:_SHOWN]]
    rest = indices[_SHOWN:]
    if len(rest) > _SHOWN:
        shown.append(f"...{len(rest) - _SHOWN} more...")
        rest = rest[-_SHOWN:]
    shown.extend(f"[{index}]" for index in rest)
    return "".join(shown)
