"""A tap on the wire: prints each message that goes by, as a short s-expression."""

from __future__ import annotations

import textwrap
from typing import Any, cast

from twisted.internet.interfaces import IProtocol, ITransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from pb_banana import PB_VOCABULARY, Decoder

#: A message is shown in so many lines of so many columns, and cut where it is longer.
LINES = 2
WIDTH = 100


def lisp(expression: Any) -> str:
    """Return an s-expression as text; what is not a word is quoted."""
    if isinstance(expression, list):
        return "(" + " ".join(map(lisp, expression)) + ")"
    if not isinstance(expression, bytes):
        return str(expression)
    text = expression.decode("latin-1")
    if not text.isprintable() or not text.isascii():
        return "#" + expression.hex()
    return text if text and not set(text) & set(" ()'\"") else repr(text)


def show(arrow: str, messages: list[Any]) -> None:
    """Print messages, each cut where it gets long."""
    for message in messages:
        shown = textwrap.fill(
            lisp(message),
            WIDTH,
            initial_indent=f"      {arrow} ",
            subsequent_indent=" " * 11,
            max_lines=LINES,
            placeholder=" ...",
        )
        print(shown)


class Tap(ProtocolWrapper):
    """Stands between a broker and its connection, and reads along.

    Where the connection is one over TLS, that is within it.
    """

    wrappedProtocol: IProtocol

    def __init__(self, factory: Any, wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)
        self.sent = Decoder(vocabulary=PB_VOCABULARY)
        self.received = Decoder(vocabulary=PB_VOCABULARY)

    def write(self, data: bytes) -> None:
        show("->", self.sent.feed(data))
        cast("ITransport", self.transport).write(data)

    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def dataReceived(self, data: bytes) -> None:
        show("<-", self.received.feed(data))
        self.wrappedProtocol.dataReceived(data)


def tapped(factory: Any) -> Any:
    """Return a factory like `factory`, with a tap on each of its connections."""
    tapping: Any = WrappingFactory(factory)
    tapping.protocol = Tap
    return tapping
