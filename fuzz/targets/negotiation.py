"""This module feeds both ends of a connection before a dialect is agreed on.

- Whatever comes, there is a dialect that this end knows and the other has named, or a
  `NegotiationError`, or more is awaited; and no other way of cutting it gives anything
  else.
- Nothing much is kept meanwhile, and it ends within what a negotiation may cost.
- What follows is what a decoder makes of it.
- A broker raises nothing, and closes the connection where there is no agreement.
"""

from __future__ import annotations

from typing import Any, Final

from fuzz.findings import expect
from fuzz.inputs import Input
from fuzz.lone_end import LoneEnd, watched
from pb_banana import BananaError, Connection, Decoder, Limits, NegotiationError
from pb_broker import Broker, PBClientFactory, PBServerFactory, Root

__all__ = ["WORDS", "run"]

WORDS: list[Any] = [
    *([b"pb", b"none"], b"pb", b"none", [b"none", b"pb"], [b"pb2", b"pb"], [b"pb"]),
    *([[b"pb"], b"none"], [], b"", b"x" * 33, b"pb2", [b"version", 6], 5, 1.5),
]

_KNOWN: Final = ((b"pb", b"none"), (b"none",), (b"pb2", b"pb"), (b"none", b"pb"))
_LIMITS: Final = Limits(depth=20)
#: So many bytes are surely more than a negotiation.
_MOST: Final = 1100


def run(data: bytes) -> bool:
    """Feed an input to a connection and to a broker.

    Args:
        data: Its options say which end they are, and which dialects they know.

    Returns:
        Whether it is of use, which every one is.

    Raises:
        Finding: One of the promises does not hold.
    """
    given = Input.of(data)
    is_client = bool(given.options & 1)
    known = _KNOWN[given.options >> 1 & 3]
    whole = _negotiated(is_client, known, [given.stream])
    parts = _negotiated(is_client, known, given.pieces)
    expect(whole == parts, f"a cut changes what is agreed on: {whole}, {parts}")
    dialect, said, _, refusal = whole
    if refusal:
        expect(dialect is None and not said, "there is a dialect and there is not")
    elif dialect is None:
        expect(len(given.stream) <= _MOST, "a negotiation has no end")
    else:
        _check_agreement(is_client, known, given.stream, dialect, said)
    factory = _FACTORIES[is_client, known]
    for pieces in ([given.stream], given.pieces):
        _check_broker(factory, pieces, bool(refusal), dialect)
    return True


#: The dialect, what was said in answer, what followed, and the error.
_Outcome = tuple[bytes | None, bytes, str, str]


def _negotiated(
    is_client: bool, known: tuple[bytes, ...], pieces: list[bytes]
) -> _Outcome:
    """Return what becomes of a negotiation."""
    connection = Connection(is_client, dialects=known, limits=_LIMITS)
    offer = connection.connection_made()
    expect(bool(offer) is not is_client, "the server, and it alone, begins")
    received: list[Any] = []
    error = ""
    try:
        for piece in [*pieces, b""]:
            received += connection.receive_data(piece)
            while connection.has_backlog:
                received += connection.receive_data(b"")
    except NegotiationError as caught:
        expect(not received, "there is a message before there is a dialect")
        error = f"refused: {caught}"
    except BananaError as caught:
        expect(connection.dialect is not None, "there is an error of another kind")
        received.append(f"{type(caught).__name__} {caught} {caught.path}")
    said = connection.data_to_send()
    return connection.dialect, said, repr(received), error


def _check_agreement(
    is_client: bool,
    known: tuple[bytes, ...],
    stream: bytes,
    dialect: bytes,
    said: bytes,
) -> None:
    """Check a dialect against what was named."""
    expect(dialect in known, "a dialect is agreed on that is not known")
    named: Any = Decoder(_LIMITS).feed(stream, 1)[0]
    if is_client:
        expect(type(named) is list and dialect in named, "it was not offered")
        (choice,) = Decoder(_LIMITS).feed(said)
        expect(choice == dialect, "another dialect was named")
        others = [name for name in named if type(name) is bytes and name in known]
        expect(others[0] == dialect, "it is not the first that was offered")
    else:
        expect(named == dialect and not said, "it was not chosen")


def _factory(is_client: bool, known: tuple[bytes, ...]) -> Any:
    """Return a factory whose brokers know certain dialects."""

    class Negotiating(Broker):
        knownDialects = known

    factory: Any = PBClientFactory() if is_client else PBServerFactory(Root())
    factory.protocol = Negotiating
    return factory


def _check_broker(
    factory: Any, pieces: list[bytes], refused: bool, dialect: bytes | None
) -> None:
    """Check that a broker does with it what a connection does."""
    with watched():
        end = LoneEnd(factory)
        for _ in end.hear(pieces):
            pass
        # What follows at once may end the connection before it is ready.
        agreed = (dialect, None) if end.is_closing else (dialect,)
        expect(end.broker.currentDialect in agreed, "a broker agrees on another")
        expect(end.is_closing or not refused, "a broker stays where none is agreed on")
        end.lose()
        end.check_tables()


_FACTORIES: Final = {
    (is_client, known): _factory(is_client, known)
    for is_client in (False, True)
    for known in _KNOWN
}
