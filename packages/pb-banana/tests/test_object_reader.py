from __future__ import annotations

import abc
import gc
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import (
    PB_VOCABULARY,
    BananaError,
    Decoder,
    Encoder,
    Limits,
    loads,
    message_shapes,
)
from pb_banana._pb.object_reader import Reader
from pb_jelly import ClassRegistry, JellyError, SecurityOptions, Unjellyable, copyable
from pb_jelly.codec import CurrentTables

from .graphs import (
    KNOWN,
    MODERN,
    ORDINARY,
    POLICY,
    SHARING,
    Cell,
    Colour,
    Mark,
    Node,
    Row,
    Spot,
    assert_reads,
    call,
    decoded,
    encoded,
    graphs,
    identical,
    jelly_like,
    message,
    remote,
    scalars,
)
from .support import WIDE, limits_near, streams

PB = Encoder(WIDE, vocabulary=PB_VOCABULARY)
SPOT = f"{Spot.__module__}.{Spot.__qualname__}".encode()
# A class is known to the table once it has been met.
MET = [Spot(x=1), Row(), Cell(), Colour.RED]
decoded(encoded(MET))
decoded(encoded(MET, modern=True), modern=True)


def reader_for(policy: Any = POLICY, *, modern: bool = False) -> Reader:
    reader = Reader()
    reader.use(CurrentTables(policy, modern=modern).reading)
    return reader


def read(
    data: bytes, limits: Limits = WIDE, *, policy: Any = POLICY, modern: bool = False
) -> list[Any]:
    """Return a list of the object read in one step, or an empty list."""
    return reader_for(policy, modern=modern).read_value(data, 0, limits)


def expressions_of(data: bytes, limits: Limits = WIDE) -> list[Any]:
    """Return the outcome of bytes in the first of the two steps."""
    return Decoder(limits, vocabulary=PB_VOCABULARY).feed(data)


def read_by(reader: Reader, expression: Any) -> list[Any]:
    return reader.read_value(PB.encode(expression), 0, WIDE)


def agrees(data: bytes, limits: Limits, modern: bool) -> bool:
    """Assert that one step, if it succeeds, equals the two; return True for success."""
    reader = reader_for(modern=modern)
    found = reader.read_value(data, 0, limits)
    if found:
        value = decoded(data[: reader.position], limits, modern=modern)
        assert identical(found[0], value)
    return bool(found)


any_limits = limits_near(
    message_bytes=st.integers(1, 300),
    string_bytes=st.integers(1, 300),
    list_items=st.integers(1, 80),
    nodes=st.integers(1, 100),
    depth=st.integers(1, 12),
    prefix_bytes=st.integers(1, 10),
)


@given(graphs(), any_limits, st.booleans())
def test_objects_equal_those_of_the_two_steps(
    value: Any, limits: Limits, modern: bool
) -> None:
    """The reader gives up on every refused value."""
    try:
        data = encoded(value, modern=modern)
    except JellyError:
        return
    agrees(data, limits, modern)


@given(jelly_like, any_limits, st.booleans())
def test_any_written_object_is_read_as_by_the_two_steps(
    expression: Any, limits: Limits, modern: bool
) -> None:
    agrees(PB.encode(expression), limits, modern)


@given(streams, any_limits, st.booleans())
def test_any_bytes_are_read_as_by_the_two_steps(
    data: bytes, limits: Limits, modern: bool
) -> None:
    agrees(data, limits, modern)


edits = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 500), st.binary(max_size=2)),
    min_size=1,
    max_size=3,
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Drop a few bytes, and put others there."""
    for dropped, place, put in edits:
        place %= len(data) + 1
        data = data[:place] + put + data[place + dropped :]
    return data


@given(st.one_of(graphs(), scalars), edits, any_limits, st.booleans())
def test_damaged_bytes_are_read_as_by_the_two_steps(
    value: Any, edits: list[tuple[int, int, bytes]], limits: Limits, modern: bool
) -> None:
    try:
        data = encoded(value, modern=modern)
    except JellyError:
        return
    agrees(edited(data, edits), limits, modern)


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("name", [*ORDINARY, *SHARING])
def test_ordinary_values_take_one_step(name: str, modern: bool) -> None:
    data = encoded({**ORDINARY, **SHARING}[name], modern=modern)
    for limits in (WIDE, Limits()):
        assert agrees(data, limits, modern)
    # And not if there is less than all of it.
    for length in range(0, len(data), len(data) // 300 + 1):
        assert read(data[:length], modern=modern) == []


@pytest.mark.parametrize("name", MODERN)
def test_modern_leaves_take_one_step(name: str) -> None:
    for value in (MODERN[name], {"a": [MODERN[name]] * 2}):
        assert agrees(encoded(value, modern=True), WIDE, True)


def test_many_keys_with_randomized_hashes_take_one_step() -> None:
    numbers = range(500)
    texts = [str(number) for number in numbers]
    for keys in ([*numbers], texts, [text.encode() for text in texts]):
        for value in (dict.fromkeys(keys), set(keys), frozenset(keys)):
            assert agrees(encoded(value), WIDE, False)


def test_number_of_keys_of_equal_hash() -> None:
    keys = [(number,) for number in range(64)]
    for value in (dict.fromkeys(keys), set(keys), frozenset(keys)):
        assert agrees(encoded(value), WIDE, False)
    assert read(PB.encode([b"set", *[7] * 64])) == [{7}]
    assert read(PB.encode([b"dictionary", *[[7, 1]] * 64])) == [{7: 1}]
    assert read(PB.encode([b"reference", 2**31 - 1, 5])) == [5]


def test_integers_around_the_machine_size() -> None:
    for bit in range(6, 70):
        for number in (2**bit - 1, -(2**bit) + 1):
            assert read(encoded(number)) == ([number] if bit <= 56 else [])


def test_position_before_and_after_an_object() -> None:
    reader = reader_for()
    data = b"\x05\x81" + encoded(["a"]) + encoded("x" * 300) + encoded([b"b"]) + b"\x01"
    assert reader.read_value(data, 2, WIDE) == [["a"]]
    assert reader.position == 2 + len(encoded(["a"]))
    assert reader.read_value(data, reader.position, WIDE) == ["x" * 300]
    assert reader.read_value(data, reader.position, WIDE) == [[b"b"]]
    assert reader.position == len(data) - 1
    assert reader.read_value(data, reader.position, WIDE) == []
    assert reader.read_value(data, len(data), WIDE) == []


@pytest.mark.parametrize("head", [b"Nones", b"lists", b"settings", b"dictionary "])
def test_incomplete_head(head: bytes) -> None:
    data = PB.encode([b"answer", 1, [head]])
    for length in range(len(data)):
        reader = reader_for()
        assert reader.read(data[:length], 0, KNOWN, WIDE, None, list) is None
        assert read(data[6:length]) == []


class TestIdentity:
    def test_shared_objects(self) -> None:
        shared = [1]
        ((first, second),) = read(encoded([shared, shared]))
        assert first is second == [1]
        mark = Spot(n=1)
        ((one, two, three),) = read(encoded([mark, {"a": mark}, (mark,)]))
        assert one is two["a"] is three[0]
        assert type(one) is Spot
        assert one.n == 1

    def test_cycles(self) -> None:
        items: list[Any] = [1]
        pairs: dict[str, Any] = {"a": items, "b": items}
        items += [pairs, items]
        pairs["c"] = pairs
        assert agrees(encoded(items), WIDE, False)
        assert agrees(encoded(pairs), WIDE, False)
        spot = Spot()
        spot.__dict__.update(me=spot, state=[spot.__dict__])
        (again,) = read(encoded(spot))
        assert again.me is again
        assert again.state[0] is again.__dict__

    def test_forward_references_take_two_steps(self) -> None:
        held: list[Any] = []
        loop = (held,)
        held.append(loop)
        assert read(encoded(loop)) == []
        assert agrees(encoded(held), WIDE, False)


#: Expressions that have no objects, or take more than one step.
GIVEN_UP: list[Any] = [
    [],
    [[]],
    [5],
    [1.5],
    [[b"list"]],
    [b"list", []],
    [b"None", 1],
    [b"boolean"],
    [b"boolean", b"maybe"],
    [b"boolean", b"true", 1],
    [b"boolean", b"false", 1],
    [b"unicode"],
    [b"unicode", 1],
    [b"unicode", b"\xff"],
    [b"unicode", b"\xff" * 200],
    [b"unicode", b"a", b"b"],
    [b"unicode", [b"unicode", b"a"]],
    [b"dictionary", 1],
    [b"dictionary", [1]],
    [b"dictionary", [1, 2, 3]],
    [b"dictionary", b"ab"],
    [b"dictionary", [[b"list"], 1]],
    [b"dictionary", [[b"tuple", [b"tuple"]], 1]],
    [b"dictionary", [[b"frozenset"], 1]],
    [b"dictionary", *[[[b"tuple", number], 1] for number in range(65)]],
    [b"dictionary", *[[7, 1]] * 65],
    [b"set", *[[b"tuple", number] for number in range(65)]],
    [b"frozenset", *[7] * 65],
    [b"reference", 2**31, 5],
    [b"set", [b"list"]],
    [b"set", [b"tuple", [b"tuple"]]],
    [b"frozenset", [b"frozenset"]],
    [b"reference"],
    [b"reference", 1],
    [b"reference", 1, 5, 5],
    [b"reference", -1, 5],
    [b"reference", b"1", 5],
    [b"reference", 1.0, 5],
    [b"reference", 1, [b"reference", 2, 5]],
    [b"reference", 1, [b"dereference", 1]],
    [b"reference", 1, [b"tuple", [b"dereference", 1]]],
    [b"reference", 1, [b"tuple", [b"reference", 1, 5]]],
    [b"reference", 1, [b"list", [b"reference", 1, 5]]],
    [b"list", [b"reference", 1, 5], [b"reference", 1, 5]],
    [b"list", [b"reference", 1, 5], [b"reference", 2, [b"dereference", 1]]],
    [b"dereference"],
    [b"dereference", 1],
    [b"dereference", b"x"],
    [b"list", [b"reference", 1, 5], [b"dereference", 1, 1]],
    [b"decimal", 1],
    [b"decimal", 1, b"x"],
    [b"decimal", 1, [b"None"]],
    [b"date", b"2026 13 1"],
    [b"date", b"today"],
    [b"datetime", 5],
    [b"remote", 1],
    [b"other"],
    [b"other.name", [b"dictionary"]],
    [b"x" * 200],
    [b"class", b"builtins.int"],
    [b"persistent", 1],
    [b"unpersistable", b"why"],
    [b"@deque", 1],
    [b"mark", 5],
    [SPOT],
    [SPOT, 5],
    [SPOT, [b"None"]],
    [SPOT, [b"dictionary"], 5],
    [SPOT, [b"dictionary", [b"name", 5]]],
    [SPOT, [b"dictionary", [5, 5]]],
    [SPOT, [b"list"]],
]


@pytest.mark.parametrize("expression", GIVEN_UP, ids=lambda value: str(value)[:50])
def test_values_that_take_two_steps(expression: Any) -> None:
    for value in (expression, [b"list", expression], [b"tuple", 1, expression]):
        assert read(PB.encode(value)) == []
    assert read(PB.encode([b"list", 1])) == [[1]]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x05",
        b"\0\0\0\0\0\0\0\0\0\x81",
        b"\x7f" * 9 + b"\x81",
        b"\x7f" * 100,
        b"\x05\x88",
        b"\x05\xff",
        b"\0\x87",
        b"\x20\x87",
        b"\x7f\x7f\x87",
        b"\x81",
        b"\x82",
        b"\x87",
        b"\x80",
        b"\x88",
        *(bytes((kind, 0x81)) for kind in range(0x80, 0x100)),
        b"\x84",
        b"\x05\x84\0\0\0\0\0\0\0",
        b"\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x82",
        b"\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x80\x08\x87",
        b"\x02\x80\x08\x87\x81",
        b"\x01\x80\x87",
        b"\x01\x80\x82",
        b"\x01\x80\0\x87",
        b"\x01\x80\x7f\x87",
        b"\x01\x80\x01\0\x87",
        b"\x01\x80\x04\0\x82list",
        b"\x02\x80\x07\x82unicode\x02\x81",
        b"\x02\x80\x07\x82unicode\x7f\x82abc",
        b"\x02\x80\x07\x82unicode\x80\x82" + b"x" * 200,
        b"\x02\x80\x07\x82unicode\x7f\x01\x82abc",
        b"\x02\x80\x05\x87\x02\x81",
        b"\x02\x80\x05\x87\x02\0\x80\x01\x81\x01\x81",
    ],
)
def test_bytes_that_take_two_steps(data: bytes) -> None:
    assert read(data) == []


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x05\0\0\x81", 5),
        (b"\x05\0\0\0\0\0\0\0\x81", 5),
        (b"\0\x83", 0),
        (b"\x05\x85", 5),
        (b"\x05\x86", -5),
        (b"\x84?\xf8\0\0\0\0\0\0", 1.5),
        (b"\x05\x84?\xf8\0\0\0\0\0\0", 1.5),
        (b"\x1a\x87", b"message"),
        (b"\x1a\0\0\x87", b"message"),
        (b"\x02\x80\x07\x82unicode\x08\x87", "list"),
        (b"\x02\x80\x07\x82unicode\x02\0\x82hi", "hi"),
        (b"\x02\0\x80\x08\x87\x01\x81", [1]),
        (b"\x02\x80\x04\x82list\x01\x81", [1]),
    ],
)
def test_unusual_forms_of_tokens_take_two_steps(data: bytes, value: Any) -> None:
    assert repr(read(data)) == repr([value])
    assert repr(decoded(data)) == repr(value)


def test_token_without_prefix_takes_two_steps() -> None:
    # For a token of one byte would be more items than the bytes tell.
    items = b"\x81" * 14
    limits = replace(WIDE, list_items=10)
    data = b"\x0f\x80\x08\x87" + items
    assert decoded(data) == [0] * 14
    with pytest.raises(BananaError):
        decoded(data, limits)
    assert read(data, limits) == []


def test_depth_limit_of_one_step() -> None:
    value: Any = []
    for depth in range(1, 200):
        found = read(encoded(value))
        assert found == ([value] if depth <= 100 else [])
        value = [value]


class TestClasses:
    @staticmethod
    def policy(cls: Any) -> SecurityOptions:
        registry = ClassRegistry()
        registry.setUnjellyableForClass("thing", cls)
        policy = SecurityOptions(registry)
        policy.allowBasicTypes()
        policy.allowTypes("thing")
        return policy

    DATA = PB.encode([b"thing", [b"dictionary", [[b"unicode", b"x"], 1]]])

    def test_class_is_read_in_one_step_after_its_first_message(self) -> None:
        policy = self.policy(Spot)
        for _ in range(2):
            assert read(self.DATA, policy=policy) == []
            assert decoded(self.DATA, policy=policy).x == 1
            (spot,) = read(self.DATA, policy=policy)
            assert type(spot) is Spot
            assert vars(spot) == {"x": 1}
            # As soon as anything is edited, all is new.
            policy.allowTypes("more")
        del policy.allowedTypes[b"thing"]
        assert read(self.DATA, policy=policy) == []
        policy = self.policy(Spot)
        decoded(self.DATA, policy=policy)
        policy.registry.setUnjellyableForClass("thing", Node)
        assert read(self.DATA, policy=policy) == []

    def test_classes_with_hooks_take_two_steps(self) -> None:
        class Hooked(Unjellyable):
            def unjellyFor(self, unjellier: Any, jellyList: Any) -> Any:
                return self

        class Setting(Unjellyable):
            def setStateFor(self, unjellier: Any, state: Any) -> None:
                self.__dict__.update(state)

        class Told(Unjellyable):
            def postUnjelly(self) -> None:
                pass

        class Made(Unjellyable):
            def __new__(cls) -> Made:
                return super().__new__(cls)

        class Wrong(Unjellyable, Exception):
            pass

        class Plain(Unjellyable):
            pass

        for cls in (Hooked, Setting, Told, Made, Wrong, Plain):
            policy = self.policy(cls)
            assert type(decoded(self.DATA, policy=policy)) is cls
            assert bool(read(self.DATA, policy=policy)) is (cls is Plain)

    def test_classes_without_blank_instances_take_two_steps(self) -> None:
        class Abstract(Unjellyable, abc.ABC):
            @abc.abstractmethod
            def method(self) -> None: ...

        policy = self.policy(Abstract)
        with pytest.raises(JellyError):
            decoded(self.DATA, policy=policy)
        assert read(self.DATA, policy=policy) == []

    def test_copyable_classes_take_one_step(self) -> None:
        row = Row(1, [Colour.RED, Colour.GREEN, Colour.RED])
        row.b.append(row)
        value = [row, row, Cell(row), Cell(Colour.RED)]
        (found,) = read(encoded(value))
        assert identical(found, value)
        assert [type(item) for item in found] == [Row, Row, Cell, Cell]
        assert found[0].b == [Colour.RED, Colour.GREEN, Colour.RED, found[0]]

    @pytest.mark.parametrize(
        "expression",
        [
            [b"Row"],
            [b"Row", [b"dictionary"], 1],
            [b"Row", [b"list"]],
            [b"Row", [b"None"]],
            [b"Row", [b"dictionary", [[b"unicode", b"a"], 1]]],
            [b"Cell", [b"dictionary", [[b"unicode", b"a"], 1]]],
            [b"Colour", [b"dictionary", [[b"unicode", b"name"], [b"list"]]]],
            [b"Colour", [b"dictionary", [[b"unicode", b"name"], [b"unicode", b"X"]]]],
            [b"Colour", [b"dictionary", [[b"unicode", b"value"], 1]]],
        ],
    )
    def test_unusual_states_take_two_steps(self, expression: Any) -> None:
        assert read(PB.encode(expression)) == []

    def test_copyable_classes_that_run_code_take_two_steps(self) -> None:
        made: list[Any] = []

        @dataclass
        class Checked:
            x: int

            def __post_init__(self) -> None:
                made.append(self.x)

        @dataclass
        class Told:
            x: int

            def postUnjelly(self) -> None: ...

        for cls in (Checked, Told):
            policy = SecurityOptions(ClassRegistry())
            policy.allowBasicTypes()
            copyable("thing", policy=policy)(cls)
            assert decoded(self.DATA, policy=policy) == cls(1)
            made.clear()
            assert read(self.DATA, policy=policy) == []
            assert made == []

    @pytest.mark.parametrize("version", [2.0, [b"decimal", 2, 0]])
    def test_version_that_equals_an_integer(self, version: Any) -> None:
        key = [b"unicode", b"Cell.persistenceVersion"]
        state = [b"dictionary", [key, version], [[b"unicode", b"a"], 1]]
        data = PB.encode([b"Cell", state])
        assert read(data) == []
        with pytest.raises(JellyError, match="Cell of the version"):
            decoded(data)

    def test_exceptions_of_a_programs_code_are_left_to_the_two_steps(self) -> None:
        class Busy:
            is_free = True

            def __new__(cls) -> Busy:
                if cls.is_free:
                    return object.__new__(cls)
                raise OSError

        @dataclass
        class Failing:
            x: int
            y: int = field(init=False, default_factory=lambda: 1 // 0)
            z: int = field(init=False, default_factory=lambda: {}.a)  # type: ignore[attr-defined]

        for cls in (Busy, Failing):
            Busy.is_free = True
            policy = SecurityOptions(ClassRegistry())
            policy.allowBasicTypes()
            copyable("thing", policy=policy)(cls)
            Busy.is_free = False
            with pytest.raises(JellyError):
                decoded(self.DATA, policy=policy)
            assert read(self.DATA, policy=policy) == []

    def test_registered_functions_take_two_steps(self) -> None:
        def make(*args: Any) -> str:
            return "made"

        policy = self.policy(make)
        policy.registry.setUnjellyableFactoryForClass("state", make)
        policy.allowTypes("state")
        for data in (self.DATA, PB.encode([b"state", [b"dictionary"]])):
            assert decoded(data, policy=policy) == "made"
            assert read(data, policy=policy) == []


class TestPolicies:
    def test_refusals_of_a_policy_take_two_steps(self) -> None:
        assert read(encoded([1]), policy=SecurityOptions()) == []
        assert read(encoded(1), policy=SecurityOptions()) == [1]

    @pytest.mark.parametrize("word", [b"unicode", b"None", b"boolean"])
    def test_policies_without_a_usual_scalar_take_two_steps(self, word: bytes) -> None:
        policy = SecurityOptions()
        assert read(encoded(5), policy=policy) == [5]
        del policy.allowedTypes[word]
        assert read(encoded(5), policy=policy) == []

    def test_policies_with_a_method_of_their_own_take_two_steps(self) -> None:
        class Asking(SecurityOptions):
            def isTypeAllowed(self, typeName: str | bytes) -> bool:
                return True

        assert read(encoded(5), policy=Asking()) == []

    def test_policies_in_turn(self) -> None:
        reader = Reader()
        assert reader.read_value(encoded(5), 0, WIDE) == []
        for policy, found in ((POLICY, [()]), (SecurityOptions(), []), (POLICY, [()])):
            for _ in range(2):
                reader.use(CurrentTables(policy).reading)
                assert reader.read_value(encoded(()), 0, WIDE) == found

    def test_modern_form_needs_its_table(self) -> None:
        data = encoded(1j, modern=True)
        assert read(data, modern=True) == [1j]
        assert read(data) == []


class Messages:
    """A reader of messages that records made and discarded references."""

    def __init__(self) -> None:
        self.reader = reader_for()
        self.made: list[Any] = []
        self.discarded: list[Any] = []

    def read(
        self,
        data: bytes,
        limits: Limits = WIDE,
        make: Callable[[int, list[Any]], Any] = remote,
        position: int = 0,
    ) -> Any:
        def noted(number: int, message: list[Any]) -> Any:
            made = make(number, message)
            if made is not None:
                self.made.append(made)
            return made

        self.made.clear()
        self.discarded.clear()
        discard = self.discarded.extend
        found = self.reader.read(data, position, KNOWN, limits, noted, discard)
        if found is None:
            assert len(self.discarded) == len(self.made)
            assert all(map(lambda a, b: a is b, self.made, self.discarded))
        else:
            assert self.discarded == []
        return found


class TestMessages:
    @pytest.mark.parametrize(
        "data",
        [
            call(),
            call(1, "a", [None], key={"a": 1}),
            message(1, 5, b"name", 0, (), {}, verb=b"message"),
            message(1, "a"),
            message(1, [Mark(b"remote", 5), {"a": Mark(b"remote", 7)}]),
            message(2**40, {(1, 2): Spot(a=1)}),
            message(5, verb=b"decref"),
            message(b"name", verb=b"decref"),
            message(5, verb=b"uncache"),
        ],
    )
    def test_ordinary_messages_take_one_step(self, data: bytes) -> None:
        messages = Messages()
        found = messages.read(data)
        (expression,) = expressions_of(data)
        assert assert_reads(found, expression)
        assert messages.reader.position == len(data)
        assert_reads(messages.read(b"ab" + data + b"cd", position=2), expression)
        assert messages.reader.position == len(data) + 2
        for length in range(len(data)):
            assert messages.read(data[:length]) is None

    @pytest.mark.parametrize(
        "data",
        [
            encoded(5),
            encoded("a"),
            encoded([1]),
            message(),
            message(1),
            message(1, 2, 3),
            message("a", 5),
            message(b"a", 5),
            message(1.5, 5),
            message([1], 5),
            message(1, Node()),
            message(1, "a", verb=b"error"),
            message(1, verb=b"other"),
            message(1, "a", verb=b"version"),
            message(1, b"a", 5, 1, (), {}, verb=b"message"),
            message(1, 5, b"a", True, (), {}, verb=b"message"),
            message(1, 1.5, b"a", 1, (), {}, verb=b"message"),
            message(1, 5, b"a", 1, [], {}, verb=b"message"),
            message(1, 5, b"a", 1, (), (), verb=b"message"),
            message(1, 5, b"a", 1, (), {b"a": 1}, verb=b"message"),
            message(1, 5, b"a", 1, (), {1: 1}, verb=b"message"),
            message("a", verb=b"decref"),
            message(None, verb=b"decref"),
            message(b"a", verb=b"uncache"),
            b"\x02\0\x80" + message(1)[2:],
            b"\x03\x81" + message(1, 5)[2:],
            b"\x03\x80\x1b\x81" + message(1, 5)[4:],
            b"\x02\x80\x82\x87\x05\x81",
            b"\x02\x80\0\x87\x05\x81",
            b"\x02\x80\x7f\x87\x05\x81",
        ],
    )
    def test_other_messages_take_two_steps(self, data: bytes) -> None:
        assert Messages().read(data) is None

    def test_references_are_made_with_the_fields_read_so_far(self) -> None:
        seen: list[Any] = []

        def make(number: int, message: list[Any]) -> Any:
            seen.append((number, message[:]))
            return "made"

        inner = Mark(b"remote", 7)
        data = call([Mark(b"remote", 5)], key=inner)
        found = Messages().read(data, make=make)
        fields = [b"message", 1, b"root", b"name", 1]
        assert found == (*fields, (["made"],), {"key": "made"})
        assert seen == [(5, fields), (7, [*fields, (["made"],)])]

    def test_references_are_discarded_when_giving_up(self) -> None:
        messages = Messages()
        good = [Mark(b"remote", 5), Mark(b"remote", 7)]
        assert messages.read(message(1, good)) is not None
        assert len(messages.made) == 2
        bad: Any
        for bad in (Node(), Mark(b"mark", 1), Mark(b"remote", -1), Mark(b"remote")):
            assert messages.read(message(1, [*good, bad])) is None
            assert len(messages.discarded) == 2
        # Not whole, too long, too deep, and not what a message may have there.
        data = message(1, good)
        assert messages.read(data[:-1]) is None
        assert len(messages.discarded) == 1
        assert messages.read(data, replace(WIDE, message_bytes=len(data) - 1)) is None
        assert len(messages.discarded) == 2
        assert messages.read(message(1, [*good, [[5]]]), replace(WIDE, depth=3)) is None
        assert len(messages.discarded) == 2
        wrong = message(1, b"root", b"name", 1, good, {}, verb=b"message")
        assert messages.read(wrong) is None
        assert len(messages.discarded) == 2

    def test_refused_reference_takes_two_steps(self) -> None:
        asked: list[int] = []

        def make(number: int, message: list[Any]) -> Any:
            asked.append(number)
            return Spot() if number < 3 else None

        messages = Messages()
        marks = [Mark(b"remote", number) for number in range(5)]
        assert messages.read(message(1, marks), make=make) is None
        assert len(messages.discarded) == 3
        assert asked == [0, 1, 2, 3]

    def test_message_without_references(self) -> None:
        reader = reader_for()
        data = message(1, Mark(b"remote", 5))
        assert reader.read(data, 0, KNOWN, WIDE, None, list) is None
        assert reader.read(message(1, 5), 0, KNOWN, WIDE, None, list) is not None

    def test_references_do_not_cross_fields(self) -> None:
        data = PB.encode(
            [
                *(b"message", 1, 5, b"name", 1),
                [b"tuple", [b"reference", 1, [b"list"]], [b"dereference", 1]],
                [b"dictionary", [[b"unicode", b"a"], [b"dereference", 1]]],
            ]
        )
        assert Messages().read(data) is None
        again = data[:-2] + b"\x02\x81"
        assert Messages().read(again) is None

    def test_references_do_not_cross_messages(self) -> None:
        messages = Messages()
        shared = [b"reference", 1, [b"list"]]
        again = PB.encode([b"answer", 1, [b"dereference", 1]])
        for fields in ([shared], [[b"list", shared, [b"other"]]]):
            messages.read(PB.encode([b"answer", 1, *fields]))
            assert messages.read(again) is None
        for value in ([shared], [[b"list", shared, [b"other"]]]):
            messages.reader.read_value(PB.encode(value[0]), 0, WIDE)
            assert read_by(messages.reader, [b"dereference", 1]) == []

    def test_fields_are_read_under_the_policy(self) -> None:
        messages = Messages()
        messages.reader.use(CurrentTables(SecurityOptions()).reading)
        assert messages.read(message(1, 5)) == (b"answer", 1, 5)
        assert messages.read(message(1, [])) is None
        assert Reader().read(message(1, []), 0, KNOWN, WIDE, None, list) is None

    def test_making_a_reference_may_read_another_message(self) -> None:
        def make(number: int, message: list[Any]) -> Any:
            return [loads(data), Messages().read(answer)]

        data = b"\x89PB\x01" + encoded(["inner"])
        answer = message(7, "x")
        found = Messages().read(message(1, ["a", Mark(b"remote", 5), "b"]), make=make)
        inner = [["inner"], (b"answer", 7, "x")]
        assert found == (b"answer", 1, ["a", inner, "b"])

    @given(
        st.lists(jelly_like, max_size=2),
        st.sampled_from([b"message", b"answer", b"decref", b"uncache", b"error"]),
        any_limits,
        edits,
        st.booleans(),
    )
    def test_any_message_is_read_as_by_the_two_steps(
        self,
        fields: list[Any],
        verb: bytes,
        limits: Limits,
        edits: list[tuple[int, int, bytes]],
        is_whole: bool,
    ) -> None:
        del self
        heads: dict[bytes, list[Any]] = {
            b"message": [1, b"root", b"name", 1],
            b"answer": [1],
        }
        data = PB.encode([verb, *heads.get(verb, []), *fields])
        if not is_whole:
            data = edited(data, edits)
        messages = Messages()
        found = messages.read(data, limits)
        if found is not None:
            (expression,) = expressions_of(data[: messages.reader.position], limits)
            assert assert_reads(found, expression)


def test_shapes_of_messages() -> None:
    shapes = message_shapes({b"answer": "int value", b"none of ours": "int"})
    assert shapes == message_shapes({b"answer": "int  value"})
    assert sum(map(bool, shapes)) == 1
    assert shapes != message_shapes({b"answer": "value int"})
    assert not any(message_shapes({}))
    with pytest.raises(KeyError):
        message_shapes({b"answer": "int something"})


def _at_a_limit() -> list[tuple[Any, str, int]]:
    deep: Any = 5
    for _ in range(20):
        deep = [deep]
    shared = [(1,)]
    return [
        (deep, "depth", 20),
        ({"a": {"b": {"c": {"d": "e"}}}}, "depth", 9),
        ([[[shared, shared]]], "depth", 6),
        (Spot(x=Spot(x=Spot(x=Spot(x=1)))), "depth", 13),
        (b"x" * 600, "string_bytes", 600),
        ("x" * 600, "string_bytes", 600),
        ([5] * 99, "list_items", 100),
        ({1, 2, 3}, "list_items", 4),
        ([5] * 99, "nodes", 101),
        ({"a": "b"}, "nodes", 9),
        (2**35 - 1, "prefix_bytes", 5),
        (["x" * 300], "prefix_bytes", 2),
        ([1, 2, 3], "message_bytes", 10),
    ]


@pytest.mark.parametrize(("value", "name", "need"), _at_a_limit())
def test_each_limit_at_its_boundary(value: Any, name: str, need: int) -> None:
    data = encoded(value)
    for allowed in (need - 1, need, need + 1):
        limits = replace(WIDE, **{name: allowed})
        if allowed >= need:
            agrees(data, limits, False)
            continue
        assert read(data, limits) == []
        with pytest.raises((BananaError, JellyError)):
            decoded(data, limits)
    # Far from it, it is quick.
    assert agrees(data, replace(WIDE, **{name: 2 * need + 20}), False)


def test_limits_at_their_boundary_in_one_step() -> None:
    value = [1, "a"]
    data = encoded(value)
    exact = replace(WIDE, message_bytes=len(data), depth=2, prefix_bytes=8)
    assert read(data, exact) == [value]
    assert read(data, replace(exact, depth=1)) == []
    assert read(data, replace(exact, message_bytes=len(data) - 1)) == []
    assert read(data, replace(exact, prefix_bytes=7)) == []
    whole = message(1, value)
    exact = replace(WIDE, message_bytes=len(whole), depth=3, prefix_bytes=8)
    assert Messages().read(whole, exact) is not None
    assert Messages().read(whole, replace(exact, depth=2)) is None


def test_reader_keeps_no_objects() -> None:
    kept: list[Any] = []

    class Owner:
        def remote(self, number: int, message: list[Any]) -> Any:
            made = Spot()
            kept.extend(map(weakref.ref, (self, made)))
            return made

        def discard(self, made: list[Any]) -> None:
            kept.append(weakref.ref(self))

    reader = reader_for()
    data = message(1, [Spot(x=1), Mark(b"remote", 5)])
    before = sys.getrefcount(data)
    for whole in (data[:-1], message(1, [Mark(b"remote", 5), Node()]), data):
        owner = Owner()
        found = reader.read(whole, 0, KNOWN, WIDE, owner.remote, owner.discard)
        if found is not None:
            kept += map(weakref.ref, found[2])
    del owner, found, whole
    assert sys.getrefcount(data) == before
    spot = Spot(x=1)
    spot.__dict__["me"] = spot
    data = encoded([spot])
    before = sys.getrefcount(data)
    kept.append(weakref.ref(reader.read_value(data, 0, WIDE)[0][0]))
    assert sys.getrefcount(data) == before
    gc.collect()
    assert len(kept) == 8
    assert not any(each() for each in kept)
