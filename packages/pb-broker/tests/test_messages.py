"""Shapes of messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_broker._dialects.pb.messages import SHAPES, check
from pb_broker.errors import ProtocolError

GOOD: list[list[Any]] = [
    [b"version", 6],
    [b"message", 1, b"root", b"add", 1, [b"tuple", 1], [b"dictionary"]],
    [b"message", 1, 7, b"add", 0, [b"tuple"], [b"dictionary"]],
    # twisted.spread sends the jelly of a boolean where a program says pbanswer=None.
    [b"message", 1, 7, b"add", [b"None"], [b"tuple"], [b"dictionary"]],
    [b"cachemessage", 1, 7, b"update", 1, [b"tuple"], [b"dictionary"]],
    [b"answer", 1, [b"None"]],
    [b"answer", 1, 5],
    [b"answer", 1, b"five"],
    [b"answer", 1, 5.0],
    [b"error", 1, [b"x", 1]],
    [b"decref", 1],
    [b"decache", 1],
    [b"uncache", 1],
    [b"didNotUnderstand", b"what"],
]


@pytest.mark.parametrize("message", GOOD, ids=lambda m: m[0].decode())
def test_well_formed_messages_are_accepted(message: list[Any]) -> None:
    assert check(message) == (message[0], True)


@pytest.mark.parametrize("message", GOOD, ids=lambda m: m[0].decode())
def test_wrong_number_of_fields_is_refused(message: list[Any]) -> None:
    with pytest.raises(ProtocolError, match="fields"):
        check([*message, 1])
    with pytest.raises(ProtocolError, match="fields"):
        check(message[:-1])


@pytest.mark.parametrize(
    "message",
    [
        b"message",
        5,
        [],
        [5],
        [[b"message"]],
        [b"version", b"6"],
        [b"message", b"1", 7, b"add", 1, [], []],
        [b"message", 1, 7.5, b"add", 1, [], []],
        [b"message", 1, [], b"add", 1, [], []],
        [b"message", 1, 7, 5, 1, [], []],
        [b"message", 1, 7, b"add", b"1", [], []],
        [b"message", 1, 7, b"add", 1, 5, []],
        [b"cachemessage", 1, b"root", b"add", 1, [], []],
        [b"decref", [1]],
        [b"decache", b"root"],
    ],
)
def test_malformed_messages_are_refused(message: Any) -> None:
    with pytest.raises(ProtocolError):
        check(message)


def test_unknown_verbs_are_reported() -> None:
    for verb in (b"__class__", b"proto_message", b"", b"MESSAGE", b"x" * 1000):
        assert check([verb, 1, 2]) == (verb, False)


expressions = st.recursive(
    st.binary(max_size=8)
    | st.integers()
    | st.floats()
    | st.sampled_from(sorted(SHAPES)),
    lambda inner: st.lists(inner, max_size=8),
    max_leaves=20,
)


@given(expressions)
def test_every_refusal_is_a_protocol_error(message: Any) -> None:
    try:
        verb, known = check(message)
    except ProtocolError as error:
        refused = str(error)
    else:
        assert known == (verb in SHAPES)
        return
    assert len(refused) < 200
