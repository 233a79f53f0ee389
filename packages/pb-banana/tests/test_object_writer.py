from __future__ import annotations

import collections
import contextlib
import decimal
import enum
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import BananaError, Encoder, Limits, dumps
from pb_banana._pb.object_writer import Writer
from pb_jelly import (
    ClassRegistry,
    Jellier,
    Jellyable,
    JellyError,
    SecurityOptions,
    UnjellyableType,
    leaf_hook,
    numbered_hook,
)
from pb_jelly.codec import CurrentTables

from .graphs import (
    MODERN,
    ORDINARY,
    POLICY,
    SHARING,
    Cell,
    Mark,
    Node,
    Row,
    Spot,
    encoded,
    graphs,
    jellier_for,
)
from .graphs import Colour as Registered
from .support import WIDE, WORDS, limits_near

LEGACY = CurrentTables(POLICY)


def written(
    *values: Any,
    limits: Limits = WIDE,
    policy: Any = POLICY,
    modern: bool = False,
    writer: Writer | None = None,
) -> bytes | None:
    """Return the bytes of objects, made in one step; None if that gives up."""
    parts = (writer or Writer()).write(
        (),
        values,
        limits,
        CurrentTables(policy, modern=modern).sending,
        lambda: jellier_for(limits, policy=policy, modern=modern),
    )
    return None if parts is None else b"".join(parts)


#: Limits that are wide enough to be looked at, and that one may come to.
any_limits = limits_near(
    message_bytes=st.integers(1, 300),
    string_bytes=st.sampled_from([510, 511, 512, 513, 600, 8191, 8192]),
    list_items=st.integers(60, 80),
    nodes=st.integers(1, 100),
    depth=st.integers(3, 12),
    prefix_bytes=st.sampled_from([1, 2, 3, 8, 9, 10, 64]),
)


@given(graphs(), any_limits, st.booleans())
def test_bytes_equal_those_of_the_two_steps(
    value: Any, limits: Limits, modern: bool
) -> None:
    """The writer gives up on every refused value."""
    found = written(value, limits=limits, modern=modern)
    try:
        expected = encoded(value, limits, modern=modern)
    except (BananaError, JellyError):
        assert found is None
    else:
        assert found in (None, expected)


@given(st.lists(graphs(), max_size=4))
def test_references_do_not_cross_messages(values: list[Any]) -> None:
    writer = Writer()
    for value in values:
        assert written(value, writer=writer) == written(value)


def test_sizes_are_counted_per_message() -> None:
    writer = Writer()
    limits = replace(WIDE, depth=20, nodes=50)
    deep: Any = [5]
    for _ in range(12):
        deep = [deep]
    shared = [1]
    assert written([shared, shared], limits=limits, writer=writer) is not None
    assert written(deep, limits=limits, writer=writer) is not None
    assert written([shared, shared], limits=limits, writer=writer) is not None
    assert written(b"x" * 10_000, limits=limits, writer=writer) is not None
    assert written([5] * 99, limits=limits, writer=writer) is None


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("name", [*ORDINARY, *SHARING])
def test_ordinary_values_take_one_step(name: str, modern: bool) -> None:
    value = {**ORDINARY, **SHARING}[name]
    for limits in (WIDE, Limits()):
        found = written(value, limits=limits, modern=modern)
        assert found == encoded(value, limits, modern=modern)


@pytest.mark.parametrize("name", MODERN)
def test_modern_leaves_take_one_step(name: str) -> None:
    for value in (MODERN[name], {"a": [MODERN[name]] * 2}):
        assert written(value, modern=True) == encoded(value, modern=True)


def test_integers_of_any_size() -> None:
    bits = [*range(6, 70), 400, 447, 448, 449, 5000]
    for number in (2**bit + more for bit in bits for more in (-1, 0, 1)):
        for value in (number, -number):
            assert written(value) == encoded(value)
            assert written([value], limits=Limits()) == (
                encoded([value], Limits()) if abs(value) < 2**448 else None
            )


@pytest.mark.parametrize("size", [0, 1, 62, 63, 64, 127, 128, 20_000])
def test_containers_of_any_size(size: int) -> None:
    numbers = list(range(size))
    kinds: list[Callable[[Any], Any]] = [
        *(list, tuple, set, frozenset, dict.fromkeys),
        lambda items: dict.fromkeys(map(str, items)),
    ]
    for kind in kinds:
        assert written(kind(numbers)) == encoded(kind(numbers))
    ordered = collections.OrderedDict.fromkeys(numbers)
    assert written(ordered, modern=True) == encoded(ordered, modern=True)


@pytest.mark.parametrize("size", [*range(24), 127, 128, 511, 512, 8191, 8192, 300_000])
def test_strings_of_any_size(size: int) -> None:
    for value in (b"x" * size, "x" * size, {"x" * size: "x" * size}):
        assert written(value) == encoded(value)


@pytest.mark.parametrize("word", [*WORDS, b"unicode", b"x" * 13, b"x" * 14])
def test_words_of_the_vocabulary(word: bytes) -> None:
    text = word.decode()
    for value in (word, text, {text: word}, {word: text}, Spot(**{text: text})):
        assert written(value) == encoded(value)


class TestInstances:
    def test_state_and_name(self) -> None:
        for value in (Spot(x=1, y="a"), Node(x=1, y="a"), [Node(inner=Spot(n=2))]):
            for modern in (False, True):
                found = written(value, modern=modern)
                assert found is not None
                assert found == encoded(value, modern=modern)

    def test_shared_instances(self) -> None:
        spot = Spot(n=1)
        spot.__dict__["me"] = spot
        node = Node(spot=spot, spots=[spot])
        for value in (spot, [node, node, spot], {"a": spot, "b": node}):
            assert written(value) == encoded(value)

    def test_instance_in_its_own_state(self) -> None:
        node = Node(n=1)
        node.__dict__["mine"] = node.__dict__
        assert written([node]) == encoded([node])

    def test_shared_state_takes_two_steps(self) -> None:
        node = Node(n=1)
        assert written([node.__dict__, node]) is None
        assert written([node, node.__dict__]) == encoded([node, node.__dict__])

    def test_copyable_instances_take_one_step(self) -> None:
        row = Row(1, [Registered.RED, Registered.GREEN, Registered.RED])
        row.b.append(row)
        for value in (Cell(5), [row, row, Cell(row)], {Registered.RED: row}):
            for modern in (False, True):
                found = written(value, modern=modern)
                assert found is not None
                assert found == encoded(value, modern=modern)

    def test_instances_with_empty_state_take_two_steps(self) -> None:
        cell = Cell.__new__(Cell)
        assert written([cell]) is None
        with pytest.raises(UnjellyableType, match=r"'a' has no value \(at \[0\]\)"):
            encoded([cell])

    def test_copyable_instances_without_fields_take_two_steps(self) -> None:
        for value in (Spot(), Node()):
            assert written([value]) is None


class Colour(enum.Enum):
    RED = 1


class Slotted:
    __slots__ = ("x",)


class Words(list[str]):
    pass


class Name(str):
    __slots__ = ()


class Deciding(Jellyable):
    def getStateFor(self, jellier: Any) -> Any:
        return 5


class Hooked(Jellyable):
    def jellyFor(self, jellier: Any) -> Any:
        return jellier.preserve(self, [*jellier.prepare(self), b"hooked"])


class TestWhatTakesTwoSteps:
    LISTED = SecurityOptions()
    LISTED.allowInstancesOf(Colour, Slotted, Words, Name)

    @pytest.mark.parametrize(
        "value",
        [
            bytearray(b"x"),
            collections.deque([1]),
            Colour.RED,
            ValueError("x"),
            Slotted(),
            Words(["a"]),
            Name("a"),
            Deciding(),
            Hooked(),
            len,
            int,
            enum,
            "\ud800",
            {"\ud800": 1},
            object(),
            type("Unlisted", (), {})(),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_values_that_take_two_steps(self, value: Any) -> None:
        for modern in (False, True):
            assert written(value, policy=self.LISTED, modern=modern) is None
            assert written({"a": [value]}, policy=self.LISTED, modern=modern) is None

    def test_depth_beyond_one_step(self) -> None:
        value: Any = []
        for depth in range(1, 200):
            found = written(value)
            assert found in (None, encoded(value))
            # More than any program has but by mistake.
            assert (found is None) == (depth > 96)
            value = [value]

    @pytest.mark.parametrize(
        "nested",
        [
            lambda value: [value],
            lambda value: (value,),
            lambda value: frozenset([value]),
            lambda value: {"a": value},
            lambda value: {(1, 2): value},
            lambda value: collections.OrderedDict(a=value),
            lambda value: Spot(a=value),
            lambda value: Node(a=value),
        ],
    )
    def test_depth_limit_for_every_container(
        self, nested: Callable[[Any], Any]
    ) -> None:
        limits = replace(WIDE, depth=20)
        for value in (1, "a", Mark(b"mark"), (), decimal.Decimal(1)):
            steps = []
            for _ in range(25):
                try:
                    expected = encoded(value, limits, modern=True)
                except (BananaError, JellyError):
                    expected = None
                found = written(value, limits=limits, modern=True)
                assert found is None or found == expected
                steps.append((found is not None, expected is not None))
                value = nested(value)
            # Never for more than that, and not for much less.
            one, two = (sum(taken) for taken in zip(*steps, strict=True))
            assert two - 4 <= one <= two

    def test_reference_with_uncopied_parts_takes_two_steps(self) -> None:
        shared = [1]
        assert written([shared, b"x" * 9000, shared]) is None
        assert written([shared, b"x" * 8000, shared]) is not None

    def test_policies_that_take_two_steps(self) -> None:
        class Asking(SecurityOptions):
            def isTypeAllowed(self, typeName: str | bytes) -> bool:
                return True

        assert written(5, policy=SecurityOptions()) == b"\x05\x81"
        assert written(5, policy=Asking()) is None
        assert written([5], policy=SecurityOptions()) is None
        for word in (b"unicode", b"None", b"boolean"):
            policy = SecurityOptions()
            policy.allowBasicTypes()
            assert written(["a", None, True], policy=policy) is not None
            del policy.allowedTypes[word]
            assert written(5, policy=policy) is None
            registry = ClassRegistry()
            registry.setUnjellyableForClass(word, Spot)
            assert written(5, policy=SecurityOptions(registry)) is None

    def test_container_changed_while_it_is_written(self) -> None:
        class Growing:
            def __init__(self, grown: Any) -> None:
                self.grown = grown

            @leaf_hook
            def jellyFor(self, jellier: Any) -> Any:
                self.grown[f"key{len(self.grown)}"] = 1
                return [b"growing"]

        mapping: dict[Any, Any] = {}
        mapping["a"] = Growing(mapping)
        assert written(mapping) is None
        assert written({"a": Growing({})}) is not None


class TestHooks:
    def test_leaf_hook_takes_one_step(self) -> None:
        for expression in (
            [b"mark"],
            [b"remote", 5],
            [b"reference", 2**100, -1.5, b"x" * 600, 0],
            [1] * 63,
        ):
            value = [Mark(*expression), {"a": Mark(*expression)}]
            found = written(value)
            assert found is not None
            assert found == encoded(value)

    @pytest.mark.parametrize(
        "expression",
        [[], [1] * 64, [[]], [True], ["text"], [b"mark", None], [b"mark", (1,)]],
    )
    def test_other_results_of_a_leaf_hook_take_two_steps(
        self, expression: list[Any]
    ) -> None:
        assert written([Mark(*expression)]) is None

    @pytest.mark.parametrize("made", [b"mark", 5, (b"mark", 5), None, "text"])
    def test_result_of_a_leaf_hook_that_is_no_list_takes_two_steps(
        self, made: Any
    ) -> None:
        class Returning:
            @leaf_hook
            def jellyFor(self, jellier: Any) -> Any:
                return made

        assert written([Returning()]) is None

    def test_one_jellier_for_all_hooks_of_a_message(self) -> None:
        made: list[Jellier] = []
        given: list[Any] = []

        class Noting:
            @leaf_hook
            def jellyFor(self, jellier: Any) -> Any:
                given.append(jellier)
                return [b"noting", len(given)]

        def make_jellier() -> Jellier:
            made.append(jellier_for())
            return made[-1]

        writer = Writer()
        table = LEGACY.sending
        values: tuple[Any, ...] = (Noting(), ["a", Noting()], Spot(x=Noting()))
        for _ in range(2):
            assert writer.write((), values, WIDE, table, make_jellier) is not None
        assert writer.write((), ([1, "a"],), WIDE, table, make_jellier) is not None
        assert len(made) == 2
        assert given == [made[0]] * 3 + [made[1]] * 3

    @pytest.mark.parametrize(
        ("error", "is_kept"),
        [
            (ValueError("mine"), False),
            (KeyError("mine"), False),
            (UnjellyableType("mine"), True),
            (RuntimeError("mine"), True),
        ],
    )
    def test_exceptions_of_hooks(self, error: Exception, is_kept: bool) -> None:
        """Jelly errors are left to the two steps; others are raised."""

        class Failing:
            @leaf_hook
            def jellyFor(self, jellier: Any) -> Any:
                raise error

        writer = Writer()
        shared = [1]
        value = [shared, shared, b"x" * 9000, {"a": Failing()}]
        with contextlib.nullcontext() if is_kept else pytest.raises(type(error)):
            assert written(value, writer=writer) is None
        # And nothing is left of it.
        again = [shared, shared]
        assert written(shared, again, writer=writer) == encoded(shared) + encoded(again)

    @pytest.mark.parametrize("head", [b"remote", b"numbered"])
    def test_numbered_hook(self, head: bytes) -> None:
        """The hook is called for the first object, the function for the others."""
        asked: list[Any] = []
        hooked: list[Any] = []

        class Numbered:
            @numbered_hook(head, "numberer")
            def jellyFor(self, jellier: Any) -> Any:
                hooked.append(self)
                return [head, jellier.invoker.number(self)]

        class Invoker:
            def number(self, x: Any) -> int:
                asked.append(x)
                return 100 * len(asked)

            def numberer(self) -> Any:
                return self.number

        def make_jellier() -> Jellier:
            return Jellier(POLICY, invoker=Invoker(), limits=WIDE)

        things = [Numbered(), Numbered(), Numbered()]
        values: tuple[Any, ...] = ([*things, things[0]],)
        writer = Writer()
        for _ in range(2):
            parts = writer.write((), values, WIDE, LEGACY.sending, make_jellier)
            assert parts is not None
            marks = [Mark(head, number) for number in (100, 200, 300, 400)]
            assert b"".join(parts) == encoded(marks)
            assert asked == [*things, things[0]]
            assert hooked == things[:1]
            asked.clear()
            hooked.clear()

    def test_numbered_hook_without_an_integer_takes_two_steps(self) -> None:
        class Odd:
            @numbered_hook(b"odd", "numberer")
            def jellyFor(self, jellier: Any) -> Any:
                return [b"odd", 1]

        class Invoker:
            def numberer(self) -> Any:
                return str

        def make_jellier() -> Jellier:
            return Jellier(POLICY, invoker=Invoker(), limits=WIDE)

        def write(*values: Any) -> Any:
            return Writer().write((), values, WIDE, LEGACY.sending, make_jellier)

        assert write([Odd()]) is not None
        assert write([Odd(), Odd()]) is None

    def test_numbered_hook_without_an_invoker(self) -> None:
        class Lone:
            @numbered_hook(b"lone", "numberer")
            def jellyFor(self, jellier: Any) -> Any:
                return [b"lone", 5]

        value = [Lone(), Lone()]
        assert written(value) == encoded(value) == encoded([Mark(b"lone", 5)] * 2)

    def test_hook_that_writes_messages(self) -> None:
        writer = Writer()
        made: list[Any] = []

        class Busy:
            @leaf_hook
            def jellyFor(self, jellier: Any) -> Any:
                made.append(written(["inner"], writer=writer))
                made.append(written(["inner"]))
                made.append(dumps(["inner"]))
                return [b"busy"]

        inner = encoded(["inner"])
        found = written(["outer", Busy(), "more"], writer=writer)
        assert made == [None, inner, dumps(["inner"])]
        assert found == encoded(["outer", Mark(b"busy"), "more"])
        assert written(["inner"], writer=writer) == inner


def test_large_strings_are_not_copied() -> None:
    large = b"x" * 10_000
    table = LEGACY.sending
    parts = Writer().write((), ([1, large, "a", large],), WIDE, table, jellier_for)
    assert parts is not None
    assert sum(part is large for part in parts) == 2
    assert b"".join(parts) == encoded([1, large, "a", large])
    # One of them more is no larger a message than without it.
    assert len(parts) == 5


def test_head_of_a_message() -> None:
    table = LEGACY.sending
    encode = Encoder().encode
    for number in (0, 5, 511, 512, 70_000, 2**31, 2**40, 2**100):
        head = (b"\x04\x80\x1b\x87", number, encode(b"name"))
        parts = Writer().write(head, ("x",), WIDE, table, jellier_for)
        expected = b"\x04\x80\x1b\x87" + encode(number) + encode(b"name")
        assert parts == [expected + encoded("x")]
    assert Writer().write((), (), WIDE, table, jellier_for) == [b""]


def test_references_do_not_cross_values() -> None:
    shared = [1]
    values = ([shared, shared], {"a": shared}, (shared, [shared]))
    expected = b"".join(map(encoded, values))
    assert written(*values) == expected


def test_cache_of_keys_is_bounded() -> None:
    # More than anybody would want to be remembered.
    writer = Writer()
    for begin in range(0, 3000, 500):
        numbers = range(begin, begin + 500)
        mapping = {f"{number:0{number % 50}}": number for number in numbers}
        mapping.update({"list": 1, "": 2, "unicode": 3})
        for value in (mapping, mapping, {"a": mapping}):
            assert written(value, writer=writer) == encoded(value)
        for held in gc.get_referents(writer):
            assert type(held) is not dict or len(held) <= 1100


def test_edit_of_a_policy_takes_effect() -> None:
    policy = SecurityOptions()
    policy.allowBasicTypes()
    tables = CurrentTables(policy)
    writer = Writer()

    def attempt() -> list[bytes] | None:
        sending = tables.current().sending
        return writer.write((), ({"a": ()},), WIDE, sending, jellier_for)

    assert attempt() is not None
    del policy.allowedTypes[b"tuple"]
    assert attempt() is None
    policy.allowTypes("tuple")
    assert attempt() is not None


NARROW = [
    {"depth": 4},
    {"string_bytes": 511},
    {"list_items": 63},
    {"prefix_bytes": 8},
]


@pytest.mark.parametrize("narrow", NARROW, ids=str)
def test_narrow_limits_take_two_steps(narrow: dict[str, int]) -> None:
    """Small values need no check under wider limits."""
    writer = Writer()
    limits = replace(WIDE, **narrow)
    for value in (5, "text", [1]):
        assert written(value, limits=limits, writer=writer) is None
        assert written(value, limits=WIDE, writer=writer) is not None
        for name, allowed in narrow.items():
            wider = replace(WIDE, **{name: allowed + 1})
            assert written(value, limits=wider, writer=writer) == encoded(value)


def _at_a_limit() -> Iterator[tuple[Any, str, int]]:
    deep: Any = 5
    shared: Any = [1]
    for _ in range(20):
        deep = [deep]
    yield deep, "depth", 20
    yield {"a": {"b": {"c": {"d": "e"}}}}, "depth", 9
    yield [[[[[[[[(1,)]] * 2]]]]]], "depth", 10
    yield Spot(x=Spot(x=Spot(x=Spot(x=1)))), "depth", 13
    for _ in range(10):
        shared = [shared, shared]
    yield shared, "depth", 21
    for value in (b"x" * 600, "x" * 600, {"x" * 600: 1}, Mark(b"x" * 600)):
        yield value, "string_bytes", 600
    for items in ([5] * 99, (5,) * 99, set(range(99)), dict.fromkeys(range(99))):
        yield items, "list_items", 100
    yield Spot(**dict.fromkeys(map(str, range(99)), 1)), "list_items", 100
    yield [5] * 99, "nodes", 101
    yield {"a": "b"}, "nodes", 9
    yield 2**140 - 1, "prefix_bytes", 20
    yield -(2**140) + 1, "prefix_bytes", 20
    yield [1, 2, 3], "message_bytes", 10
    yield [b"x" * 10_000] * 2, "message_bytes", 20_010


@pytest.mark.parametrize(("value", "name", "need"), list(_at_a_limit()))
def test_each_limit_at_its_boundary(value: Any, name: str, need: int) -> None:
    for allowed in (need - 1, need, need + 1):
        limits = replace(WIDE, **{name: allowed})
        found = written(value, limits=limits)
        try:
            expected = encoded(value, limits)
        except (BananaError, JellyError):
            assert allowed < need
            assert found is None
        else:
            assert allowed >= need
            assert found in (None, expected)
    # Far from it, it is quick.
    assert written(value, limits=replace(WIDE, **{name: 2 * need + 4})) is not None


def test_writer_keeps_no_objects() -> None:
    class Owner:
        def make_jellier(self) -> Jellier:
            return jellier_for()

    writer = Writer()
    owner = Owner()
    spot = Spot(x=Mark(b"mark"))
    spot.__dict__["me"] = spot
    value: Any
    for value in ((spot,), (spot, Hooked())):
        writer.write((), (value,), WIDE, LEGACY.sending, owner.make_jellier)
    gone = [weakref.ref(each) for each in (owner, spot)]
    del owner, spot, value
    gc.collect()
    assert [each() for each in gone] == [None, None]
