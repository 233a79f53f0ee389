"""This module says in what way the drop-in differs from us.

There is one :class:`~pb_broker.extending.Compatibility` for all its brokers, and
one place for the limits that ``twisted.spread`` lets a program change for the whole
process by writing to a module.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from math import inf
from typing import Final

from pb_banana import Limits
from pb_broker import BrokerLimits
from pb_broker.extending import Compatibility, DefaultLimits

__all__ = [
    "PROFILE",
    "prefix_limit",
    "reference_limit",
    "set_prefix_limit",
    "set_reference_limit",
    "set_size_limit",
    "size_limit",
    "wire_limits",
]

_SIZE: Final = 640 * 1024
#: A message has no limit in the original but that on each of its parts; ours has
#: one, which no program that works with the original is likely to meet.
_MESSAGE: Final = 256 * 1024 * 1024
_NODES: Final = 16 * 1024 * 1024
#: The original's recursion ends at some 300 nested values, each of two levels.
_DEPTH: Final = 1000

PROFILE: Final = Compatibility(
    "twisted.spread",
    lenient=True,
    defaults=DefaultLimits(
        BrokerLimits(
            wire=Limits(
                message_bytes=_MESSAGE,
                string_bytes=_SIZE,
                list_items=_SIZE,
                nodes=_NODES,
                depth=_DEPTH,
                prefix_bytes=64,
            ),
            exported_references=1024,
            imported_references=sys.maxsize,
            calls_in_flight=sys.maxsize,
            output_bytes=sys.maxsize,
        )
    ),
    handshake_timeout=inf,
    login_timeout=inf,
    login_limits=None,
    login_backlog=None,
    login_tries=None,
    # Programs compare the texts of exceptions.
    explains_failures=False,
    # Tests of programs wait for such errors.
    logs_misdirected=True,
    # Programs may rely on each call being made when it comes.
    shares_turns=False,
)
"""The profile of the drop-in's brokers."""


def wire_limits() -> Limits:
    """Return the limits of a message, as they are now."""
    return PROFILE.defaults.broker.wire


def _set_wire(limits: Limits) -> None:
    PROFILE.defaults.broker = replace(PROFILE.defaults.broker, wire=limits)


def size_limit() -> int:
    """Return what ``banana.SIZE_LIMIT`` is now."""
    return wire_limits().string_bytes


def set_size_limit(limit: int) -> None:
    """Allow strings of so many bytes, and lists of so many items.

    Args:
        limit: The number.  A message may always have room for two of the largest.
    """
    _set_wire(
        replace(
            wire_limits(),
            string_bytes=limit,
            list_items=limit,
            message_bytes=max(_MESSAGE, 2 * limit),
            nodes=max(_NODES, 2 * limit),
        )
    )


def prefix_limit() -> int:
    """Return how many bytes of prefix a token may have."""
    return wire_limits().prefix_bytes


def set_prefix_limit(limit: int) -> None:
    """Allow tokens so many bytes of prefix, on connections made from now on."""
    _set_wire(replace(wire_limits(), prefix_bytes=limit))


def reference_limit() -> int:
    """Return what ``pb.MAX_BROKER_REFS`` is now."""
    return PROFILE.defaults.broker.exported_references


def set_reference_limit(limit: int) -> None:
    """Let each peer hold so many references, from now on."""
    PROFILE.defaults.broker = replace(
        PROFILE.defaults.broker, exported_references=limit
    )
