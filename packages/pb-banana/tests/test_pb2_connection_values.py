from __future__ import annotations

from typing import Any

import pytest

from pb_banana import DecodeError
from pb_banana._pb2 import tags
from pb_banana._pb2.connection_values import ReceivedValues, SentValues
from pb_jelly import (
    ClassRegistry,
    Jellyable,
    JellyError,
    MalformedJelly,
    SecurityOptions,
    Unjellyable,
    qual,
)

from .graphs import Node
from .pb2 import reader_for, received, sent, writer_for

#: The name of the class of a cached copy, as a message has it.
NAME = qual(Node)


class Thing:
    """A value that belongs to a connection."""

    def __init__(self, tag: int, content: Any) -> None:
        self.tag = tag
        self.content = content


class Sending:
    """The answers of one end."""

    def context(self) -> Any:
        return "context of the sender"

    def __init__(self) -> None:
        self.asked: list[type[Any]] = []

    def tag_of(self, cls: type[Any], /) -> int:
        self.asked.append(cls)
        return tags.MINE if cls is Thing else 0

    def content(self, value: Any, tag: int, /) -> tuple[int, Any]:
        return value.tag, value.content


class Receiving:
    """The answers of the other end."""

    def context(self) -> Any:
        return "context of the receiver"

    def opened(self, number: int, request: int, target: Any, /) -> None:
        raise AssertionError("a value is no message")

    def begin(self, tag: int, first: list[Any], target: Any, /) -> Any:
        return Thing(tag, [first, target.make])

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
def test_connection_values_are_numbers_and_lists(tag: int) -> None:
    shared: list[Any] = []
    content = [1, NAME, shared]
    found = again([Thing(tag, 5), Thing(tag, content), shared, Node(n=1)])
    assert (found[0].tag, found[0].content) == (tag, 5)
    assert (found[1].tag, found[1].content[:2]) == (tag, [1, NAME])
    assert found[1].content[2] is found[2]


def test_class_is_looked_up_once() -> None:
    sending = Sending()
    writer = writer_for(connection=sending)
    for _ in range(2):
        writer.message([Thing(tags.MINE, 1), Thing(tags.MINE, 2)])
    assert sending.asked == [Thing]


def test_cached_copy_can_contain_itself() -> None:
    name = bytes([0x78, len(NAME)]) + NAME.encode()
    data = b"\xd8\x1c\xd9\xb9\xb9\x83\x05" + name + b"\xa1\x61m\xd8\x1d\x00"
    found = received(data, connection=Receiving())
    assert found.content[2]["m"] is found


def test_class_of_a_cached_copy_is_looked_up_by_the_policy() -> None:
    blanks: list[Any] = []

    class Keeping(Receiving):
        def begin(self, tag: int, first: list[Any], target: Any, /) -> Any:
            blanks.append((first, target.make))
            return super().begin(tag, first, target)

    content = [1, NAME.encode(), {}]
    data = sent(Thing(tags.CACHED, content), connection=Sending())
    received(data, connection=Keeping())
    assert blanks == [([1, NAME.encode()], Node)]
    for name in ("test.Missing", 5):
        content[1] = name
        data = sent(Thing(tags.CACHED, content), connection=Sending())
        with pytest.raises(JellyError):
            received(data, connection=Keeping())


def test_hooks_get_the_connections_context() -> None:
    contexts: list[Any] = []

    class Hooked(Jellyable, Unjellyable):
        def jellyFor(self, jellier: Any) -> Any:
            contexts.append(jellier.context)
            return [b"test.Hooked", 1]

        def unjellyFor(self, unjellier: Any, expression: list[Any]) -> Any:
            contexts.append(unjellier.context)
            return self

    policy = SecurityOptions(registry=ClassRegistry())
    policy.allowBasicTypes()
    policy.registry.setUnjellyableForClass("test.Hooked", Hooked)
    policy.allowTypes("test.Hooked")
    data = sent(Hooked(), policy, connection=Sending())
    received(data, policy, connection=Receiving())
    assert contexts == ["context of the sender", "context of the receiver"]


def test_refused_number_ends_its_field() -> None:
    data = sent([Thing(tags.YOURS, 99), 5], connection=Sending())
    fields = reader_for(connection=Receiving()).fields(data, 0, len(data))
    assert isinstance(fields[0].error, JellyError)
    assert fields[1] == 5


def test_tags_of_connections_are_unknown_without_one() -> None:
    with pytest.raises(DecodeError, match="47543"):
        received(sent(Thing(tags.MINE, 5), connection=Sending()))


def test_refusal_of_truncated_content() -> None:
    with pytest.raises(DecodeError):
        received(bytes.fromhex("d9b9b7"), connection=Receiving())
