from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import (
    PB_VOCABULARY,
    BananaError,
    Connection,
    DecodeError,
    Decoder,
    Encoder,
    InvalidToken,
    LimitExceeded,
    Limits,
    UnknownVocabulary,
)
from pb_jelly.codec import CurrentTables

from .graphs import (
    KNOWN,
    POLICY,
    Mark,
    Node,
    Spot,
    assert_reads,
    call,
    decoded,
    encoded,
    jelly_like,
    message,
    remote,
)
from .support import WIDE, chunkings, cut, describe, fragments, small_limits

PB = Encoder(WIDE, vocabulary=PB_VOCABULARY)


def pb() -> Decoder:
    return Decoder(WIDE, vocabulary=PB_VOCABULARY)


@pytest.mark.parametrize(
    ("data", "expression"),
    [
        (b"\0\x80", []),
        (b"\x80", []),
        (b"\x02\x80\x01\x80\x80\0\x80", [[[]], []]),
        (b"\x82", b""),
        (b"\x05\x82hello", b"hello"),
        (b"\x05\0\x82hello", b"hello"),
        (b"\x05\0\0\0\0\x82hello", b"hello"),
        (b"\x81", 0),
        (b"\x05\0\0\x81", 5),
        (b"\x7f\x81", 127),
        (b"\0\x01\x81", 128),
        (b"\0\0\x01\x81", 16_384),
        (b"\x7f" * 64 + b"\x81", 2**448 - 1),
        (b"\x05\x83", -5),
        (b"\x83", 0),
        (b"\x05\x85", 5),
        (b"\x05\x86", -5),
        (b"\x7f" * 64 + b"\x86", 1 - 2**448),
        (b"\x84?\xf8\0\0\0\0\0\0", 1.5),
        (b"\x05\x06\x84?\xf8\0\0\0\0\0\0", 1.5),
        (b"\x01\x87", b"None"),
        (b"\x1f\0\0\x87", b"uncache"),
        (b"\x02\x80\x07\x82unicode\x02\x82hi", [b"unicode", b"hi"]),
        (b"\x02\x80\x07\x82unicode\x82", [b"unicode", b""]),
        (b"\x02\x80\x07\x82unicode\x02\0\x82hi", [b"unicode", b"hi"]),
        (b"\x02\x80\x07\x82unicode\x02\x81", [b"unicode", 2]),
        (b"\x02\x80\x07\x82unicorn\x02\x82hi", [b"unicorn", b"hi"]),
        (b"\x02\x80\x07\x81\x02\x82hi", [7, b"hi"]),
        (b"\x02\0\x80\x07\x82unicode\x02\x82hi", [b"unicode", b"hi"]),
        (b"\x01\x80\x07\x82unicode", [b"unicode"]),
        (b"\x01\x80" + b"\x02\x80\x07\x82unicode\x02\x82hi", [[b"unicode", b"hi"]]),
    ],
)
def test_tokens_of_each_kind(data: bytes, expression: Any) -> None:
    for pieces in ([data], cut(data, 1), cut(data, 3)):
        decoder = pb()
        received: list[Any] = []
        for piece in pieces:
            received += decoder.feed(piece)
        assert received == [expression]
        assert type(received[0]) is type(expression)
        assert decoder.is_idle
        assert decoder.offset == len(data)


def test_string_without_prefix_after_the_word_for_text() -> None:
    # The byte after the word is a type byte and not a length, however much what
    # follows looks as if it were.
    data = b"\x02\x80\x07\x82unicode\x82\x82" + b"\x01\x81" * 65
    assert pb().feed(data) == [[b"unicode", b""], b"", *[1] * 65]


def test_several_expressions_in_one_piece() -> None:
    assert pb().feed(b"\x01\x81\x02\x81\x01\x82a\x01\x80") == [1, 2, b"a"]


def test_empty_data_gives_no_expression() -> None:
    decoder = pb()
    assert decoder.feed(b"") == []
    assert decoder.is_idle
    assert not decoder.has_backlog
    assert decoder.offset == 0


def test_any_buffer_is_accepted_as_data() -> None:
    for kind in (bytearray, memoryview):
        assert pb().feed(kind(b"\x05\x82hello")) == [b"hello"]  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["\x05", 5, None, [5]])
def test_refusal_of_data_without_a_buffer(data: object) -> None:
    with pytest.raises(TypeError):
        pb().feed(data)  # type: ignore[arg-type]


def test_changes_of_a_result_do_not_affect_the_decoder() -> None:
    decoder = pb()
    first = decoder.feed(b"\x01\x81\x02\x80\x01\x81")
    first.append(b"mine")
    assert decoder.feed(b"\x02\x81") == [[1, 2]]
    assert decoder.feed(b"\x03\x81") == [3]


@pytest.mark.parametrize("kind", range(0x88, 0x100))
def test_refusal_of_unknown_type_bytes(kind: int) -> None:
    for digits in (b"", b"\x05", b"\x05\0", b"\x05\0\0"):
        with pytest.raises(InvalidToken, match=f"0x{kind:02x}") as caught:
            pb().feed(b"\x02\x80\x01\x81" + digits + bytes((kind,)))
        assert caught.value.offset == 4
        assert caught.value.path == "[1]"


@pytest.mark.parametrize("number", [b"", b"\0", b"\x20", b"\x7f\x01", b"\x7f" * 64])
def test_refusal_of_unknown_words(number: bytes) -> None:
    with pytest.raises(UnknownVocabulary) as caught:
        pb().feed(b"\x01\x81" + number + b"\x87") and pb().feed(number + b"\x87")
    assert len(str(caught.value)) < 100


def test_refusal_of_words_without_a_vocabulary() -> None:
    for number in (b"\x01", b"\x20"):
        with pytest.raises(InvalidToken):
            Decoder().feed(number + b"\x87")


def test_own_vocabulary_and_its_replacement() -> None:
    decoder = Decoder(vocabulary={200: b"unicode"})
    assert decoder.feed(b"\x48\x01\x87") == [b"unicode"]
    decoder.vocabulary = PB_VOCABULARY
    assert decoder.vocabulary is PB_VOCABULARY
    assert decoder.feed(b"\x01\x87") == [b"None"]
    decoder.vocabulary = None
    with pytest.raises(InvalidToken):
        decoder.feed(b"\x01\x87")


def test_limits_replaced_within_an_expression() -> None:
    decoder = Decoder(Limits(string_bytes=3))
    assert decoder.feed(b"\x03\x80\x03\x82abc") == []
    decoder.limits = Limits(string_bytes=5)
    assert decoder.limits == Limits(string_bytes=5)
    assert decoder.feed(b"\x05\x82abcde") == []
    decoder.limits = Limits(string_bytes=4)
    with pytest.raises(LimitExceeded):
        decoder.feed(b"\x05\x82abcde")


def backlog(decoder: Decoder) -> bool:
    # By way of a function, so that mypy does not take it to stay as it was.
    return decoder.has_backlog


class TestMaxMessages:
    def test_rest_of_the_data_is_kept(self) -> None:
        decoder = pb()
        values: list[Any] = [1, [2, [b"a"]], b"message", 4]
        data = b"".join(map(PB.encode, values))
        assert decoder.feed(data, 2) == [1, [2, [b"a"]]]
        assert backlog(decoder)
        assert not decoder.is_idle
        assert decoder.feed(b"", 1) == [b"message"]
        assert backlog(decoder)
        assert decoder.feed(b"") == [4]
        assert not backlog(decoder)
        assert decoder.is_idle

    def test_no_backlog_after_exactly_as_many_messages(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x81", 2) == [1, 2]
        assert not backlog(decoder)
        assert decoder.is_idle

    def test_later_data_is_queued(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x81\x05\x82he", 1) == [1]
        assert decoder.feed(b"llo\x03\x81", 1) == [2]
        assert decoder.feed(b"\x04\x81\x02\x80", 1) == [b"hello"]
        assert decoder.feed(b"\x05\x81", 1) == [3]
        assert decoder.feed(b"", 1) == [4]
        assert backlog(decoder)
        assert decoder.feed(b"", 1) == []
        assert not backlog(decoder)
        assert decoder.feed(b"\x06\x81", 1) == [[5, 6]]

    def test_backlog_of_whole_pieces(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x81", 1) == [1]
        assert decoder.feed(b"\x03\x81", 1) == [2]
        # What is left begins with a piece that has not been looked at.
        assert backlog(decoder)
        assert decoder.feed(b"", 1) == [3]
        assert not backlog(decoder)

    def test_incomplete_rest_counts_as_backlog_until_read(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x05", 1) == [1]
        assert backlog(decoder)
        assert decoder.feed(b"", 1) == []
        assert not backlog(decoder)
        assert decoder.feed(b"\x81", 1) == [5]

    def test_backlog_is_kept_uncopied(self) -> None:
        # Taking one message at a time out of a large piece must not cost a
        # copy of the rest each time.
        data = b"\x01\x81" * 50_000
        decoder = pb()
        held = sys.getrefcount(data)
        decoder.feed(data, 1)
        for _ in range(100):
            assert decoder.feed(b"", 1) == [1]
        assert sys.getrefcount(data) == held + 1


class TestErrors:
    def test_complete_expressions_are_returned_before_the_error(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x80\x03\x81\x88\x01\x81") == [1]
        assert backlog(decoder)
        for _ in range(3):
            with pytest.raises(InvalidToken) as caught:
                decoder.feed(b"")
            assert caught.value.offset == 6
            assert not backlog(decoder)

    def test_error_is_raised_by_every_later_call(self) -> None:
        decoder = pb()
        with pytest.raises(InvalidToken):
            decoder.feed(b"\x88")
        for data in (b"", b"\x01\x81", b"\x01\x81" * 100):
            with pytest.raises(InvalidToken):
                decoder.feed(data)
        assert not backlog(decoder)

    def test_traceback_of_a_repeated_error_stays_short(self) -> None:
        decoder = pb()
        lengths = []
        for _ in range(5):
            with pytest.raises(InvalidToken) as caught:
                decoder.feed(b"\x88")
            lengths.append(len(caught.traceback))
        assert len(set(lengths[1:])) == 1

    def test_memory_is_freed_after_an_error(self) -> None:
        decoder = pb()
        decoder.feed(b"\x03\x80\x7f\x7f\x01\x82" + b"x" * 20_000)
        with pytest.raises(InvalidToken):
            decoder.feed(b"x" * 12_767 + b"\x88")
        assert not [
            each
            for each in gc.get_referents(decoder)
            if (type(each) is bytes or type(each) is list) and each
        ]

    def test_error_with_a_backlog(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x81\x88", 1) == [1]
        assert decoder.feed(b"\x05\x81", 1) == [2]
        assert backlog(decoder)
        with pytest.raises(InvalidToken):
            decoder.feed(b"", 1)

    def test_path_to_the_wrong_token(self) -> None:
        for text in (b"", b"\x02\x80\x07\x82unicode\x01\x82a"):
            decoder = pb()
            more = 1 if text else 0
            data = bytes((2 + more,)) + b"\x80" + text
            data += b"\x01\x81\x03\x80\x01\x81\x02\x80\x05\x81\x88"
            with pytest.raises(InvalidToken) as caught:
                decoder.feed(data)
            assert caught.value.path == f"[{1 + more}][1][1]"
            assert caught.value.offset == len(data) - 1

    def test_path_of_an_error_is_bounded(self) -> None:
        with pytest.raises(InvalidToken) as caught:
            pb().feed(b"\x01\x80" * 5000 + b"\x88")
        assert len(str(caught.value)) < 300

    def test_numbers_in_messages_are_bounded(self) -> None:
        limits = Limits(prefix_bytes=100_000, nodes=2**62, list_items=2**63)
        for kind in (b"\x80", b"\x82", b"\x87"):
            decoder = Decoder(limits, vocabulary=PB_VOCABULARY)
            with pytest.raises(BananaError) as caught:
                decoder.feed(b"\x7f" * 90_000 + kind)
            assert len(str(caught.value)) < 300
            assert len(repr(caught.value)) < 300

    def test_error_types_by_fault(self) -> None:
        for data in (b"\x88", b"\x20\x87", b"\x7f" * 5000):
            with pytest.raises((DecodeError, LimitExceeded)):
                pb().feed(data)


#: What peers send, of which some is read in one step and some is not.
MESSAGES = [
    call("a", 1, [None], key={"a": 1}),
    message(1, "answer"),
    message(1, [Mark(b"remote", 5)]),
    message(1, Node(x=1)),
    message(1, Spot(x=1)),
    message(1, b"x" * 300),
    message(1, "x" * 9000),
    message(5, verb=b"decref"),
    message(b"root", verb=b"decref"),
    message(1, "a", verb=b"error"),
    message(6, verb=b"version"),
    PB.encode([]),
    PB.encode(5),
    PB.encode(0),
    PB.encode(b""),
    PB.encode(1.5),
]
# A class is known to the table once it has been met.
decoded(encoded(Spot(x=1)))


class OneByOne:
    """A connection that is fed for one message at a time."""

    def __init__(self, limits: Limits = WIDE, *, absorbing: bool = False) -> None:
        self.connection = Connection(True, limits=limits)
        self.connection.select(b"pb")
        self.decoder = self.connection._decoder
        self.absorbing = absorbing
        self.tables = CurrentTables(POLICY)
        self.discarded: list[Any] = []

    def receive_one(self, data: bytes = b"") -> Any:
        if self.absorbing and self.decoder.absorb(data):
            assert not self.decoder.has_backlog
            return None
        discard = self.discarded.extend
        return self.connection.receive_message(
            data, self.tables, KNOWN, remote, discard
        )

    def outcome(self, pieces: Iterable[bytes]) -> tuple[list[Any], Any]:
        """Return the outcome of a stream: messages, and the error if there is any."""
        received: list[Any] = []
        try:
            for piece in [*pieces, b""]:
                found = self.receive_one(piece)
                while found is not None:
                    received.append(found)
                    found = self.receive_one()
                assert not self.decoder.has_backlog
        except BananaError as error:
            return received, describe(error)
        return received, None


def assert_the_same(data: bytes, limits: Limits = WIDE) -> int:
    """Assert that `feed` reads a stream equally; count messages read in one step."""
    expected: list[Any] = []
    expected_error = None
    decoder = Decoder(limits, vocabulary=PB_VOCABULARY)
    try:
        expected += decoder.feed(data)
        decoder.feed(b"")
    except BananaError as error:
        expected_error = describe(error)
    ready = 0
    for pieces in chunkings(data):
        for absorbing in (False, True):
            ours = OneByOne(limits, absorbing=absorbing)
            received, ended = ours.outcome(pieces)
            assert ended == expected_error
            assert len(received) == len(expected)
            ready += sum(map(assert_reads, received, expected))
            assert ours.decoder.offset == decoder.offset
            assert ours.decoder.is_idle == decoder.is_idle
    return ready


class TestOneByOne:
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(MESSAGES),
                st.builds(lambda value: PB.encode([b"answer", 1, value]), jelly_like),
                fragments,
            ),
            max_size=5,
        ),
        small_limits,
    )
    def test_same_messages_as_feed(self, parts: list[bytes], limits: Limits) -> None:
        assert_the_same(b"".join(parts), limits)

    def test_whole_message_takes_one_step(self) -> None:
        assert assert_the_same(b"".join(MESSAGES)) > 50
        ours = OneByOne()
        (received, error) = ours.outcome(MESSAGES)
        steps = [type(found) is tuple for found in received]
        assert steps == [True, True, True, False, *[True] * 5, *[False] * 7]
        assert error is None

    def test_several_messages_of_one_piece_take_one_step_each(self) -> None:
        ours = OneByOne()
        first, *others = MESSAGES[:3] * 2
        assert type(ours.receive_one(b"".join([first, *others]))) is tuple
        for _ in others:
            assert backlog(ours.decoder)
            assert not ours.decoder.is_idle
            assert type(ours.receive_one()) is tuple
        assert not backlog(ours.decoder)
        assert ours.decoder.is_idle
        assert ours.receive_one() is None

    def test_message_in_pieces_takes_two_steps(self) -> None:
        ours = OneByOne()
        whole = MESSAGES[0]
        for length in range(1, len(whole)):
            assert ours.receive_one(whole[:length]) is None
            found = ours.receive_one(whole[length:])
            assert assert_reads(found, pb().feed(whole)[0]) is (length == 1)
            # And what follows it does not.
            assert type(ours.receive_one(whole)) is tuple
        assert ours.receive_one(whole + whole[:20]) is not None
        assert backlog(ours.decoder)
        assert ours.receive_one(b"") is None
        assert not backlog(ours.decoder)
        assert ours.receive_one(whole[20:] + whole) == pb().feed(whole)[0]
        assert type(ours.receive_one()) is tuple

    def test_later_data_is_queued(self) -> None:
        ours = OneByOne()
        answers = [message(number, "a") for number in range(5)]
        found = [
            ours.receive_one(answers[0]),
            ours.receive_one(answers[1] + answers[2]),
            ours.receive_one(answers[3]),
            ours.receive_one(answers[4][:5]),
            ours.receive_one(answers[4][5:]),
        ]
        assert [each[1] for each in found] == [0, 1, 2, 3, 4]

    def test_feed_and_receive_one_in_turn(self) -> None:
        ours = OneByOne()
        whole = message(1, "a")
        assert ours.receive_one(whole * 4) == (b"answer", 1, "a")
        expression = [b"answer", 1, [b"unicode", b"a"]]
        assert ours.decoder.feed(b"", 1) == [expression]
        assert ours.receive_one() == (b"answer", 1, "a")
        assert ours.decoder.feed(whole + whole[:5]) == [expression] * 2
        assert ours.receive_one(whole[5:]) == expression
        assert ours.receive_one(whole) == (b"answer", 1, "a")

    def test_limits_replaced_between_messages(self) -> None:
        ours = OneByOne(Limits(string_bytes=100))
        whole = message(1, b"x" * 101)
        assert ours.receive_one(message(1, b"x")) is not None
        ours.decoder.limits = Limits(string_bytes=200)
        assert ours.receive_one(whole) is not None
        ours.decoder.limits = Limits(string_bytes=100)
        with pytest.raises(LimitExceeded):
            ours.receive_one(whole)
        for data in (b"", message(1, b"x")):
            with pytest.raises(LimitExceeded):
                ours.receive_one(data)

    def test_error_is_raised_after_earlier_messages(self) -> None:
        ours = OneByOne()
        whole = message(1, "a")
        assert ours.receive_one(whole * 2 + b"\x88") is not None
        assert ours.receive_one() is not None
        for _ in range(2):
            with pytest.raises(InvalidToken) as caught:
                ours.receive_one()
            assert caught.value.offset == 2 * len(whole)

    def test_references_are_discarded_before_the_two_steps(self) -> None:
        ours = OneByOne()
        mark = Mark(b"remote", 5)
        assert type(ours.receive_one(message(1, mark))) is tuple
        assert ours.discarded == []
        assert type(ours.receive_one(message(1, [mark, Node()]))) is list
        assert len(ours.discarded) == 1
        assert ours.receive_one(message(1, [mark, mark])[:-1]) is None
        assert len(ours.discarded) == 2


class TestAbsorbing:
    def test_only_the_middle_of_a_string_is_absorbed(self) -> None:
        decoder = pb()
        assert not decoder.absorb(b"\x05")
        assert decoder.feed(b"\x02\x80\x01\x81\x0a\x82ab") == []
        assert decoder.absorb(b"")
        assert decoder.absorb(b"cdef")
        assert decoder.absorb(b"g")
        # With the end of the string there may be more.
        assert not decoder.absorb(b"hij")
        assert not decoder.absorb(b"hij\x01\x81")
        assert decoder.feed(b"hij\x01\x81") == [[1, b"abcdefghij"], 1]
        assert not decoder.absorb(b"")

    def test_data_is_not_absorbed_during_a_backlog(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x81\x05\x82a", 1) == [1]
        assert not decoder.absorb(b"b")
        assert decoder.feed(b"", 1) == [2]
        assert not decoder.absorb(b"b")
        assert decoder.feed(b"", 1) == []
        assert decoder.absorb(b"b")
        assert decoder.feed(b"cde", 1) == [b"abcde"]

    @pytest.mark.parametrize("size", [1, 100, 5000])
    def test_offsets_count_absorbed_bytes(self, size: int) -> None:
        decoder = pb()
        data = PB.encode([5, b"x" * 20_000])
        for piece in cut(data, size):
            if not decoder.absorb(piece):
                assert decoder.feed(piece) in ([], [[5, b"x" * 20_000]])
        assert decoder.offset == len(data)
        with pytest.raises(InvalidToken) as caught:
            decoder.feed(b"\x88")
        assert caught.value.offset == len(data)


def test_header_bytes_are_skipped() -> None:
    decoder = Decoder(header_bytes=4)
    assert decoder.offset == 4
    assert decoder.feed(b"\x88\x88\x88\x88\x01\x81\x02") == [1]
    with pytest.raises(InvalidToken) as caught:
        decoder.feed(b"\x88")
    assert caught.value.offset == 6
    decoder = Decoder(header_bytes=4)
    assert decoder.feed(b"\x88\x88\x88\x88") == []
    assert decoder.feed(b"\x01\x81") == [1]
    assert decoder.offset == 6


def test_offsets_count_from_the_start_of_the_stream() -> None:
    decoder = pb()
    for _ in range(10):
        decoder.feed(b"\x03\x82ab")
        decoder.feed(b"c\x01\x80")
        decoder.feed(b"\x01\x81")
    assert decoder.offset == 90
    decoder.feed(b"\x02\x80\x01\x81")
    assert decoder.offset == 90
    with pytest.raises(InvalidToken) as caught:
        decoder.feed(b"\x05\x90")
    assert caught.value.offset == 94


def test_depth_does_not_recurse() -> None:
    decoder = pb()
    (deep,) = decoder.feed(b"\x01\x80" * 100_000 + b"\0\x80")
    depth = 0
    while isinstance(deep, list) and deep:
        (deep,) = deep
        depth += 1
    assert depth == 100_000


def test_memory_of_an_idle_decoder() -> None:
    # A server has one for each connection.
    decoder = Decoder()
    assert not hasattr(decoder, "__dict__")
    assert sys.getsizeof(decoder) <= 250
