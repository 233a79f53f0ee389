"""Rare paths through the writer and the reader."""

from __future__ import annotations

import sys
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pb_banana import DecodeError, IncompleteError
from pb_banana._pb2 import tags
from pb_banana._pb2.scalars import TAG_LOADS, Load
from pb_jelly import (
    ClassRegistry,
    InsecureJelly,
    JellyError,
    LimitExceeded,
    MalformedJelly,
    SecurityOptions,
    UnjellyableType,
    copyable,
    qual,
)

from .graphs import Node
from .pb2 import reader_for, received, sent, writer_for
from .support import WIDE
from .test_pb2_connection_values import Receiving, Sending, Thing
from .test_pb2_reader import OPEN, Asking, hooks, read, text
from .test_pb2_writer import Alike, Own, own_policy


def told() -> tuple[SecurityOptions, Any]:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()

    @copyable("Told", policy=policy)
    @dataclass
    class ToldRow:
        n: int = 0

        def postUnjelly(self) -> None:
            self.n += 1

    return policy, ToldRow


def test_fields_with_completion_callbacks() -> None:
    policy, row = told()
    assert received(sent(row(1), policy), policy).n == 2
    with pytest.raises(DecodeError):
        received(b"\x82" + sent(row(1), policy) + b"\xf7", policy)
    reader = reader_for(policy)
    data = sent(row(1), policy)
    assert [reader.message(data, 0, len(data)).n for _ in range(3)] == [2, 2, 2]


def at_any_depth(call: Callable[[], object]) -> None:
    """Call with less and less of Python's stack left."""

    def fall(depth: int) -> None:
        if depth:
            fall(depth - 1)
        else:
            call()

    for less in range(20, 400, 7):
        with suppress(RecursionError, LimitExceeded):
            fall(sys.getrecursionlimit() - less)


def test_exhausted_stack_in_any_call_leaves_a_usable_writer() -> None:
    value: Any = []
    for _ in range(55):
        value = [value]
    data = sent(value)
    writer = writer_for()

    def piecewise(write: Callable[[], None]) -> Callable[[], None]:
        def call() -> None:
            try:
                writer.begin()
                write()
            finally:
                writer.give_up()

        return call

    at_any_depth(lambda: received(data))
    at_any_depth(lambda: writer_for().message(value))
    at_any_depth(piecewise(lambda: writer.value(value)))
    at_any_depth(piecewise(lambda: writer.arguments((value,))))
    at_any_depth(piecewise(lambda: writer.keywords({"k": value})))
    assert b"".join(writer.message(value)) == data


def test_refusal_of_a_repeated_key_among_many() -> None:
    odd = {(n, "x"): n for n in range(70)}
    data = sent(odd)
    first = sent((0, "x"))
    with pytest.raises(MalformedJelly, match="twice"):
        received(data.replace(sent((69, "x")), first))


def test_refusal_of_incomparable_keys_among_many() -> None:
    from .test_pb2_reader import Picky

    policy = SecurityOptions(ClassRegistry())
    policy.allowInstancesOf(Picky)
    name = text(f"{Picky.__module__}.Picky")
    one = f"d9b9b2 82 {name} a1 636b6579 01 00"
    two = "d9b9b2 82 00 a1 636b6579 01 00"
    many = "".join(f"{sent((n, 'x')).hex()} 00" for n in range(70))
    with pytest.raises(MalformedJelly, match="hashed"):
        read(f"b848 {many} {one} {two}", policy)


def test_refusal_of_a_large_integer_just_over_the_limit() -> None:
    with pytest.raises(LimitExceeded):
        read("c2 49" + "ff" * 9, limits=replace(WIDE, prefix_bytes=10))


def test_refusal_of_malformed_ordered_dicts() -> None:
    with pytest.raises(IncompleteError):
        read("d9b9b5 82 1807")
    with pytest.raises(DecodeError, match="no map"):
        read("d9b9b5 82 07 05")
    with pytest.raises(LimitExceeded):
        read("d9b9b5 82 07 a2 01020304", limits=replace(WIDE, nodes=5))
    with pytest.raises(InsecureJelly, match="dictionary"):
        read("d9b9b5 82 07 a0", SecurityOptions(ClassRegistry()))


def test_shared_ordered_dicts_and_deques() -> None:
    for value in (OrderedDict(a=1), deque([1]), memoryview(b"x" * 20_000)):
        first, second = received(sent([value, value]))
        assert first is second


def test_expressions_within_the_loop() -> None:
    chain: Any = Own(["part"], {})
    for _ in range(100):
        chain = [chain]
    found = received(sent(chain, own_policy()), own_policy())
    for _ in range(100):
        (found,) = found
    assert found.parts == (["part"], {})


def test_permissions_within_the_loop() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowTypes("tuple")
    for data in ("80", "d81c80"):
        with pytest.raises(InsecureJelly):
            read("d9b9b081" * 62 + data, policy)
    with pytest.raises(LimitExceeded):
        read("81" * 62 + "83010203", limits=replace(WIDE, list_items=2))


def test_cached_copies_without_references() -> None:
    name = qual(Node)
    data = sent(Thing(tags.CACHED, [1, name, {}]), connection=Sending())
    assert received(data, connection=Receiving()).content == [1, name, {}]
    thing = Thing(tags.CACHED, [1, name, {}])

    class Caching(Sending):
        def tag_of(self, cls: type[Any], /) -> int:
            return tags.CACHED if cls is Thing else 0

    found = received(sent([thing, thing], connection=Caching()), connection=Receiving())
    assert found[0] is found[1]


def test_refusal_of_a_frozenset_of_incomplete_members() -> None:
    one = Alike("k")
    one.friends = {one}  # type: ignore[attr-defined]
    data = sent(one, OPEN).replace(b"\xd9\x01\x02", b"\xd9\xb9\xb1")
    with pytest.raises(MalformedJelly, match="not complete"):
        received(data, OPEN)
    one.friends = frozenset({(one,)})  # type: ignore[attr-defined]
    with pytest.raises(UnjellyableType, match="within the state"):
        sent(one, OPEN)


def test_refusal_of_objects_that_are_no_classes() -> None:
    with pytest.raises(IncompleteError):
        read("d9b9b5 83 19000f", OPEN)
    with pytest.raises(MalformedJelly, match="not a class"):
        read(f"d9b9b2 82 {text('list')} a0")
    assert read(f"d9b9b6 82 {text('tuple')} 05", Asking(ClassRegistry())) == (5,)


class Exhausting:
    def __new__(cls) -> Exhausting:
        raise MemoryError


class Demanding:
    def __new__(cls, needed: int) -> Demanding:
        return object.__new__(cls)


def exhausted(content: Any) -> None:
    raise MemoryError


def test_exhausted_memory_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowInstancesOf(Exhausting, Demanding)
    module = Exhausting.__module__
    with pytest.raises(MemoryError):
        read(f"d9b9b2 82 {text(f'{module}.Exhausting')} a0", policy)
    with pytest.raises(MalformedJelly, match="blank"):
        read(f"d9b9b2 82 {text(f'{module}.Demanding')} a0", policy)
    monkeypatch.setitem(TAG_LOADS, tags.DAYS, Load(b"date", exhausted))
    with pytest.raises(MemoryError):
        read("d864 01")


def test_hooks_of_raw_lists_with_parts() -> None:
    class Raw(Own):
        def jellyFor(self, jellier: Any) -> Any:
            return [b"list", jellier.jelly([1]), [b"tuple", jellier.jelly({}), 5]]

    class Bare(Own):
        def jellyFor(self, jellier: Any) -> Any:
            return jellier.jelly([7])

    assert received(sent(Raw())) == [[1], ({}, 5)]
    assert received(sent(Bare())) == [7]


def test_large_value_refused_at_its_end_leaves_no_output() -> None:
    writer = writer_for()
    with pytest.raises(JellyError):
        writer.message([*range(70_000), object()])
    assert writer.message([5]) == [b"\x81\x05"]
    assert writer.take() == []


def test_large_strings_after_many_small_ones() -> None:
    writer = writer_for()
    value = [["x" * 100] * 300, b"y" * 20_000, b"z" * 20_000]
    writer.begin()
    writer.value(value)
    size = writer.end()
    data = b"".join(writer.take())
    assert len(data) == size
    assert received(data) == value


def test_keys_with_parts_in_a_message_of_several_values() -> None:
    writer = writer_for()
    key = (1, (2, 3))
    writer.begin()
    writer.array(2)
    writer.value({key: 1})
    writer.value({frozenset([key]): 2})
    size = writer.end()
    (data,) = writer.take()
    assert len(data) == size
    assert received(bytes(data)) == [{key: 1}, {frozenset([key]): 2}]


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_about_the_size_of_a_machine_word(sign: int) -> None:
    for bits in (59, 60, 61, 63, 64, 65):
        for near in (-1, 0, 1):
            number = sign * (2**bits + near)
            assert received(sent(number)) == number


def keywords_of(pairs: dict[str, Any], policy: Any) -> Any:
    writer = writer_for(policy)
    writer.begin()
    writer.keywords(pairs)
    writer.end()
    return received(b"".join(writer.take()), policy)


def test_names_of_keywords_under_a_policy_without_some_scalars() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowedTypes.clear()
    policy.allowTypes("dictionary", "unicode", "boolean")
    assert keywords_of({"key": True, "k" * 50: "x"}, policy) == {
        "key": True,
        "k" * 50: "x",
    }
    with pytest.raises(InsecureJelly, match="None"):
        keywords_of({"key": None}, policy)
    without_text = SecurityOptions(ClassRegistry())
    without_text.allowedTypes.clear()
    without_text.allowTypes("dictionary", "list", "tuple")
    with pytest.raises(InsecureJelly, match="unicode") as caught:
        keywords_of({"key": 1}, without_text)
    assert caught.value.path == ".keys()[0]"


def test_attributes_written_before_their_instance() -> None:
    from .graphs import Node

    one = Node(n=1)
    found = received(sent([Node(n=0), one.__dict__, one]))
    assert found[2].__dict__ is found[1]


def test_methods_in_the_deterministic_form() -> None:
    from .test_pb2_writer import Trouble

    trouble = Trouble("x")
    data = sent(trouble.method, OPEN, deterministic=True)
    assert received(data, OPEN)() == "called"
    trouble.me = trouble.method  # type: ignore[attr-defined]
    with pytest.raises(UnjellyableType, match="contains itself"):
        sent(trouble.method, OPEN, deterministic=True)


def test_two_hooks_of_one_message() -> None:
    value = [Own("a", 1), Own("b", 2)]
    found = received(sent(value, own_policy()), own_policy())
    assert [each.parts for each in found] == [("a", 1), ("b", 2)]


def test_large_output_is_not_kept() -> None:
    writer = writer_for()
    for _ in range(2):
        writer.begin()
        writer.value(["x" * 100] * 1000)
        writer.end()
        assert len(b"".join(writer.take())) > 65_536
    assert writer.message(5) == [b"\x05"]


def test_tuples_of_many_items() -> None:
    value = tuple(range(30))
    assert received(sent(value)) == value
    with pytest.raises(LimitExceeded):
        sent(value, limits=replace(WIDE, list_items=29))


def test_refusal_of_surrogates_by_the_policy() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    del policy.allowedTypes[b"@str"]
    for value in ("\ud800", {"\ud800": 1}):
        with pytest.raises(UnjellyableType, match="surrogate"):
            sent(value, policy)


def test_types_within_the_loop() -> None:
    from .graphs import Node, Row

    shared = Node(n=1)
    value: Any = [
        {"k": {1}},
        (1, (2,)),
        Row(shared),
        shared,
        shared.__dict__,
        Node(),
        ValueError("x"),
        bytearray(b"x"),
        array("i", [1]),
        {"b": 1, "a": 2},
    ]
    value.append(value[7])
    for _ in range(80):
        value = [value]
    found = received(sent(value))
    for _ in range(80):
        (found,) = found
    assert found[2].a is found[3]
    assert found[4] is found[3].__dict__
    assert found[10] is found[7]
    for each in (object(), {1: object()}, {(object(),): 1}):
        chain: Any = each
        for _ in range(80):
            chain = [chain]
        with pytest.raises(JellyError):
            sent(chain)
    with pytest.raises(JellyError):
        sent([[{"x": [Node()], "y": object()}]], deterministic=True)
    assert sent({"b": [1], "a": (2,)}, deterministic=True)


def test_hooks_and_callbacks_together() -> None:
    name = text("Changing")
    told_name = text("Told")
    found = read(f"82 d9b9b2 82 {name} a0 d9b9b2 82 {told_name} a0", hooks())
    assert found[1].told
