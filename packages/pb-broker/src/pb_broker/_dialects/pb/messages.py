"""This module checks the shape of each message that a peer may send.

A message is a list that begins with a verb.  :data:`SHAPES` is the whole list of
verbs; what is not in it is not understood, and nothing that a peer sends is ever
looked up as a name of ours.  See "Messages" in ``docs/protocol.md``.
"""

from __future__ import annotations

from typing import Any, Final

from pb_banana import PB_VOCABULARY, Encoder, message_shapes
from pb_broker.errors import ProtocolError

__all__ = [
    "ANSWER",
    "CACHEMESSAGE",
    "CALLS",
    "COPYABLE_FAILURE",
    "DECACHE",
    "DECREF",
    "DID_NOT_UNDERSTAND",
    "ERROR",
    "HEADS",
    "MESSAGE",
    "PROTOCOL_VERSION",
    "READY",
    "SHAPES",
    "UNCACHE",
    "VERSION",
    "check",
    "encoded_name",
]

VERSION: Final = b"version"
MESSAGE: Final = b"message"
CACHEMESSAGE: Final = b"cachemessage"
ANSWER: Final = b"answer"
ERROR: Final = b"error"
DECREF: Final = b"decref"
DECACHE: Final = b"decache"
UNCACHE: Final = b"uncache"
DID_NOT_UNDERSTAND: Final = b"didNotUnderstand"

#: The verbs of calls: a request id follows.
CALLS: Final = frozenset({MESSAGE, CACHEMESSAGE})

PROTOCOL_VERSION: Final = 6

#: The name of the class of failures.
COPYABLE_FAILURE: Final = b"twisted.spread.pb.CopyableFailure"

_ANYTHING: Final = (bytes, int, float, list)

#: For each verb, the types that each of its fields may have.
SHAPES: Final[dict[bytes, tuple[tuple[type, ...], ...]]] = {
    VERSION: ((int,),),
    # request id, object id, method, answer required, arguments, keyword arguments
    MESSAGE: ((int,), (int, bytes), (bytes,), (int, list), (list,), (list,)),
    CACHEMESSAGE: ((int,), (int,), (bytes,), (int, list), (list,), (list,)),
    # request id, value
    ANSWER: ((int,), _ANYTHING),
    ERROR: ((int,), _ANYTHING),
    # object id
    DECREF: ((int, bytes),),
    DECACHE: ((int,),),
    UNCACHE: ((int,),),
    # the verb that the peer did not understand
    DID_NOT_UNDERSTAND: ((bytes,),),
}

#: The same for messages that banana reads in one step, where values are objects and
#: not expressions.
READY: Final = message_shapes(
    {
        MESSAGE: "int id name int arguments keywords",
        CACHEMESSAGE: "int int name int arguments keywords",
        ANSWER: "int value",
        ERROR: "int value",
        DECREF: "id",
        DECACHE: "int",
        UNCACHE: "int",
    }
)


def _head(verb: bytes) -> bytes:
    """Return how a message begins, up to its first field, in the dialect "pb"."""
    encode = Encoder(vocabulary=PB_VOCABULARY).encode
    fields = [b""] * len(SHAPES[verb])
    return encode([verb, *fields])[: -len(fields) * len(encode(b""))]


#: Beginnings of messages that are written in one step.
HEADS: Final = {verb: _head(verb) for verb in (MESSAGE, CACHEMESSAGE, ANSWER, ERROR)}


def check(expression: Any) -> tuple[bytes, bool]:
    """Check the shape of one message.

    Args:
        expression: A complete expression, as banana decoded it.

    Returns:
        The verb, and whether it is a known one.

    Raises:
        ProtocolError: The expression is no message, or its fields are wrong.
    """
    if type(expression) is not list or not expression:
        raise ProtocolError("a message must be a list that begins with a verb")
    verb = expression[0]
    if type(verb) is not bytes:
        raise ProtocolError("a message must begin with a verb")
    shape = SHAPES.get(verb)
    if shape is None:
        return verb, False
    if len(expression) != len(shape) + 1:
        raise ProtocolError(
            f"{verb.decode()} takes {len(shape)} fields, not {len(expression) - 1}"
        )
    for number, allowed in enumerate(shape, 1):
        if type(expression[number]) not in allowed:
            kind = type(expression[number]).__name__
            raise ProtocolError(f"{verb.decode()}: field {number} may not be {kind}")
    return verb, True


def encoded_name(name: object) -> bytes:
    """Return the name of a method as bytes.

    Args:
        name: The name, as a program gives it.

    Raises:
        TypeError: It is no text.
    """
    if isinstance(name, str):
        return name.encode()
    if isinstance(name, bytes):
        return name
    kind = type(name).__qualname__
    raise TypeError(f"the name of a method is text, not a value of the type {kind}")
