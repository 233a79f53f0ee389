"""This module reads and writes the messages of SCRAM (RFC 5802, section 7).

What comes from a peer is bounded before it gets here.  All that is wrong with it raises
one exception, :class:`Malformed`, which has nothing of it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from pb_cred._user_names import MAX_NAME

__all__ = [
    "ClientFinal",
    "ClientFirst",
    "Malformed",
    "ServerFirst",
    "hash_of_negotiation",
    "hash_of_offer",
    "parse_client_final",
    "parse_client_first",
    "parse_server_final",
    "parse_server_first",
]

#: The longest nonce of one end, in bytes.
MAX_NONCE: Final = 256

_NONCE: Final = re.compile(rb"[!-+\--~]+")
_COUNT: Final = re.compile(rb"[1-9][0-9]{0,6}")
_ATTRIBUTE: Final = re.compile(rb"([A-Za-z])=([^\0,]+)")
_FLAG: Final = re.compile(rb"[ny]|p=[A-Za-z0-9.-]{1,64}")


class Malformed(Exception):
    """A message violates the protocol."""


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """The client-first message.

    Attributes:
        header: The GS2 header, with both of its commas.
        flag: What it says of channel binding: ``n``, ``y``, or ``p=`` and a kind.
        bare: The rest.
        username: Who logs in.
        nonce: The client's.
    """

    header: bytes
    flag: bytes
    bare: bytes
    username: bytes
    nonce: bytes


@dataclass(frozen=True, slots=True)
class ServerFirst:
    """The server-first message: salt and iterations for hashing the password."""

    nonce: bytes
    salt: bytes
    iterations: int


@dataclass(frozen=True, slots=True)
class ClientFinal:
    """The client-final message.

    Attributes:
        without_proof: The message up to its proof.
        binding: The GS2 header again, and the data of the channel.
        nonce: Both ends' nonces.
        offer: The hash of the list of mechanisms that it was offered; None if it does
            not say.
        negotiation: The hash of the bytes by which the dialect was agreed on; None if
            it does not say.
        proof: That it knows the password.
    """

    without_proof: bytes
    binding: bytes = field(repr=False)
    nonce: bytes
    offer: bytes | None
    negotiation: bytes | None
    proof: bytes = field(repr=False)


def _name(value: bytes) -> bytes:
    """Return a name of a message, with its escapes replaced."""
    parts = value.split(b"=")
    if any(part[:2] not in (b"2C", b"3D") for part in parts[1:]):
        raise Malformed
    name = value.replace(b"=2C", b",").replace(b"=3D", b"=")
    is_text = False
    with suppress(UnicodeDecodeError):
        is_text = "\0" not in name.decode()
    if len(name) > MAX_NAME or not is_text:
        raise Malformed
    return name


def _decoded(value: bytes) -> bytes:
    try:
        decoded = b64decode(value, validate=True)
    except Base64Error:
        decoded = b""
    # There is one way to write each value.
    if not decoded or b64encode(decoded) != value:
        raise Malformed
    return decoded


def _attributes(message: bytes, first: bytes) -> list[tuple[bytes, bytes]]:
    """Return the attributes of a message in their order, each of which is there once.

    Args:
        message: The message.
        first: The names of those that it begins with.

    Raises:
        Malformed: It has none, others, one twice, or an extension that cannot be left
            out and is not known here: there are none that are.
    """
    found: list[tuple[bytes, bytes]] = []
    for part in message.split(b","):
        match = _ATTRIBUTE.fullmatch(part)
        if match is None:
            raise Malformed
        found.append((match[1], match[2]))
    names = [name for name, _ in found]
    begins = b"".join(names[: len(first)]) == first
    if not begins or len(set(names)) < len(names) or b"m" in names:
        raise Malformed
    return found


def _nonce(value: bytes, longest: int) -> bytes:
    if len(value) > longest or _NONCE.fullmatch(value) is None:
        raise Malformed
    return value


def parse_client_first(message: bytes) -> ClientFirst:
    """Read a client's first message.

    Raises:
        Malformed: It is none, or it asks to act for another user.
    """
    parts = message.split(b",", 2)
    if len(parts) < 3 or _FLAG.fullmatch(parts[0]) is None:
        raise Malformed
    flag, whom, bare = parts
    attributes = _attributes(bare, b"nr")
    username = _name(attributes[0][1])
    if whom and whom != b"a=" + attributes[0][1]:
        raise Malformed
    return ClientFirst(
        header=flag + b"," + whom + b",",
        flag=flag,
        bare=bare,
        username=username,
        nonce=_nonce(attributes[1][1], MAX_NONCE),
    )


def parse_server_first(message: bytes, nonce: bytes) -> ServerFirst:
    """Read a server's first message.

    Args:
        message: The message.
        nonce: What the client has sent.

    Raises:
        Malformed: It is none.
    """
    attributes = _attributes(message, b"rsi")
    both = _nonce(attributes[0][1], len(nonce) + MAX_NONCE)
    count = attributes[2][1]
    if not both.startswith(nonce) or len(both) == len(nonce):
        raise Malformed
    if _COUNT.fullmatch(count) is None:
        raise Malformed
    return ServerFirst(both, _decoded(attributes[1][1]), int(count))


def parse_client_final(message: bytes) -> ClientFinal:
    """Read a client's last message.

    Raises:
        Malformed: It is none.
    """
    attributes = _attributes(message, b"cr")
    name, proof = attributes[-1]
    if name != b"p":
        raise Malformed
    offer = dict(attributes).get(b"o")
    negotiation = dict(attributes).get(b"d")
    return ClientFinal(
        without_proof=message[: -len(b",p=" + proof)],
        binding=_decoded(attributes[0][1]),
        nonce=attributes[1][1],
        offer=None if offer is None else _decoded(offer),
        negotiation=None if negotiation is None else _decoded(negotiation),
        proof=_decoded(proof),
    )


def parse_server_final(message: bytes) -> bytes:
    """Read a server's last message, and return its signature.

    Raises:
        Malformed: It is none.
    """
    return _decoded(_attributes(message, b"v")[0][1])


def hash_of_offer(names: Iterable[str]) -> bytes:
    """Return the hash of a list of mechanisms, for the client-final message."""
    return sha256(",".join(names).encode()).digest()


def hash_of_negotiation(negotiation: bytes) -> bytes:
    """Return the hash of an offer and a choice of dialects, for the same message."""
    return sha256(negotiation).digest()
