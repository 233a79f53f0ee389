"""This module holds the negotiation of a dialect, and the vocabularies of dialects.

The server offers a list of names as soon as it is connected. The client answers
with the first name that it knows, and from then on both speak that dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pb_jelly import Limits

from ._pb.tokens import LIST, STRING
from ._pb.vocabulary import PB_VOCABULARY
from .errors import NegotiationError

if TYPE_CHECKING:
    from pb_jelly import SExp

__all__ = [
    "CLIENT",
    "FRAMED",
    "NEGOTIATION_LIMITS",
    "SERVER",
    "VOCABULARIES",
    "Role",
    "other_protocol",
]

#: Vocabularies by dialect; None for a dialect without one.
VOCABULARIES: Final[Mapping[bytes, Mapping[int, bytes] | None]] = {
    b"pb": PB_VOCABULARY,
    b"none": None,
}

#: The dialects that have frames and no expressions.
FRAMED: Final = frozenset({b"pb2"})

#: Limits before a dialect is agreed on: a list of at most 16 names of at most 32 bytes.
#: A legacy client passes over entries that are lists of names, so an offer may hold
#: those too. Two bytes of prefix tell other protocols apart early: text, and the
#: beginnings of SSH and TLS, have no byte over 0x7F among their first three.
NEGOTIATION_LIMITS: Final = Limits(
    message_bytes=1024,
    string_bytes=32,
    list_items=16,
    nodes=64,
    depth=2,
    prefix_bytes=2,
)


#: Names of other protocols, by their first bytes, for the advice in an error.
_OTHERS: Final[Mapping[bytes, str]] = {
    b"\x16\x03": "TLS",
    b"\x15\x03": "TLS",
    b"SSH": "SSH",
    **dict.fromkeys([b"HTT", b"GET", b"HEA", b"POS", b"PUT", b"OPT", b"CON"], "HTTP"),
}


def other_protocol(beginning: bytes) -> str:
    """Return the name of the protocol that begins with some bytes; empty if unknown.

    Args:
        beginning: The first bytes that a peer sent, at most three.
    """
    return _OTHERS.get(beginning[:3]) or _OTHERS.get(beginning[:2], "")


def _choose(offer: SExp, known: Sequence[bytes]) -> bytes:
    """Return the first dialect of a server's offer that the client knows."""
    for name in offer if isinstance(offer, list) else ():
        if isinstance(name, bytes) and name in known:
            return name
    raise NegotiationError("the server offers no dialect that is known here")


def _accept(choice: SExp, known: Sequence[bytes]) -> bytes:
    """Return the client's choice, if the server offered it."""
    if isinstance(choice, bytes) and choice in known:
        return choice
    raise NegotiationError("the client chose a dialect that was not offered")


class Role:
    """The part of one end in the negotiation, server or client.

    Attributes:
        offers: True if it speaks first, with the list of the dialects that it knows.
        awaits: Type byte at the beginning of the peer's message.
        agree: Called with the peer's message and the names known here; returns the
            name agreed on, or raises `NegotiationError`.
        replies: True if it answers with that name.
    """

    __slots__ = ("agree", "awaits", "offers", "replies")

    def __init__(
        self,
        *,
        offers: bool,
        awaits: int,
        agree: Callable[[SExp, Sequence[bytes]], bytes],
        replies: bool,
    ) -> None:
        self.offers = offers
        self.awaits = awaits
        self.agree = agree
        self.replies = replies


#: The negotiation as a table, one row for each end.
SERVER: Final = Role(offers=True, awaits=STRING, agree=_accept, replies=False)
CLIENT: Final = Role(offers=False, awaits=LIST, agree=_choose, replies=True)
