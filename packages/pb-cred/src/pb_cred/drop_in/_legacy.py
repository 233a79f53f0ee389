"""This module defines the legacy profile and limits of the drop-in.

All its brokers have one profile, a :class:`~pb_broker.extending.Compatibility`.  The
limits hold for the whole process, since a program changes those of ``twisted.spread``
by writing to a module.
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

#: Largest string in bytes, and list in items, until a program changes it.
_SIZE: Final = 640 * 1024
#: Length of the longest message, in bytes.  The original limits the parts of a message
#: alone; a program that works with the original is not likely to meet this limit.
_MESSAGE: Final = 256 * 1024 * 1024
#: Largest number of values in a message.
_NODES: Final = 16 * 1024 * 1024
#: Deepest nesting, in levels.  The original's recursion ends at some 300 nested values,
#: each of two levels.
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
    # Tests of programs wait for these errors in the log.
    logs_misdirected=True,
    # Programs may rely on each call being made at its arrival.
    shares_turns=False,
)
"""The profile of the drop-in's brokers."""


def wire_limits() -> Limits:
    """Return the present limits of a message."""
    return PROFILE.defaults.broker.wire


def _set_wire(limits: Limits) -> None:
    PROFILE.defaults.broker = replace(PROFILE.defaults.broker, wire=limits)


def size_limit() -> int:
    """Return the present value of ``banana.SIZE_LIMIT``."""
    return wire_limits().string_bytes


def set_size_limit(limit: int) -> None:
    """Set the largest string in bytes, and the largest list in items.

    Args:
        limit: The number.  A message has room for two of the largest in any case.
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
    """Return the longest prefix of a token, in bytes."""
    return wire_limits().prefix_bytes


def set_prefix_limit(limit: int) -> None:
    """Set the longest prefix of a token in bytes, for later connections."""
    _set_wire(replace(wire_limits(), prefix_bytes=limit))


def reference_limit() -> int:
    """Return the present value of ``pb.MAX_BROKER_REFS``."""
    return PROFILE.defaults.broker.exported_references


def set_reference_limit(limit: int) -> None:
    """Set the largest number of references that a peer may hold."""
    PROFILE.defaults.broker = replace(
        PROFILE.defaults.broker, exported_references=limit
    )
