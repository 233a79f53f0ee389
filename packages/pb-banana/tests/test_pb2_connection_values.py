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


class Noting(Receiving):
    """Notes the values that it is told of."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Any]] = []

    def arrived(self, tag: int, content: Any, blank: Any, /) -> Any:
        self.told.append((tag, content))
        return super().arrived(tag, content, blank)


def test_references_behind_a_refused_value_arrive_once() -> None:
    refused = Node(n=[Thing(tags.MINE, 2), Thing(tags.YOURS, 3)])
    beside = [Thing(tag, 4) for tag in tags.CONNECTION_TAGS]
    large = Thing(tags.STREAM, 2**40)
    values = [Thing(tags.MINE, 1), refused, *beside, Thing(tags.MINE, 99), [large]]
    data = sent([values, Thing(tags.MINE, 5)], connection=Sending())
    receiving = Noting()
    policy = SecurityOptions()
    policy.allowBasicTypes()
    fields = reader_for(policy, connection=receiving).fields(data, 0, len(data))
    assert isinstance(fields[0].error, JellyError)
    assert fields[1].content == 5
    assert receiving.told == [
        *((tags.MINE, 1), (tags.MINE, 2)),
        *((tag, 4) for tag in (tags.MINE, tags.CACHE_MENTION, tags.STREAM)),
        *((tags.MINE, 99), (tags.STREAM, 2**40), (tags.MINE, 5)),
    ]


def test_numbers_behind_a_refused_value_that_none_has() -> None:
    receiving = Noting()
    refused = "d9b9b81863"
    for content in ("1bffffffffffffffff", "80", "20"):
        data = bytes.fromhex(f"8182{refused}d9b9b7{content}")
        (field,) = reader_for(connection=receiving).fields(data, 0, len(data))
        assert isinstance(field.error, JellyError)
    assert receiving.told == [(tags.YOURS, 99)] * 3
    reader = reader_for(connection=receiving)
    data = bytes.fromhex(f"8182{refused}d9b9b7")
    with pytest.raises(DecodeError):
        reader.fields(data, 0, len(data))


class Referring(Jellyable):
    """Makes an expression of its own, as avatars do for their references."""

    def __init__(self, *expression: Any) -> None:
        self.expression = expression

    def jellyFor(self, jellier: Any) -> Any:
        return list(self.expression)


def test_reference_of_a_hook_has_the_form_of_all_references() -> None:
    policy = SecurityOptions()
    policy.allowBasicTypes()
    policy.allowTypes("remote")
    data = sent([Referring(b"remote", 5), 6], policy, connection=Sending())
    assert data.hex() == "82d9b9b70506"
    again = Referring(b"remote", 5)
    shared = sent([again, again], policy, connection=Sending())
    assert shared.hex() == "82d81cd9b9b705d81d00"
    found = received(shared, policy, connection=Receiving())
    assert (found[0].tag, found[0].content) == (tags.MINE, 5)


@pytest.mark.parametrize(
    "expression", [(b"remote", -5), (b"remote", b"5"), (b"remote", 5, 6), (b"local", 5)]
)
def test_expression_of_a_hook_that_is_no_reference(expression: Any) -> None:
    policy = SecurityOptions()
    policy.allowBasicTypes()
    data = sent(Referring(*expression), policy, connection=Sending())
    assert data[:3] == bytes([0xD9, *tags.SEXP.to_bytes(2, "big")])


def test_reference_of_a_hook_without_a_connection_is_an_expression() -> None:
    data = sent(Referring(b"remote", 5))
    assert data[:3] == bytes([0xD9, *tags.SEXP.to_bytes(2, "big")])


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
