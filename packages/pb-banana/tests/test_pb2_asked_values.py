from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pb_banana._pb2 import messages, tags
from pb_banana._pb2.asked_values import AskedReceived, AskedSent
from pb_jelly import MalformedJelly

if TYPE_CHECKING:
    from collections.abc import Callable


class Thing:
    """A value of a connection."""


class Values:
    """The values of one connection, which note what they are asked."""

    def __init__(self) -> None:
        self.did: list[Any] = []
        self.noted: list[Any] = []
        self.on_content: Callable[[], object] = bool
        self.on_tag: Callable[[], object] = bool
        self.on_arrived: Callable[[], object] = bool

    def begin_writing(self, served: Any, /) -> Any:
        self.did.append(("write", served))
        before, self.noted = self.noted, [served]
        return before

    def end_writing(self, before: Any, /) -> Any:
        noted, self.noted = self.noted, before
        return noted

    def abandon_writing(self, before: Any, /) -> None:
        self.did.append(("abandon", self.end_writing(before)))

    def begin_reading(self, number: int, request: int, target: Any, /) -> Any:
        self.did.append(("read", number, request, target))
        return len(self.did)

    def end_reading(self, before: Any, /) -> None:
        self.did.append(("end", before))

    def context(self) -> Any:
        return "context"

    def tag_of(self, cls: type[Any], /) -> int:
        self.on_tag()
        return tags.MINE if cls is Thing else 0

    def content(self, value: Any, tag: int, /) -> tuple[int, Any]:
        self.noted.append(value)
        self.on_content()
        return tag, 9

    def begin(self, tag: int, first: list[Any], target: Any, /) -> Any:
        return "blank"

    def arrived(self, tag: int, content: Any, blank: Any, /) -> Any:
        if content == 99:
            raise MalformedJelly("a number that none has")
        self.on_arrived()
        return content, blank


def test_message_without_values_of_the_connection_is_not_opened_there() -> None:
    values = Values()
    sent, received = AskedSent(values), AskedReceived(values)
    outer = sent.open("served")
    assert sent.tag_of(int) == 0
    assert sent.take() is None
    sent.close(outer)
    received.open()
    received.opened(messages.CALL, 5, 1)
    assert not received.close()
    assert values.did == []


def test_message_that_is_written_is_opened_with_the_first_value() -> None:
    values = Values()
    sent = AskedSent(values)
    outer = sent.open("served")
    thing = Thing()
    assert sent.content(thing, tags.MINE) == (tags.MINE, 9)
    assert sent.context() == "context"
    assert values.did == [("write", "served")]
    assert sent.take() == ["served", thing]
    sent.close(outer)
    assert (values.did, values.noted) == ([("write", "served")], [])


def test_message_that_is_not_sent_is_taken_back() -> None:
    values = Values()
    sent = AskedSent(values)
    outer = sent.open("served")
    sent.context()
    sent.close(outer)
    assert values.did == [("write", "served"), ("abandon", ["served"])]
    assert not sent.is_open


def test_message_within_another() -> None:
    values = Values()
    sent = AskedSent(values)
    outer = sent.open("first")
    sent.content("a", 1)
    inner = sent.open("second")
    sent.content("b", 1)
    assert sent.take() == ["second", "b"]
    sent.close(inner)
    sent.content("c", 1)
    assert sent.take() == ["first", "a", "c"]
    sent.close(outer)
    assert not sent.is_open


def test_message_that_is_read_is_opened_with_the_first_value() -> None:
    values = Values()
    received = AskedReceived(values)
    received.open()
    received.opened(messages.CALL, 5, b"root")
    assert received.context() == "context"
    assert received.begin(tags.CACHED, [1], None) == "blank"
    assert received.arrived(tags.CACHED, 3, "blank") == (3, "blank")
    assert received.close()
    assert values.did == [("read", messages.CALL, 5, b"root"), ("end", 1)]
    assert not received.is_open


def test_messages_are_read_one_at_a_time() -> None:
    received = AskedReceived(Values())
    received.open()
    with pytest.raises(RuntimeError, match="not closed"):
        received.open()
