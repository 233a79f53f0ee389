from __future__ import annotations

from typing import Any

import pytest

from pb_banana import (
    BananaError,
    Connection,
    Encoder,
    InvalidToken,
    LimitExceeded,
    Limits,
    NegotiationError,
    SExp,
)

from .support import chunkings, cut

OFFER = b"\x02\x80\x02\x82pb\x04\x82none"
PB = b"\x02\x82pb"
NONE = b"\x04\x82none"
WORD = b"\x1a\x87"


def server(**options: Any) -> Connection:
    connection = Connection(False, **options)
    connection.connection_made()
    return connection


def client(**options: Any) -> Connection:
    connection = Connection(True, **options)
    connection.connection_made()
    return connection


class TestNegotiation:
    def test_the_server_speaks_first(self) -> None:
        assert Connection(False).dialect is None
        assert Connection(False).connection_made() == OFFER
        assert Connection(True).connection_made() == b""

    def test_the_server_offers_in_its_order(self) -> None:
        offer = Connection(False, dialects=[b"none", b"pb"]).connection_made()
        assert offer == b"\x02\x80\x04\x82none\x02\x82pb"

    def test_the_client_answers_with_what_it_knows(self) -> None:
        connection = client()
        assert connection.receive_data(OFFER) == []
        assert connection.dialect == b"pb"
        assert connection.data_to_send() == PB
        assert connection.data_to_send() == b""

    def test_the_order_of_the_offer_decides(self) -> None:
        connection = client(dialects=(b"pb", b"none"))
        connection.receive_data(b"\x02\x80" + NONE + PB)
        assert connection.dialect == b"none"
        assert connection.data_to_send() == NONE

    def test_unknown_entries_of_an_offer_are_passed_over(self) -> None:
        # Names to come, numbers, and lists such as legacy clients pass over too.
        connection = client()
        connection.receive_data(
            b"\x05\x80\x03\x82pb2\x01\x81\x02\x80" + PB * 2 + PB + NONE
        )
        assert connection.dialect == b"pb"

    @pytest.mark.parametrize("choice", [PB, NONE])
    def test_the_server_takes_any_of_its_offer(self, choice: bytes) -> None:
        connection = server()
        assert connection.receive_data(choice) == []
        assert connection.dialect == choice[2:]
        assert connection.data_to_send() == b""

    def test_both_ends_agree(self) -> None:
        near, far = Connection(False), Connection(True)
        far.receive_data(near.connection_made())
        near.receive_data(far.data_to_send())
        assert near.dialect == far.dialect == b"pb"
        data = near.encode([b"message", 1])
        assert data == b"\x02\x80\x1a\x87\x01\x81"
        assert far.receive_data(data) == [[b"message", 1]]

    def test_a_dialect_without_a_vocabulary_here(self) -> None:
        connection = client(dialects=[b"mine"])
        connection.receive_data(b"\x02\x80\x04\x82mine" + PB)
        assert connection.dialect == b"mine"
        assert connection.encode(b"message") == b"\x07\x82message"

    @pytest.mark.parametrize(
        "data",
        [
            b"\0\x80",
            b"\x01\x80\x03\x82pb2",
            b"\x01\x80\x02\x81",
            b"\x01\x80\x01\x80" + PB,
            PB,
            b"\x05\x81",
            b"\x84",
            b"\x01\x87",
            b"\x11\x80",
            b"\x01\x80\x21\x82",
            b"\x01\x80\x01\x80\x01\x80",
            b"\0\0\0",
            b"\x88",
            b"\x10\x80" + (b"\x10\x80" + PB * 16) * 16,
        ],
    )
    def test_offers_that_end_it(self, data: bytes) -> None:
        for pieces in ([data], cut(data, 1)):
            self.refuses(client(), pieces)

    @pytest.mark.parametrize(
        "data",
        [
            b"\x03\x82pb2",
            b"\0\x82",
            OFFER,
            b"\x01\x80",
            b"\x05\x81",
            b"\x84",
            b"\x01\x87",
            b"\x21\x82",
            b"\x88",
            b"GET / HTTP/1.1\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        ],
    )
    def test_choices_that_end_it(self, data: bytes) -> None:
        for pieces in ([data], cut(data, 1)):
            self.refuses(server(), pieces)

    @staticmethod
    def refuses(connection: Connection, pieces: list[bytes]) -> None:
        with pytest.raises(NegotiationError) as caught:
            assert not any(map(connection.receive_data, pieces))
        assert len(str(caught.value)) < 200
        assert connection.dialect is None
        assert connection.data_to_send() == b""
        # For ever after.
        with pytest.raises(NegotiationError) as again:
            connection.receive_data(b"")
        assert str(again.value) == str(caught.value)

    def test_a_wrong_beginning_ends_it_at_once(self) -> None:
        # Not when all has come that it announces.
        with pytest.raises(NegotiationError):
            client().receive_data(b"\x10\x82")
        with pytest.raises(NegotiationError):
            server().receive_data(b"\x10\x80")
        connection = server()
        assert connection.receive_data(b"\x16") == []
        assert connection.receive_data(b"\x03") == []
        with pytest.raises(NegotiationError):
            connection.receive_data(b"\x01")

    def test_names_of_32_bytes_and_16_of_them(self) -> None:
        names = [bytes((97 + index,)) * 32 for index in range(16)]
        near = Connection(False, dialects=names)
        far = Connection(True, dialects=names[-1:])
        far.receive_data(near.connection_made())
        near.receive_data(far.data_to_send())
        assert near.dialect == names[-1]

    def test_anything_with_a_buffer_is_data(self) -> None:
        connection = server()
        connection.receive_data(bytearray(PB[:1]))  # type: ignore[arg-type]
        connection.receive_data(memoryview(PB[1:] + WORD))  # type: ignore[arg-type]
        assert connection.dialect == b"pb"

    def test_our_own_mistakes_are_not_the_peers(self) -> None:
        connection = server()
        with pytest.raises(TypeError):
            connection.receive_data("\x02")  # type: ignore[arg-type]
        connection.receive_data(PB)
        assert connection.dialect == b"pb"


class TestAfterwards:
    def test_the_rest_of_the_piece_is_in_the_new_dialect(self) -> None:
        connection = client()
        assert connection.receive_data(OFFER + WORD + b"\x05\x81") == [b"message", 5]
        connection = server()
        assert connection.receive_data(PB + b"\x01\x80" + WORD) == [[b"message"]]

    def test_chunking_changes_nothing(self) -> None:
        data = PB + b"\x02\x80" + WORD + b"\x03\x82abc\x84?\xf8\0\0\0\0\0\0"
        for pieces in chunkings(data):
            connection = server()
            received: list[SExp] = []
            for piece in pieces:
                received += connection.receive_data(piece)
            assert received == [[b"message", b"abc"], 1.5]

    def test_an_error_in_the_rest(self) -> None:
        connection = client()
        with pytest.raises(InvalidToken) as caught:
            connection.receive_data(OFFER + b"\x88")
        assert caught.value.offset == len(OFFER)
        # There is agreement all the same, and what was to be said of it.
        assert connection.dialect == b"pb"
        assert connection.data_to_send() == PB

    def test_a_word_in_dialect_none(self) -> None:
        connection = server()
        with pytest.raises(InvalidToken):
            connection.receive_data(NONE + WORD)

    def test_fewer_messages_than_there_are(self) -> None:
        connection = server()
        assert connection.receive_data(PB + WORD + b"\x02\x81\x03\x81", 1) == [
            b"message"
        ]
        assert connection.has_backlog
        assert connection.receive_data(b"", 1) == [2]
        assert connection.receive_data(b"\x04\x81") == [3, 4]
        assert not connection.has_backlog


class TestSelect:
    def test_without_negotiation(self) -> None:
        connection = Connection(True)
        connection.select(b"pb")
        assert connection.dialect == b"pb"
        assert connection.encode(b"message") == WORD
        assert connection.receive_data(WORD) == [b"message"]
        connection.select(b"none")
        assert connection.encode(b"message") == b"\x07\x82message"

    def test_before_any_dialect_there_are_no_words(self) -> None:
        assert Connection(False).encode([b"message"]) == b"\x01\x80\x07\x82message"


class TestLimits:
    def test_they_hold_from_the_negotiation_on(self) -> None:
        connection = server(limits=Limits(string_bytes=40))
        assert connection.receive_data(PB + b"\x28\x82" + b"x" * 40) == [b"x" * 40]
        with pytest.raises(LimitExceeded):
            connection.receive_data(b"\x29\x82")

    def test_each_direction_has_its_own(self) -> None:
        connection = server(limits=Limits(string_bytes=40))
        assert connection.limits == connection.send_limits == Limits(string_bytes=40)
        connection.limits = Limits(string_bytes=3)
        connection.send_limits = Limits(string_bytes=5)
        assert connection.limits == Limits(string_bytes=3)
        assert connection.send_limits == Limits(string_bytes=5)
        assert connection.encode(b"abcde") == b"\x05\x82abcde"
        with pytest.raises(LimitExceeded):
            connection.encode(b"abcdef")
        # Those of the negotiation are not touched.
        assert connection.receive_data(NONE) == []
        with pytest.raises(LimitExceeded):
            connection.receive_data(b"\x04\x82")

    def test_they_can_grow_later(self) -> None:
        connection = server(limits=Limits(depth=1))
        connection.receive_data(PB)
        connection.limits = Limits(depth=3)
        assert connection.receive_data(b"\x01\x80\x01\x80\x05\x81") == [[[5]]]

    def test_a_large_message_before_there_is_agreement(self) -> None:
        data = Encoder().encode([b"x" * 30] * 16)
        with pytest.raises(BananaError):
            client().receive_data(data * 3)


def test_connections_are_small() -> None:
    assert not hasattr(Connection(True), "__dict__")
