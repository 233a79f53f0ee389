from __future__ import annotations

import gc
import sys
from typing import Any

import pytest

from pb_banana import (
    PB_VOCABULARY,
    BananaError,
    DecodeError,
    Decoder,
    Encoder,
    InvalidToken,
    LimitExceeded,
    Limits,
    UnknownVocabulary,
)

from .support import WIDE, cut

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
def test_expressions(data: bytes, expression: Any) -> None:
    for pieces in ([data], cut(data, 1), cut(data, 3)):
        decoder = pb()
        received: list[Any] = []
        for piece in pieces:
            received += decoder.feed(piece)
        assert received == [expression]
        assert type(received[0]) is type(expression)
        assert decoder.is_idle
        assert decoder.offset == len(data)


def test_a_string_of_no_prefix_after_the_word_for_text() -> None:
    # The byte after the word is a type byte and not a length, however much what
    # follows looks as if it were.
    data = b"\x02\x80\x07\x82unicode\x82\x82" + b"\x01\x81" * 65
    assert pb().feed(data) == [[b"unicode", b""], b"", *[1] * 65]


def test_several_expressions_in_one_piece() -> None:
    assert pb().feed(b"\x01\x81\x02\x81\x01\x82a\x01\x80") == [1, 2, b"a"]


def test_nothing_gives_nothing() -> None:
    decoder = pb()
    assert decoder.feed(b"") == []
    assert decoder.is_idle
    assert not decoder.has_backlog
    assert decoder.offset == 0


def test_anything_with_a_buffer_is_data() -> None:
    for kind in (bytearray, memoryview):
        assert pb().feed(kind(b"\x05\x82hello")) == [b"hello"]  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["\x05", 5, None, [5]])
def test_anything_else_is_our_mistake(data: object) -> None:
    with pytest.raises(TypeError):
        pb().feed(data)  # type: ignore[arg-type]


def test_what_a_caller_does_to_the_results_changes_nothing() -> None:
    decoder = pb()
    first = decoder.feed(b"\x01\x81\x02\x80\x01\x81")
    first.append(b"mine")
    assert decoder.feed(b"\x02\x81") == [[1, 2]]
    assert decoder.feed(b"\x03\x81") == [3]


@pytest.mark.parametrize("kind", range(0x88, 0x100))
def test_other_type_bytes_mean_nothing(kind: int) -> None:
    for digits in (b"", b"\x05", b"\x05\0", b"\x05\0\0"):
        with pytest.raises(InvalidToken, match=f"0x{kind:02x}") as caught:
            pb().feed(b"\x02\x80\x01\x81" + digits + bytes((kind,)))
        assert caught.value.offset == 4
        assert caught.value.path == "[1]"


@pytest.mark.parametrize("number", [b"", b"\0", b"\x20", b"\x7f\x01", b"\x7f" * 64])
def test_unknown_words(number: bytes) -> None:
    with pytest.raises(UnknownVocabulary) as caught:
        pb().feed(b"\x01\x81" + number + b"\x87") and pb().feed(number + b"\x87")
    assert len(str(caught.value)) < 100


def test_no_word_is_known_without_a_vocabulary() -> None:
    for number in (b"\x01", b"\x20"):
        with pytest.raises(InvalidToken):
            Decoder().feed(number + b"\x87")


def test_a_vocabulary_may_be_anyones_and_be_replaced() -> None:
    decoder = Decoder(vocabulary={200: b"unicode"})
    assert decoder.feed(b"\x48\x01\x87") == [b"unicode"]
    decoder.vocabulary = PB_VOCABULARY
    assert decoder.vocabulary is PB_VOCABULARY
    assert decoder.feed(b"\x01\x87") == [b"None"]
    decoder.vocabulary = None
    with pytest.raises(InvalidToken):
        decoder.feed(b"\x01\x87")


def test_limits_may_be_replaced_in_the_middle_of_an_expression() -> None:
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
    def test_the_rest_waits(self) -> None:
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

    def test_exactly_as_many_leave_no_backlog(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x81", 2) == [1, 2]
        assert not backlog(decoder)
        assert decoder.is_idle

    def test_later_data_waits_its_turn(self) -> None:
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

    def test_a_backlog_of_whole_pieces(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x81", 1) == [1]
        assert decoder.feed(b"\x03\x81", 1) == [2]
        # What is left begins with a piece that has not been looked at.
        assert backlog(decoder)
        assert decoder.feed(b"", 1) == [3]
        assert not backlog(decoder)

    def test_an_incomplete_rest_is_a_backlog_until_it_is_looked_at(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x05", 1) == [1]
        assert backlog(decoder)
        assert decoder.feed(b"", 1) == []
        assert not backlog(decoder)
        assert decoder.feed(b"\x81", 1) == [5]

    def test_nothing_is_copied_while_it_waits(self) -> None:
        # Taking one message at a time out of a large piece must not cost a
        # copy of the rest each time.
        data = b"\x01\x81" * 50_000
        decoder = pb()
        decoder.feed(data, 1)
        for _ in range(100):
            assert decoder.feed(b"", 1) == [1]
        holders = [each for each in gc.get_referents(decoder) if type(each) is bytes]
        assert any(each is data for each in holders)


class TestErrors:
    def test_complete_expressions_come_first(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x80\x03\x81\x88\x01\x81") == [1]
        assert backlog(decoder)
        for _ in range(3):
            with pytest.raises(InvalidToken) as caught:
                decoder.feed(b"")
            assert caught.value.offset == 6
            assert not backlog(decoder)

    def test_it_stays_broken(self) -> None:
        decoder = pb()
        with pytest.raises(InvalidToken):
            decoder.feed(b"\x88")
        for data in (b"", b"\x01\x81", b"\x01\x81" * 100):
            with pytest.raises(InvalidToken):
                decoder.feed(data)
        assert not backlog(decoder)

    def test_the_traceback_does_not_grow(self) -> None:
        decoder = pb()
        lengths = []
        for _ in range(5):
            with pytest.raises(InvalidToken) as caught:
                decoder.feed(b"\x88")
            lengths.append(len(caught.traceback))
        assert max(lengths) <= 3

    def test_what_had_come_is_let_go(self) -> None:
        decoder = pb()
        decoder.feed(b"\x03\x80\x7f\x7f\x01\x82" + b"x" * 20_000)
        with pytest.raises(InvalidToken):
            decoder.feed(b"x" * 12_767 + b"\x88")
        assert not [
            each
            for each in gc.get_referents(decoder)
            if (type(each) is bytes or type(each) is list) and each
        ]

    def test_an_error_with_a_backlog(self) -> None:
        decoder = pb()
        assert decoder.feed(b"\x01\x81\x02\x81\x88", 1) == [1]
        assert decoder.feed(b"\x05\x81", 1) == [2]
        assert backlog(decoder)
        with pytest.raises(InvalidToken):
            decoder.feed(b"", 1)

    def test_paths_lead_to_the_token(self) -> None:
        for text in (b"", b"\x02\x80\x07\x82unicode\x01\x82a"):
            decoder = pb()
            more = 1 if text else 0
            data = bytes((2 + more,)) + b"\x80" + text
            data += b"\x01\x81\x03\x80\x01\x81\x02\x80\x05\x81\x88"
            with pytest.raises(InvalidToken) as caught:
                decoder.feed(data)
            assert caught.value.path == f"[{1 + more}][1][1]"
            assert caught.value.offset == len(data) - 1

    def test_paths_are_bounded(self) -> None:
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

    def test_faults_are_the_peers_or_limits(self) -> None:
        for data in (b"\x88", b"\x20\x87", b"\x7f" * 5000):
            with pytest.raises((DecodeError, LimitExceeded)):
                pb().feed(data)


def test_a_header_is_passed_over() -> None:
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


def test_depth_takes_no_stack() -> None:
    decoder = pb()
    (deep,) = decoder.feed(b"\x01\x80" * 100_000 + b"\0\x80")
    depth = 0
    while isinstance(deep, list) and deep:
        (deep,) = deep
        depth += 1
    assert depth == 100_000


def test_it_is_small() -> None:
    # A server has one for each connection.
    decoder = Decoder()
    assert not hasattr(decoder, "__dict__")
    assert sys.getsizeof(decoder) <= 250
