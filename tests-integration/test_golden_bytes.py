"""Recorded conversations with Twisted, which ours repeat byte for byte.

The recordings in `golden/` are what two `twisted.spread` brokers said to each other.
Each conversation is had again with ours as the client and with ours as the server,
the other side being played from the recording.

What we say may differ in one way, and in no other: *a failure's bookkeeping*.
The state of a CopyableFailure has entries that only the process that made it can use,
such as the number of the failure in that process.
They, and the order of the entries, are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partialmethod
from typing import Any

import pytest
from twisted.spread import banana
from twisted.spread import pb as twisted_pb

from golden.conversation import Line, Side, Step, load, replay
from golden.record import (
    TWISTED,
    converse,
    describe,
    fixed_challenge,
    path_of,
)
from golden.scenarios import SCENES, Flavour
from pb_broker import paging
from pb_cred import pb
from pb_cred._mechanisms import legacy_md5

OURS = Flavour(pb, paging)

pytestmark = pytest.mark.usefixtures("one_batch")

SIDES: tuple[Side, ...] = ("client", "server")

FAILURE = b"twisted.spread.pb.CopyableFailure"

#: The offers of a server with the first dialect, and of one with the second as well.
OFFER = b"\x02\x80\x02\x82pb\x04\x82none"
LONGER_OFFER = b"\x03\x80\x03\x82pb2\x02\x82pb\x04\x82none"

#: Entries of a failure's state that mean nothing to who receives it: its number in the
#: process that made it, how it came to be copied, and the policy it was copied under.
BOOKKEEPING = (b"count", b"pickled", b"_frames", b"unsafeTracebacks")


def split(lines: tuple[Line, ...], side: Side) -> Iterator[tuple[bytes, Any]]:
    """Yield each message that `side` wrote: its bytes and its expression."""
    decoder: Any = banana.Banana()
    decoder.setPrefixLimit(64)
    decoder.currentDialect = b"pb"
    found: list[Any] = []
    decoder.expressionReceived = found.append
    message = b""
    for line in lines:
        if line.side != side:
            continue
        for start in range(len(line.data)):
            byte = line.data[start : start + 1]
            message += byte
            decoder.dataReceived(byte)
            if found:
                yield message, found.pop()
                message = b""
    assert not message, f"half a message: {message[:100]!r}"


def without_bookkeeping(expression: Any) -> Any:
    """Return a message with the state of each failure in it reduced and in order."""
    if not isinstance(expression, list):
        return expression
    if expression and expression[0] == FAILURE:
        head, (dictionary, *entries) = expression
        kept = [entry for entry in entries if entry[0][1] not in BOOKKEEPING]
        return [head, [dictionary, *sorted(kept, key=lambda entry: entry[0])]]
    return [without_bookkeeping(item) for item in expression]


def said(step: Step, side: Side) -> list[Any]:
    """Return the messages of `side` in a step, in the form for comparison.

    Returns:
        The messages in order, each as readable text beside its bytes; or, for one
        with a failure in it, its expression without the bookkeeping.
    """
    return [
        without_bookkeeping(expression) if FAILURE in data else (describe(data), data)
        for data, expression in split(step.lines, side)
    ]


def check(
    name: str,
    side: Side,
    flavour: Flavour,
    challenge_in: object,
    offer: bytes | None = None,
) -> None:
    """Replay a conversation.

    Args:
        name: Its name.
        side: The side that is played.
        flavour: The implementation that plays it.
        challenge_in: The module whose challenges are fixed.
        offer: The server's offer, if it is another than the recorded one.
    """
    recording = load(path_of(name))
    with fixed_challenge(challenge_in):
        replayed = replay(SCENES[name](flavour), side, recording)
    for expected, heard in zip(recording, replayed, strict=True):
        ours, theirs = said(heard, side), said(expected, side)
        if expected.name == "connection" and side == "server" and offer is not None:
            assert ours.pop(0)[1] == offer
            assert theirs.pop(0)[1] == OFFER
        assert ours == theirs, expected.name
        assert [text for who, text in heard.seen if who == side] == [
            text for who, text in expected.seen if who == side
        ], expected.name


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", SCENES)
def test_bytes_equal_those_of_the_recording(name: str, side: Side) -> None:
    check(name, side, OURS, legacy_md5)


class Speaking:
    """The module `pb`, with factories that offer given dialects.

    Args:
        dialects: Their names.
    """

    def __init__(self, *dialects: str) -> None:
        for base in (pb.PBServerFactory, pb.PBClientFactory):
            offering = partialmethod(base.__init__, dialects=dialects)
            kind = type(base.__name__, (base,), {"__init__": offering})
            setattr(self, base.__name__, kind)

    def __getattr__(self, name: str) -> Any:
        return getattr(pb, name)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", SCENES)
def test_offer_of_the_first_dialect_alone_changes_no_byte(
    name: str, side: Side
) -> None:
    check(name, side, Flavour(Speaking("pb"), paging), legacy_md5, OFFER)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", SCENES)
def test_offer_of_the_second_dialect_changes_no_byte_behind_it(
    name: str, side: Side
) -> None:
    flavour = Flavour(Speaking("pb2", "pb"), paging)
    check(name, side, flavour, legacy_md5, LONGER_OFFER)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", SCENES)
def test_replay_needs_the_recording_alone(name: str, side: Side) -> None:
    """A replay of Twisted equals its recording: differences are not the replay's."""
    check(name, side, TWISTED, twisted_pb)


@pytest.mark.parametrize("name", SCENES)
def test_recording_equals_twisteds_bytes_of_today(name: str) -> None:
    _, steps = converse(name)
    recording = load(path_of(name))
    assert [step.name for step in steps] == [step.name for step in recording]
    for now, then in zip(steps, recording, strict=True):
        assert now.seen == then.seen, now.name
        for side in SIDES:
            assert said(now, side) == said(then, side), now.name


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda data: data.replace(b"tell", b"yell"), id="another name"),
        pytest.param(lambda data: data.replace(b"\x01\x81", b"\x02\x81"), id="an id"),
        pytest.param(lambda data: b"", id="nothing said"),
    ],
)
def test_changed_byte_is_noticed(alter: Callable[[bytes], bytes]) -> None:
    step = load(path_of("callbacks"))[2]
    lines = tuple(Line(line.side, alter(line.data)) for line in step.lines)
    altered = Step(step.side, step.name, lines, step.seen)
    assert said(altered, "server") != said(step, "server")
