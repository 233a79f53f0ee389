from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import DecodeError
from pb_banana._pb2.credit import CreditGiven, CreditTaken


def test_calls_within_both_windows_may_be_begun() -> None:
    credit = CreditTaken(16, 800)
    for _ in range(14):
        assert credit.allows(10, False)
        credit.begin(10)
    # Two calls, and a hundred bytes, are kept for calls within calls.
    assert not credit.allows(10, False)
    assert credit.allows(10, True)
    assert not credit.allows(700, True)


def test_a_message_over_the_window_may_go_alone() -> None:
    credit = CreditTaken(8, 100)
    assert credit.allows(5000, False)
    credit.begin(5000)
    assert not credit.allows(1, True)
    assert not credit.told(100, 8)
    assert credit.told(5100, 9)
    assert credit.allows(5000, False)


def test_totals_never_shrink() -> None:
    credit = CreditTaken(8, 100)
    assert not credit.told(50, 4)
    assert (credit.most_octets, credit.most_calls) == (100, 8)


def test_the_other_end_is_told_of_a_quarter() -> None:
    given_ = CreditGiven(8, 10_000)
    for _ in range(3):
        given_.begin(1)
    news = [given_.has_news, given_.end(1), given_.has_news, given_.end(1)]
    assert news == [False, False, True, True]
    assert given_.tell() == (10_002, 10)


def test_a_wider_window_is_news() -> None:
    given_ = CreditGiven(8, 10_000)
    given_.widen(16, 20_000)
    assert given_.has_news
    assert given_.tell() == (20_000, 16)


def test_bytes_are_news_as_well() -> None:
    given_ = CreditGiven(1000, 100)
    given_.begin(30)
    assert given_.end(30)


@pytest.mark.parametrize("sizes", [[1] * 9, [60, 60], [1, 500]])
def test_more_than_the_credit_is_a_violation(sizes: list[int]) -> None:
    given_ = CreditGiven(8, 100)
    for size in sizes[:-1]:
        given_.begin(size)
    with pytest.raises(DecodeError, match="8 calls and 100 bytes"):
        given_.begin(sizes[-1])


@given(st.lists(st.tuples(st.integers(1, 300), st.booleans()), max_size=60))
def test_what_one_end_allows_the_other_accepts(steps: list[tuple[int, bool]]) -> None:
    taken, given_ = CreditTaken(8, 400), CreditGiven(8, 400)
    open_: list[int] = []
    for size, ends in steps:
        if ends and open_:
            if given_.end(open_.pop()):
                taken.told(*given_.tell())
        elif taken.allows(size, True):
            taken.begin(size)
            given_.begin(size)
            open_.append(size)
    for size in open_:
        given_.end(size)
    taken.told(*given_.tell())
    # However large it is, one can be begun when nothing else is outstanding.
    assert taken.allows(10**6, False)


def test_credit_of_a_message_that_was_not_begun_is_taken_back() -> None:
    credit = CreditTaken(8, 100)
    credit.begin(60)
    credit.begin(60)
    credit.take_back(60)
    assert (credit.calls, credit.octets) == (1, 60)


def test_any_message_may_be_begun_without_the_reserve() -> None:
    credit = CreditTaken(8, 10_000)
    for _ in range(7):
        assert credit.allows_any()
        credit.begin(1)
    assert not credit.allows_any()
