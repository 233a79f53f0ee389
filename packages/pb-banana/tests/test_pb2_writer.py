from __future__ import annotations

import math
from collections import OrderedDict, deque, namedtuple
from dataclasses import dataclass, replace
from enum import Enum, Flag
from types import ModuleType
from typing import Any

import pytest

from pb_banana import Limits
from pb_banana._pb2.writer import Writer
from pb_jelly import (
    ClassRegistry,
    DummySecurityOptions,
    InsecureJelly,
    Jellyable,
    JellyError,
    LimitExceeded,
    MalformedJelly,
    SecurityOptions,
    UnjellyableType,
    copyable,
    copyable_as,
)

from .graphs import POLICY, Cell, Colour, Node, Row, Spot
from .pb2 import difference, received, sent, writer_for
from .support import WIDE

OPEN = DummySecurityOptions()


class Pair(namedtuple("Pair", "left right")):
    """A namedtuple with a state of its own."""


class Plan(list[Any]):
    """A list with attributes."""


class Mode(Flag):
    """Unregistered flags."""

    READ = 1
    WRITE = 2


class Trouble(Exception):
    """An exception of a program."""

    def method(self) -> str:
        return "called"


class Alike:
    """An instance that is equal to others by its contents."""

    def __init__(self, key: Any) -> None:
        self.key = key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike) and bool(self.key == other.key)


def again(value: Any, policy: Any = OPEN) -> Any:
    """Return a value after a round trip."""
    return received(sent(value, policy), policy)


# The bytes.


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65_535, "19ffff"),
        (65_536, "1a00010000"),
        (2**32, "1b0000000100000000"),
        (2**60, "1b1000000000000000"),
        (2**64 - 1, "1bffffffffffffffff"),
        (2**64, "c249010000000000000000"),
        (-1, "20"),
        (-24, "37"),
        (-25, "3818"),
        (-(2**64), "3bffffffffffffffff"),
        (-(2**64) - 1, "c349010000000000000000"),
        (1.5, "fb3ff8000000000000"),
        ("é", "62c3a9"),
        (b"ab", "426162"),
        (None, "f6"),
        (True, "f5"),
        (False, "f4"),
        ([1, []], "820180"),
        ({"a": 1, 2: None}, "a26161010 2f6".replace(" ", "")),
        ((), "d9b9b080"),
        ({5}, "d9010281 05".replace(" ", "")),
        (frozenset({5}), "d9b9b18105"),
        (bytearray(b"a"), "d8404161"),
    ],
)
def test_bytes_of_each_type(value: Any, data: str) -> None:
    assert sent(value).hex() == data
    assert not difference(value, received(bytes.fromhex(data)))


def test_shared_objects_are_marked_at_their_first_place() -> None:
    one: list[Any] = []
    assert sent([one, one, {"k": one}, (one,)]).hex() == (
        "84d81c80d81d00a1616bd81d00d9b9b081d81d00"
    )


def test_references_are_numbered_by_the_places_of_their_targets() -> None:
    one, two = [1], [2]
    assert sent([one, two, two, one]).hex() == "84d81c8101d81c8102d81d01d81d00"


def test_objects_with_one_occurrence_have_no_marks() -> None:
    assert b"\xd8\x1c" not in sent([[1], {"a": (2,)}, {3}])


def test_references_across_a_large_string() -> None:
    one: list[Any] = []
    value = [one, b"x" * 20_000, one, "y" * 20_000, [one]]
    parts = writer_for().message(value)
    assert [len(part) for part in parts if len(part) > 16_000] == [20_000, 20_000]
    assert not difference(value, received(b"".join(parts)))


def test_large_strings_are_not_copied() -> None:
    large = b"x" * 16_384
    parts = writer_for().message([large])
    assert parts[1] is large


def test_reference_directly_after_a_large_string() -> None:
    one: list[Any] = [b"z" * 20_000]
    value = [one, one, b"w" * 20_000, one]
    assert not difference(value, received(sent(value)))


def test_many_shared_objects() -> None:
    many = [[number] for number in range(70_000)]
    assert not difference([many, many[::-1]], received(sent([many, many[::-1]])))


def test_more_keys_than_the_cache_holds() -> None:
    value = {f"key {number}": number for number in range(3000)}
    assert received(sent(value)) == value


def test_long_keys() -> None:
    value = {"k" * 41: 1, "k" * 300: 2, "\ud800": 3}
    assert received(sent(value)) == value


# Types.


@pytest.mark.parametrize(
    "value",
    [
        Colour.RED,
        Mode.READ,
        Mode.READ | Mode.WRITE,
        Pair(1, [2]),
        OrderedDict(b=1, a=[]),
        deque([1, 2], maxlen=3),
        deque(),
        range(1, 9, 2),
        "a\ud800",
        ["\ud800", {"\ud800": 1}],
    ],
    ids=repr,
)
def test_round_trip_of_types(value: Any) -> None:
    found = again(value)
    assert type(found) is type(value)
    assert found == value


def test_code_objects_are_sent_by_name() -> None:
    trouble = Trouble()
    value = [Trouble, math, received, trouble.method, trouble]
    found = again(value)
    assert found[:3] == [Trouble, math, received]
    assert isinstance(found[1], ModuleType)
    assert found[3].__self__ is found[4]
    assert found[3]() == "called"


def test_subclasses_keep_their_state() -> None:
    plan = Plan([1])
    plan.append(plan)
    plan.name = [plan]  # type: ignore[attr-defined]
    found = again([plan, plan])
    assert found[0] is found[1]
    assert found[0][1] is found[0].name[0] is found[0]
    pair: Any = Pair(1, 2)
    pair.note = [pair]
    assert again(pair).note[0] == (1, 2)


def test_exceptions_keep_their_cause() -> None:
    trouble = Trouble("no", 5)
    trouble.__cause__ = ValueError("why")
    trouble.me = [trouble]  # type: ignore[attr-defined]
    found = again([trouble, trouble])[1]
    assert found.args == ("no", 5)
    assert repr(found.__cause__) == "ValueError('why')"
    assert found.me[0] is found


def test_instances_are_sent_by_their_attributes() -> None:
    node: Any = Node(a=1, b=[2])
    node.me = node
    empty = Node()
    found = received(sent([node, empty, node, Node(), Spot(), Spot(n=1)]))
    assert found[0].me is found[0] is found[2]
    assert found[0].b == [2]
    assert found[5].n == 1


def test_shared_dict_of_attributes() -> None:
    node = Node(a=1)
    found = received(sent([node, node.__dict__, Node(), Node()]))
    assert found[0].__dict__ is found[1]
    assert difference([node, node.__dict__], found[:2]) == ""


def test_shape_of_a_class_is_written_once() -> None:
    data = sent([Row(1, 2), Row(3, 4), Cell(5), Row(a=[], b=None)])
    assert data.count(b"Row") == 1
    assert not difference([Row(1), Row(2)], received(sent([Row(1), Row(2)])))


def test_name_of_a_class_is_written_once() -> None:
    data = sent([Node(a=1), Node(a=2), Node()])
    assert data.count(b"Node") == 1


def test_more_classes_than_short_numbers() -> None:
    kinds = [type(f"Kind{n}", (), {}) for n in range(40)]
    policy = SecurityOptions(ClassRegistry())
    policy.allowInstancesOf(*kinds)
    for kind in kinds:
        globals()[kind.__name__] = kind
    value = [kind() for kind in kinds * 2]
    for each in value:
        each.n = 1
    assert [type(x) for x in received(sent(value, policy), policy)] == kinds * 2


# What a class says itself.


class Report(Jellyable):
    """A class whose hook returns its state."""

    def __init__(self, lines: Any = None) -> None:
        self.lines = lines

    def getStateFor(self, jellier: Any) -> Any:
        return {"lines": self.lines, "for": jellier.invoker}

    def setStateFor(self, unjellier: Any, state: Any) -> None:
        self.__dict__ = state


def hooked_policy(*classes: Any) -> SecurityOptions:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    for each in classes:
        policy.registry.setUnjellyableForClass(each, each)
        policy.allowTypes(each)
    return policy


def test_state_made_by_a_hook() -> None:
    from pb_jelly import Unjellyable

    both = type("Both", (Report, Unjellyable), {})
    policy = hooked_policy(both)
    one = both([])
    one.lines.append(one)
    data = sent([one, one, one.lines], policy, invoker=5)
    found = received(data, policy)
    assert found[0].lines is found[2]
    assert found[2][0] is found[0] is found[1]
    assert vars(found[0])["for"] == 5


class Own(Jellyable):
    """A class that makes its whole expression, with parts."""

    made: Any = None

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def jellyFor(self, jellier: Any) -> Any:
        if self.made is not None:
            return self.made
        sexp = jellier.prepare(self)
        sexp += [b"own", 5, 1.5, b"atom", [jellier.jelly(self.parts[0]), [1]]]
        sexp += [jellier.jelly(part) for part in self.parts]
        return jellier.preserve(self, tuple(sexp))

    def unjellyFor(self, unjellier: Any, sexp: list[Any]) -> Any:
        self.sexp = sexp
        self.parts = tuple(unjellier.unjelly(part) for part in sexp[5:])
        return self


def own_policy() -> SecurityOptions:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    policy.registry.setUnjellyableForClass("own", Own)
    policy.allowTypes("own")
    return policy


def test_expressions_of_hooks_keep_identities() -> None:
    policy = own_policy()
    one: list[Any] = ["text", None]
    own = Own(one, {"a": one}, "text", 7)
    one.append(own)
    found = received(sent([one, own], policy), policy)
    back = found[1]
    assert back.sexp[:4] == [b"own", 5, 1.5, b"atom"]
    assert back.parts[0] is found[0] is back.parts[1]["a"]
    assert back.parts[2:] == ("text", 7)
    assert found[0][2] is back


@pytest.mark.parametrize("atom", [b"bytes", 5, 1.5])
def test_expressions_that_are_atoms(atom: Any) -> None:
    own = Own()
    own.made = atom
    assert received(sent(own)) == atom


@pytest.mark.parametrize("made", [None, [], "text", [5], [b"own", "text"], {}])
def test_refusal_of_malformed_expressions(made: Any) -> None:
    own = Own()
    own.made = made if made is not None else object()
    with pytest.raises(UnjellyableType):
        sent(own)


def test_expression_of_a_word() -> None:
    own = Own()
    own.made = [b"tuple", 1, [b"unicode", b"x"]]
    assert received(sent(own)) == (1, "x")


def test_refusal_of_a_name_that_is_no_text() -> None:
    own = Own()
    own.made = [b"\xff", 1]
    policy = SecurityOptions(ClassRegistry())
    policy.registry.setUnjellyableForClass(b"\xff", lambda unjellier, sexp: sexp)
    policy.allowTypes(b"\xff")
    assert received(sent(own), policy) == [b"\xff", 1]


# What is refused, and where.


def test_paths_of_errors() -> None:
    bad = object()
    policy = POLICY
    for value, path in [
        ([1, {"due": bad}], "[1]['due']"),
        ({"a": (0, [bad])}, "['a'][1][0]"),
        ({(1, bad): 0}, ".keys()[0][1]"),
        ({1: 2, frozenset({bad}): 0}, ".keys()[1][0]"),
        (Row(a=bad), ".a"),
        ([Row(), Row(b=bad)], "[1].b"),
        (Node(items={"due": bad}), ".items['due']"),
        ([Node(), Node(n=bad)], "[1].n"),
        (OrderedDict(a=bad), "['a']"),
        (deque([0, bad]), "[1]"),
        ([0, {1, bad}], None),
    ]:
        with pytest.raises(JellyError) as caught:
            sent(value, policy)
        if path is not None:
            assert caught.value.path == path


def test_paths_within_the_loop() -> None:
    value: Any = [object()]
    for _ in range(700):
        value = (value,)
    with pytest.raises(JellyError) as caught:
        sent({"a": value})
    assert caught.value.path.startswith("['a'][0][0][0]")


def test_paths_in_the_deterministic_form() -> None:
    for value, path in [
        ({"b": 1, "a": object()}, "['a']"),
        ({(object(),): 1}, ".keys()[0][0]"),
        ([{object()}], "[0][0]"),
        (Node(n=object()), ".n"),
    ]:
        with pytest.raises(JellyError) as caught:
            sent(value, deterministic=True)
        assert caught.value.path == path


def test_refusal_of_tuples_that_contain_themselves() -> None:
    inner: list[Any] = []
    value = (inner,)
    inner.append(value)
    with pytest.raises(UnjellyableType, match="contains itself") as caught:
        sent([value])
    assert caught.value.path == "[0][0][0]"


def test_refusal_of_frozensets_that_contain_themselves() -> None:
    node: Any = Node()
    value = frozenset({node})
    node.me = value
    with pytest.raises(UnjellyableType, match="contains itself"):
        sent(value)


def test_refusal_of_cycles_in_the_deterministic_form() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnjellyableType, match="equal bytes"):
        sent(loop, deterministic=True)


def test_refusal_of_attribute_names_that_are_no_text() -> None:
    node = Node()
    node.__dict__[5] = 1  # type: ignore[index]
    for value in (node, [Node(), node]):
        with pytest.raises(UnjellyableType, match="named"):
            sent(value)


def test_refusal_of_an_unlisted_class() -> None:
    with pytest.raises(InsecureJelly):
        sent(Trouble())


@pytest.mark.parametrize("value", ["text", None, True, [], (), {}, {"a": 1}, {1}])
def test_refusal_of_types_by_the_policy(value: Any) -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowedTypes.clear()
    with pytest.raises(InsecureJelly):
        sent(value, policy)
    assert received(sent(5, policy), policy) == 5


class Asking(SecurityOptions):
    """A policy that overrides its methods."""

    def isTypeAllowed(self, typeName: Any) -> bool:
        return bool(typeName != b"set")


def test_policy_with_overridden_methods_decides() -> None:
    policy = Asking(ClassRegistry())
    value = [1, "a", {"b": (None, True)}, frozenset({2}), bytearray(b"x"), 1.5]
    assert received(sent(value, policy), policy) == value
    with pytest.raises(InsecureJelly):
        sent({1}, policy)


def test_members_with_equal_hashes() -> None:
    flood = {(2**61 - 1) * n: 0 for n in range(2**10, 2**10 + 80)}
    for value in (flood, set(flood), OrderedDict(flood)):
        with pytest.raises(LimitExceeded, match="equal_hashes"):
            sent(value, limits=WIDE)


@pytest.mark.parametrize(
    ("value", "limits", "limit"),
    [
        ([[[]]], replace(WIDE, depth=2), "depth"),
        ({"a": {"b": {}}}, replace(WIDE, depth=2), "depth"),
        ([1, 2, 3], replace(WIDE, list_items=2), "list_items"),
        ({"a": 1, "b": 2}, replace(WIDE, list_items=1), "list_items"),
        ([[1, 2], [3]], replace(WIDE, nodes=4), "nodes"),
        ("text", replace(WIDE, string_bytes=3), "string_bytes"),
        ({"text": 1}, replace(WIDE, string_bytes=3), "string_bytes"),
        (bytearray(5), replace(WIDE, string_bytes=3), "string_bytes"),
        ("\ud800\ud800", replace(WIDE, string_bytes=3), "string_bytes"),
        (2**70, replace(WIDE, prefix_bytes=9), "prefix_bytes"),
        ([b"x" * 50], replace(WIDE, message_bytes=50), "message_bytes"),
    ],
)
def test_each_limit_at_its_boundary(value: Any, limits: Limits, limit: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        sent(value, limits=limits)
    assert caught.value.limit == limit


def test_integers_of_a_word_are_within_any_limit() -> None:
    assert received(sent(2**64 - 1, limits=replace(WIDE, prefix_bytes=1))) == 2**64 - 1


# The deterministic form.


def test_deterministic_form_sorts_and_shortens() -> None:
    value = {"b": 1.5, "a": 1e300, 10: math.nan, -1: 0.1, "aa": float("inf")}
    assert sent(value, deterministic=True).hex() == (
        "a5"  # five pairs
        "0af97e00"  # 10: NaN
        "20fb3fb999999999999a"  # -1: 0.1
        "6161fb7e37e43c8800759c"  # "a": 1e300
        "6162f93e00"  # "b": 1.5
        "626161f97c00"  # "aa": inf
    )


def test_singles_in_the_deterministic_form() -> None:
    assert sent(100_000.0, deterministic=True).hex() == "fa47c35000"


def test_equal_values_have_equal_bytes() -> None:
    one = [1]
    left = {"x": [one, one], "y": {3, 1, 2}, "z": Row(1, 2), "n": Node(b=1, a=2)}
    right = {"n": Node(a=2, b=1), "z": Row(1, 2), "y": {2, 3, 1}, "x": [[1], [1]]}
    data = sent(left, deterministic=True)
    assert data == sent(right, deterministic=True)
    assert received(data)["y"] == {1, 2, 3}


# Messages in pieces.


def test_message_without_a_list() -> None:
    writer = writer_for()
    writer.begin()
    writer.array(5)
    writer.integer(1)
    writer.integer(70_000)
    writer.value("name")
    shared = [1]
    writer.arguments((2, shared))
    writer.keywords({"due": shared})
    size = writer.end()
    data = b"".join(writer.take())
    assert len(data) == size
    assert received(data) == [1, 70_000, "name", [2, [1]], {"due": [1]}]
    assert writer.take() == []


def test_empty_keywords() -> None:
    writer = writer_for()
    writer.begin()
    writer.keywords({})
    writer.end()
    assert writer.take() == [b"\xa0"]


def test_several_messages_in_one_output() -> None:
    writer = writer_for()
    one: list[Any] = []
    sizes = []
    for value in ([one, one], b"x" * 20_000, 5):
        writer.begin()
        writer.value(value)
        sizes.append(writer.end())
    data = b"".join(writer.take())
    assert len(data) == sum(sizes)
    assert data.startswith(sent([one, one]) + sent(b"x" * 20_000))


@pytest.mark.parametrize("before", [5, b"x" * 20_000])
@pytest.mark.parametrize("value", [object(), [b"y" * 20_000, object()]])
def test_abandoned_message_leaves_no_trace(before: Any, value: Any) -> None:
    writer = writer_for()
    writer.begin()
    writer.value(before)
    writer.end()
    writer.begin()
    with pytest.raises(JellyError):
        writer.value([[], value])
    writer.give_up()
    writer.begin()
    writer.value([1])
    writer.end()
    assert b"".join(writer.take()) == sent(before) + sent([1])


def test_message_over_the_limit_is_abandoned() -> None:
    writer = writer_for(limits=replace(WIDE, message_bytes=10))
    writer.begin()
    writer.value("x" * 20)
    with pytest.raises(LimitExceeded, match="message_bytes"):
        writer.end()
    writer.give_up()
    assert writer.take() == []


def test_refusal_of_overlapping_messages() -> None:
    writer = writer_for()
    writer.give_up()
    writer.begin()
    with pytest.raises(RuntimeError):
        writer.begin()
    with pytest.raises(RuntimeError):
        writer.message(1)


def test_paths_begin_at_the_arguments() -> None:
    writer = writer_for()
    writer.begin()
    with pytest.raises(JellyError) as caught:
        writer.arguments((0, {"due": object()}))
    assert caught.value.path == "[1]['due']"
    writer.give_up()
    writer.begin()
    with pytest.raises(JellyError) as caught:
        writer.keywords({"due": object()})
    assert caught.value.path == "['due']"


def test_writer_keeps_no_state_between_messages() -> None:
    writer = writer_for()
    shared = [Node()]
    first = writer.message([shared, shared])
    assert writer.message([shared, shared]) == first
    assert b"".join(writer.message(shared)) == sent([Node()])


def test_edit_of_a_policy_takes_effect() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()

    @copyable("Late", policy=policy)
    @dataclass
    class Late:
        n: int = 0

    assert received(sent([Late(1), Late(2)], policy), policy) == [Late(1), Late(2)]
    del policy.allowedTypes[b"Late"]
    with pytest.raises(InsecureJelly):
        sent(Late(), policy)


def test_classes_of_libraries_by_two_functions() -> None:
    import re

    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    copyable_as(
        re.Pattern,
        "pattern",
        lambda found: {"pattern": found.pattern},
        lambda state: re.compile(state["pattern"]),
        policy=policy,
    )
    one = re.compile("a+")
    found = received(sent([one, one], policy), policy)
    assert found[0].pattern == "a+"
    assert found[0] is found[1]
    with pytest.raises(MalformedJelly):
        received(sent([one], policy).replace(b"a+", b"(+"), policy)


class Suit(Enum):
    """An enumeration that is listed, and not registered."""

    HEARTS = 1


def test_members_of_listed_enumerations() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowInstancesOf(Suit)
    assert received(sent([Suit.HEARTS] * 2, policy), policy) == [Suit.HEARTS] * 2
    with pytest.raises(MalformedJelly, match="no member"):
        received(sent(Suit.HEARTS, policy).replace(b"HEARTS", b"HEARTZ"), policy)


def test_exhausted_stack_ends_in_an_error() -> None:
    """The writer recurses to a fixed depth on any stack."""
    writer = Writer()
    assert not writer.is_busy

    def fall(depth: int) -> None:
        if depth:
            fall(depth - 1)
        else:
            value: Any = []
            for _ in range(60):
                value = [value]
            sent(value)

    with pytest.raises((RecursionError, LimitExceeded)):
        fall(2000)


def test_equal_instances_within_their_own_state() -> None:
    one = Alike("k")
    one.friends = {one: 1}  # type: ignore[attr-defined]
    found = again([one])[0]
    assert list(found.friends) == [found]


def test_state_that_occurred_before() -> None:
    state = {"n": 1}
    node = Node()
    node.__dict__ = state
    found = received(sent([state, node]))
    assert found[0] == vars(found[1]) == state
