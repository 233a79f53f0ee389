from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from pb_banana import (
    BananaError,
    Connection,
    Decoder,
    Encoder,
    InvalidToken,
    LimitExceeded,
    Limits,
    NegotiationError,
    SExp,
)
from pb_banana._pb.message_exchange import Exchange
from pb_jelly import JellyError, SecurityOptions, leaf_hook
from pb_jelly.codec import CurrentTables

from .graphs import (
    KNOWN,
    ORDINARY,
    POLICY,
    SHARING,
    Mark,
    Node,
    Spot,
    assert_reads,
    call,
    decoded,
    encoded,
    jellier_for,
    message,
    remote,
)
from .support import WIDE, chunkings, cut, describe

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
    def test_server_speaks_first(self) -> None:
        assert Connection(False).dialect is None
        assert Connection(False).connection_made() == OFFER
        assert Connection(True).connection_made() == b""

    def test_server_offers_in_its_order(self) -> None:
        offer = Connection(False, dialects=[b"none", b"pb"]).connection_made()
        assert offer == b"\x02\x80\x04\x82none\x02\x82pb"

    def test_client_chooses_a_known_dialect(self) -> None:
        connection = client()
        assert connection.receive_data(OFFER) == []
        assert connection.dialect == b"pb"
        assert connection.data_to_send() == PB
        assert connection.data_to_send() == b""

    def test_order_of_the_offer_decides(self) -> None:
        connection = client(dialects=(b"pb", b"none"))
        connection.receive_data(b"\x02\x80" + NONE + PB)
        assert connection.dialect == b"none"
        assert connection.data_to_send() == NONE

    def test_unknown_entries_of_an_offer_are_ignored(self) -> None:
        # Names to come, numbers, and lists such as legacy clients pass over too.
        connection = client()
        connection.receive_data(
            b"\x05\x80\x03\x82pb2\x01\x81\x02\x80" + PB * 2 + PB + NONE
        )
        assert connection.dialect == b"pb"

    @pytest.mark.parametrize("choice", [PB, NONE])
    def test_server_accepts_any_dialect_of_its_offer(self, choice: bytes) -> None:
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

    def test_dialect_without_a_vocabulary_sends_words_as_strings(self) -> None:
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
    def test_refusal_of_malformed_offers(self, data: bytes) -> None:
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
    def test_refusal_of_malformed_choices(self, data: bytes) -> None:
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

    def test_wrong_first_bytes_are_refused_at_once(self) -> None:
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

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            (b"GET / HTTP/1.1\r\n", "HTTP"),
            (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
            (b"CONNECT example.net:443 HTTP/1.1\r\n", "HTTP"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
            # A hello, and the alert that a server answers banana with.
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "TLS"),
            (b"\x15\x03\x03\0\x02\x02\x46", "TLS"),
            (b"something else", ""),
        ],
    )
    def test_error_names_the_other_protocol_of_a_peer(
        self, data: bytes, name: str
    ) -> None:
        for make in (server, client):
            for pieces in ([data], cut(data, 1)):
                connection = make()
                with pytest.raises(NegotiationError) as caught:
                    assert not any(map(connection.receive_data, pieces))
                begins = str(caught.value).startswith(f"the peer speaks {name}, not")
                assert begins is bool(name)

    def test_greatest_offer_is_accepted(self) -> None:
        names = [bytes((97 + index,)) * 32 for index in range(16)]
        near = Connection(False, dialects=names)
        far = Connection(True, dialects=names[-1:])
        far.receive_data(near.connection_made())
        near.receive_data(far.data_to_send())
        assert near.dialect == names[-1]

    def test_any_buffer_is_accepted_as_data(self) -> None:
        connection = server()
        connection.receive_data(bytearray(PB[:1]))  # type: ignore[arg-type]
        connection.receive_data(memoryview(PB[1:] + WORD))  # type: ignore[arg-type]
        assert connection.dialect == b"pb"

    def test_type_error_of_the_caller_leaves_the_negotiation_intact(self) -> None:
        connection = server()
        with pytest.raises(TypeError):
            connection.receive_data("\x02")  # type: ignore[arg-type]
        connection.receive_data(PB)
        assert connection.dialect == b"pb"


class TestAfterwards:
    def test_rest_of_the_piece_is_read_in_the_new_dialect(self) -> None:
        connection = client()
        assert connection.receive_data(OFFER + WORD + b"\x05\x81") == [b"message", 5]
        connection = server()
        assert connection.receive_data(PB + b"\x01\x80" + WORD) == [[b"message"]]

    def test_chunking_has_no_effect(self) -> None:
        data = PB + b"\x02\x80" + WORD + b"\x03\x82abc\x84?\xf8\0\0\0\0\0\0"
        for pieces in chunkings(data):
            connection = server()
            received: list[SExp] = []
            for piece in pieces:
                received += connection.receive_data(piece)
            assert received == [[b"message", b"abc"], 1.5]

    def test_error_after_the_negotiation_keeps_the_choice(self) -> None:
        connection = client()
        with pytest.raises(InvalidToken) as caught:
            connection.receive_data(OFFER + b"\x88")
        assert caught.value.offset == len(OFFER)
        # There is agreement all the same, and what was to be said of it.
        assert connection.dialect == b"pb"
        assert connection.data_to_send() == PB

    def test_refusal_of_words_in_dialect_none(self) -> None:
        connection = server()
        with pytest.raises(InvalidToken):
            connection.receive_data(NONE + WORD)

    def test_rest_of_the_messages_is_backlog(self) -> None:
        connection = server()
        assert connection.receive_data(PB + WORD + b"\x02\x81\x03\x81", 1) == [
            b"message"
        ]
        assert connection.has_backlog
        assert connection.receive_data(b"", 1) == [2]
        assert connection.receive_data(b"\x04\x81") == [3, 4]
        assert not connection.has_backlog


class TestSelect:
    def test_dialect_selected_without_negotiation(self) -> None:
        connection = Connection(True)
        connection.select(b"pb")
        assert connection.dialect == b"pb"
        assert connection.encode(b"message") == WORD
        assert connection.receive_data(WORD) == [b"message"]
        connection.select(b"none")
        assert connection.encode(b"message") == b"\x07\x82message"

    def test_words_are_sent_as_strings_before_a_dialect(self) -> None:
        assert Connection(False).encode([b"message"]) == b"\x01\x80\x07\x82message"


class TestLimits:
    def test_limits_hold_after_the_negotiation(self) -> None:
        connection = server(limits=Limits(string_bytes=40))
        assert connection.receive_data(PB + b"\x28\x82" + b"x" * 40) == [b"x" * 40]
        with pytest.raises(LimitExceeded):
            connection.receive_data(b"\x29\x82")

    def test_limits_are_set_per_direction(self) -> None:
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

    def test_limits_can_be_raised_later(self) -> None:
        connection = server(limits=Limits(depth=1))
        connection.receive_data(PB)
        connection.limits = Limits(depth=3)
        assert connection.receive_data(b"\x01\x80\x01\x80\x05\x81") == [[[5]]]

    def test_refusal_of_large_messages_during_the_negotiation(self) -> None:
        data = Encoder().encode([b"x" * 30] * 16)
        with pytest.raises(BananaError):
            client().receive_data(data * 3)


TABLES = CurrentTables(POLICY)
ANSWER = b"\x03\x80\x1b\x87"
# A class is known to the table once it has been met.
decoded(encoded(Spot(x=1)))


def speaking(limits: Limits = WIDE, dialect: bytes = b"pb") -> Connection:
    connection = Connection(True, limits=limits)
    connection.select(dialect)
    return connection


class Peer:
    """One end of a connection that reads messages."""

    def __init__(self, connection: Connection, policy: Any = POLICY) -> None:
        self.connection = connection
        self.tables = CurrentTables(policy)
        self.discarded: list[Any] = []

    def receive(self, data: bytes = b"") -> Any:
        return self.connection.receive_message(
            data,
            self.tables,
            KNOWN,
            remote,
            self.discarded.extend,
        )

    def has_backlog(self) -> bool:
        return self.connection.has_backlog

    def outcome(self, pieces: list[bytes]) -> tuple[list[Any], Any]:
        """Return the outcome of a stream: messages, and the error if there is any."""
        received: list[Any] = []
        try:
            for piece in pieces:
                if self.connection.absorb(piece):
                    assert not self.connection.has_backlog
                    continue
                found = self.receive(piece)
                while found is not None:
                    received.append(found)
                    found = self.receive()
        except BananaError as error:
            return received, describe(error)
        return received, None


def write(
    connection: Connection, *values: Any, head: Any = (ANSWER, 1), policy: Any = POLICY
) -> bytes | None:
    """Return the bytes of a message, made in one step; None if that gives up."""
    limits = connection.send_limits
    parts = connection.write_message(
        head,
        values,
        CurrentTables(policy),
        lambda: jellier_for(limits, policy=policy),
    )
    return None if parts is None else b"".join(parts)


class TestEncoders:
    def test_connections_with_equal_settings_share_an_encoder(self) -> None:
        one, other = speaking(), speaking()
        assert one.encoder is other.encoder
        assert one.encoder is not speaking(dialect=b"none").encoder
        before = one.encoder
        one.send_limits = replace(one.send_limits, string_bytes=3)
        assert one.encoder is not before
        assert other.encoder is before
        one.send_limits = other.send_limits
        assert one.encoder is before

    def test_changed_limits_do_not_affect_other_connections(self) -> None:
        one, other = speaking(), speaking()
        one.send_limits = replace(one.send_limits, string_bytes=3)
        with pytest.raises(LimitExceeded):
            one.encode(b"four")
        assert other.encode(b"four") == b"\x04\x82four"


class TestWriting:
    @pytest.mark.parametrize("name", [*ORDINARY, *SHARING])
    def test_bytes_equal_those_of_the_two_steps(self, name: str) -> None:
        value = {**ORDINARY, **SHARING}[name]
        connection = speaking()
        expected = connection.encode([b"answer", 1, jellier_for().jelly(value)])
        assert write(connection, value) == expected == message(1, value)

    def test_message_of_several_values(self) -> None:
        shared = [1]
        head = (b"\x07\x80" + WORD, 1, b"\x04\x82root\x04\x82name", 1)
        args, kw = ([shared, shared], "a"), {"key": shared}
        whole = message(1, b"root", b"name", 1, args, kw, verb=b"message")
        assert write(speaking(), args, kw, head=head) == whole

    def test_edit_of_a_policy_takes_effect(self) -> None:
        policy = SecurityOptions()
        policy.allowBasicTypes()
        connection, tables = speaking(), CurrentTables(policy)

        def attempt() -> list[bytes] | None:
            make_jellier = partial(jellier_for, policy=policy)
            return connection.write_message((ANSWER, 1), ((),), tables, make_jellier)

        assert attempt() is not None
        del policy.allowedTypes[b"tuple"]
        assert attempt() is None
        policy.allowTypes("tuple")
        assert attempt() is not None

    def test_one_step_is_taken_in_pb_only(self) -> None:
        assert write(Connection(True), "a") is None
        assert write(server(), "a") is None
        assert write(speaking(dialect=b"none"), "a") is None
        connection = server()
        connection.receive_data(PB)
        assert write(connection, "a") == message(1, "a")
        connection.select(b"none")
        assert write(connection, "a") is None

    def test_refused_or_rare_values_take_two_steps(self) -> None:
        assert write(speaking(), bytearray(b"x")) is None
        assert write(speaking(), [1], policy=SecurityOptions()) is None

    def test_hooks_may_write_messages(self) -> None:
        connection = speaking()
        made: list[Any] = []

        class Busy:
            def __init__(self, more: Any = None) -> None:
                self.more = more

            @leaf_hook
            def jellyFor(self, jellier: Any) -> Any:
                made.append(write(connection, ["inner", self.more]))
                return [b"mark", 1]

        found = write(connection, ["outer", Busy(Busy()), "more"])
        assert found == message(1, ["outer", Mark(b"mark", 1), "more"])
        inner = message(1, ["inner", Mark(b"mark", 1)])
        assert made == [message(1, ["inner", None]), inner]

    def test_threads_may_write_messages_at_once(self) -> None:
        connection = speaking()
        value = {"a": [1, "b", {"c": (2.5, None)}]} | dict.fromkeys(range(300), "x")
        found: list[bytes | None] = []

        def work() -> None:
            found.extend(write(speaking(), value) for _ in range(30))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        found.append(write(connection, value))
        for thread in threads:
            thread.join()
        assert found == [message(1, value)] * 121


class TestReading:
    @pytest.mark.parametrize("name", [*ORDINARY, *SHARING])
    def test_ordinary_messages_take_one_step(self, name: str) -> None:
        data = message(1, {**ORDINARY, **SHARING}[name])
        (expression,) = speaking().receive_data(data)
        assert assert_reads(Peer(speaking()).receive(data), expression)

    def test_chunking_has_no_effect(self) -> None:
        data = b"".join(
            [
                *(call(1, "a", key=[None]), message(1, Spot(x=1)), message(1, Node())),
                *(message(1, "x" * 20_000), message(5, verb=b"decref")),
                *(message(5, verb=b"version"), call(b"x" * 9000)),
            ]
        )
        expected = speaking().receive_data(data)
        for pieces in chunkings(data):
            received, error = Peer(speaking()).outcome(pieces)
            assert error is None
            assert len(received) == len(expected)
            for found, expression in zip(received, expected, strict=True):
                assert_reads(found, expression)
        received, _ = Peer(speaking()).outcome([data])
        assert [type(found) for found in received].count(tuple) == 5

    def test_messages_with_the_end_of_the_negotiation(self) -> None:
        for connection, before in ((client(), OFFER), (server(), PB)):
            peer = Peer(connection)
            for byte in before[:-1]:
                assert peer.receive(bytes((byte,))) is None
            data = message(1, "a") + message(2, "b")
            assert peer.receive(before[-1:] + data) == (b"answer", 1, "a")
            assert connection.dialect == b"pb"
            assert peer.has_backlog()
            assert peer.receive() == (b"answer", 2, "b")
            assert not peer.has_backlog()
            assert peer.receive() is None

    def test_message_with_the_end_of_a_negotiation_of_dialect_none(self) -> None:
        data = Encoder().encode([b"answer", 1, 2])
        peer = Peer(server(dialects=[b"none"]))
        assert peer.receive(b"\x04\x82none" + data) == [b"answer", 1, 2]
        assert peer.connection.dialect == b"none"

    def test_exchange_without_a_negotiation_has_no_dialect(self) -> None:
        exchange = Exchange(Encoder(), Decoder())
        with pytest.raises(NotImplementedError):
            exchange.receive_message(b"", TABLES, KNOWN, remote, list)

    def test_failed_negotiation_is_refused_again(self) -> None:
        peer = Peer(server())
        for _ in range(2):
            with pytest.raises(NegotiationError):
                peer.receive(b"\x03\x82pb2")

    def test_messages_in_another_dialect_take_two_steps(self) -> None:
        data = Encoder().encode([b"answer", 1, [b"unicode", b"a"]])
        peer = Peer(speaking(dialect=b"none"))
        for _ in range(2):
            assert peer.receive(data[:5]) is None
            found = peer.receive(data[5:] + data)
            assert found == peer.receive() == [b"answer", 1, [b"unicode", b"a"]]

    def test_unusual_policies_take_two_steps(self) -> None:
        class Asking(SecurityOptions):
            def isTypeAllowed(self, typeName: str | bytes) -> bool:
                return True

        policy = SecurityOptions()
        del policy.allowedTypes[b"None"]
        for each in (Asking(), policy):
            found = Peer(speaking(), each).receive(message(1, "a"))
            assert found == [b"answer", 1, [b"unicode", b"a"]]

    def test_edits_of_a_policy_take_effect_at_once(self) -> None:
        policy = SecurityOptions()
        peer = Peer(speaking(), policy)
        data = message(1, [5])
        expression = [b"answer", 1, [b"list", 5]]
        assert peer.receive(data) == expression
        policy.allowTypes("list")
        assert peer.receive(data) == (b"answer", 1, [5])
        del policy.allowedTypes[b"list"]
        assert peer.receive(data) == expression

    def test_references_are_discarded_before_the_two_steps(self) -> None:
        peer = Peer(speaking())
        data = message(1, [Mark(b"remote", 5), Node()])
        assert type(peer.receive(data)) is list
        assert len(peer.discarded) == 1
        assert type(peer.receive(message(1, Mark(b"remote", 5)))) is tuple
        assert len(peer.discarded) == 1

    def test_making_a_reference_may_read_another_message(self) -> None:
        inner = Peer(speaking())

        def make(number: int, message: list[Any]) -> Any:
            return inner.receive(data)

        data = message(7, "inner")
        whole = message(1, ["a", Mark(b"remote", 5), "b"])
        found = speaking().receive_message(whole, TABLES, KNOWN, make, list)
        assert found == (b"answer", 1, ["a", (b"answer", 7, "inner"), "b"])

    def test_backlog_is_that_of_the_decoder(self) -> None:
        peer = Peer(speaking())
        data = message(1, "a")
        for _ in range(2):
            assert peer.receive(data * 2) is not None
            assert peer.connection.decoder.has_backlog
            assert peer.receive() is not None
            assert not peer.connection.decoder.has_backlog

    def test_error_is_raised_in_its_turn_and_again(self) -> None:
        peer = Peer(speaking())
        data = message(1, "a")
        assert peer.receive(data * 2 + b"\x88") is not None
        assert peer.receive() is not None
        assert peer.connection.has_backlog
        for _ in range(2):
            with pytest.raises(InvalidToken) as caught:
                peer.receive()
            assert caught.value.offset == 2 * len(data)


def _at_a_limit() -> Iterator[tuple[Any, str, int]]:
    """Return values, and the size that their message needs of a limit."""
    deep: Any = 5
    for _ in range(20):
        deep = [deep]
    yield deep, "depth", 21
    yield {"a": {"b": {"c": {"d": "e"}}}}, "depth", 10
    yield "a", "depth", 2
    yield 5, "depth", 1
    for value in (b"x" * 600, "x" * 600, {"x" * 600: 1}):
        yield value, "string_bytes", 600
    yield b"x" * 10, "string_bytes", 10
    yield [5] * 99, "list_items", 100
    yield dict.fromkeys(range(99)), "list_items", 100
    yield "a", "list_items", 3
    yield [5] * 99, "nodes", 104
    yield {"a": "b"}, "nodes", 12
    yield 2**140 - 1, "prefix_bytes", 20
    yield 1000, "prefix_bytes", 2
    yield "x" * 20_000, "prefix_bytes", 3
    yield [1, 2, 3], "message_bytes", 16
    yield b"x" * 10_000, "message_bytes", 10_009


@pytest.mark.parametrize(
    ("value", "name", "need"),
    list(_at_a_limit()),
    ids=lambda value: str(value)[:20],
)
class TestEachLimit:
    def test_written_message_at_the_boundary(
        self, value: Any, name: str, need: int
    ) -> None:
        for allowed in (need - 1, need, need + 1, 2 * need + 5):
            if not allowed:
                continue
            limits = replace(WIDE, **{name: allowed})
            connection = speaking(limits)
            found = write(connection, value)
            try:
                jelly = jellier_for(limits).jelly(value)
                expected = connection.encode([b"answer", 1, jelly])
            except (BananaError, JellyError):
                assert allowed < need
                assert found is None
            else:
                assert allowed >= need
                assert found in (None, expected)

    def test_read_message_at_the_boundary(
        self, value: Any, name: str, need: int
    ) -> None:
        data = message(1, value)
        for allowed in (need - 1, need, need + 1, 2 * need + 5):
            if not allowed:
                continue
            limits = replace(WIDE, **{name: allowed})
            ours, error = Peer(speaking(limits)).outcome([data])
            theirs: list[Any] = []
            expected = None
            try:
                theirs = speaking(limits).receive_data(data)
            except LimitExceeded as caught:
                expected = describe(caught)
            assert error == expected
            assert (expected is None) == (allowed >= need)
            assert expected is None or (name in expected and ours == [])
            for found, expression in zip(ours, theirs, strict=True):
                assert_reads(found, expression)


def test_both_ends_know_the_negotiation() -> None:
    us, them = Connection(True), Connection(False)
    assert us.negotiation == b""
    offer = them.connection_made()
    assert them.negotiation == OFFER
    us.receive_data(offer)
    them.receive_data(us.data_to_send())
    assert us.negotiation == them.negotiation == OFFER + PB
    assert us.negotiation is client_of(offer).negotiation


def test_negotiation_is_that_of_the_offer_that_was_sent() -> None:
    them = server()
    them.dialects = (b"none", b"pb")
    them.receive_data(PB)
    assert them.negotiation == OFFER + PB


@pytest.mark.parametrize(
    "offer",
    [
        b"\x01\x80\x02\x82pb",
        b"\x02\x80\x04\x82none\x02\x82pb",
        b"\x03\x80\x01\x80\x05\x81\x02\x82pb\x04\x82none",
        b"\x02\x80\x07\x82pb,none\x02\x82pb",
    ],
)
def test_another_offer_is_another_negotiation(offer: bytes) -> None:
    us = client_of(offer)
    assert us.dialect == b"pb"
    assert us.negotiation == offer + PB


def client_of(offer: bytes) -> Connection:
    us = client(dialects=(b"pb",))
    us.receive_data(offer)
    return us


def test_connections_are_small() -> None:
    assert not hasattr(Connection(True), "__dict__")


@pytest.mark.parametrize("cut", [0, 1, 4, 20])
def test_bytes_behind_the_choice_of_a_dialect_with_frames(cut: int) -> None:
    server = Connection(False, dialects=(b"pb",))
    server.dialects = (b"pb2", b"pb")
    assert server.dialects == (b"pb2", b"pb")
    client = Connection(True, dialects=(b"pb2", b"pb"))
    assert client.receive_data(server.connection_made() + b"rest") == []
    assert client.dialect == b"pb2"
    assert client.take_rest() == b"rest"
    assert client.take_rest() == b""
    data = client.data_to_send() + b"\x00frames"
    assert server.receive_data(data[:cut]) == []
    assert server.receive_data(data[cut:]) == []
    rest = server.take_rest()
    assert (server.dialect, rest) == (b"pb2", b"\x00frames"[-len(rest) :])
    assert server.receive_data(b"more") == []
