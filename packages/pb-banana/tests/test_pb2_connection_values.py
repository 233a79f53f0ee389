from __future__ import annotations

from typing import Any

import pytest

from pb_banana import DecodeError
from pb_banana._pb2 import tags
from pb_banana._pb2.connection_values import ReceivedValues, SentValues
from pb_jelly import JellyError, MalformedJelly

from .graphs import Node
from .pb2 import reader_for, received, sent, writer_for

#: So many entries a cached copy has.
STATE = {"n": 1}


class Thing:
    """A value that belongs to a connection."""

    def __init__(self, tag: int, content: Any) -> None:
        self.tag = tag
        self.content = content


class Sending:
    """The answers of one end."""

    def __init__(self) -> None:
        self.asked: list[type[Any]] = []

    def tag_of(self, cls: type[Any], /) -> int:
        self.asked.append(cls)
        return tags.MINE if cls is Thing else 0

    def content(self, value: Any, tag: int, /) -> tuple[int, Any]:
        return value.tag, value.content


class Receiving:
    """The answers of the other end."""

    def begin(self, tag: int, first: list[Any], /) -> Any:
        return Thing(tag, first)

    def arrived(self, tag: int, content: Any, blank: Any, /) -> Any:
        if content == 99:
            raise MalformedJelly("a number that none has")
        if blank is not None:
            blank.content = content
            return blank
        return Thing(tag, content)


def again(value: Any) -> Any:
    sending: SentValues = Sending()
    receiving: ReceivedValues = Receiving()
    return received(sent(value, connection=sending), connection=receiving)


@pytest.mark.parametrize("tag", tags.CONNECTION_TAGS)
def test_numbers_and_lists(tag: int) -> None:
    shared: list[Any] = []
    found = again([Thing(tag, 5), Thing(tag, [1, shared]), shared, Node(n=1)])
    assert (found[0].tag, found[0].content) == (tag, 5)
    assert (found[1].tag, found[1].content[0]) == (tag, 1)
    assert found[1].content[1] is found[2]


def test_a_class_is_asked_about_once() -> None:
    sending = Sending()
    writer = writer_for(connection=sending)
    for _ in range(2):
        writer.message([Thing(tags.MINE, 1), Thing(tags.MINE, 2)])
    assert sending.asked == [Thing]


def test_a_cached_copy_can_hold_itself() -> None:
    state: dict[str, Any] = {}
    data = bytes.fromhex("d81c d9b9b9 83 05 6161 a1 61 6d d81d00".replace(" ", ""))
    found = received(data, connection=Receiving())
    assert found.content[2]["m"] is found
    assert not state


def test_a_number_that_is_refused_ends_its_field() -> None:
    data = sent([Thing(tags.YOURS, 99), 5], connection=Sending())
    fields = reader_for(connection=Receiving()).fields(data, 0, len(data))
    assert isinstance(fields[0].error, JellyError)
    assert fields[1] == 5


def test_without_a_connection_the_tags_are_not_known() -> None:
    with pytest.raises(DecodeError, match="47543"):
        received(sent(Thing(tags.MINE, 5), connection=Sending()))


def test_content_that_ends_too_early() -> None:
    with pytest.raises(DecodeError):
        received(bytes.fromhex("d9b9b7"), connection=Receiving())
