"""The path to the offending value in every error, in both directions."""

from __future__ import annotations

import collections
import enum
from typing import Any, NamedTuple

import pytest

from pb_jelly import (
    DummySecurityOptions,
    Jellyable,
    JellyError,
    LimitExceeded,
    Limits,
    SecurityOptions,
    Unjellyable,
    default_registry,
    jelly,
    unjelly,
)

EVERYTHING = DummySecurityOptions()


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Thing(Jellyable, Unjellyable):
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Choosing(Thing):
    def getStateFor(self, jellier: Any) -> Any:
        return dict(self.__dict__)


class Hooked(Thing):
    def jellyFor(self, jellier: Any) -> Any:
        return super().jellyFor(jellier)

    def unjellyFor(self, unjellier: Any, jellyList: Any) -> Any:
        return super().unjellyFor(unjellier, jellyList)


class Slots:
    __slots__ = ("a",)
    a: Any


class Words(list[Any]):
    pass


class Pair(NamedTuple):
    left: Any
    right: Any


class Color(enum.Enum):
    RED = 1


BAD = lambda: None  # noqa: E731 - it has no name that could be sent


def slotted(value: Any) -> Slots:
    made = Slots()
    made.a = value
    return made


def words(*items: Any, **attributes: Any) -> Words:
    made = Words(items)
    made.__dict__.update(attributes)
    return made


def error(*args: Any, cause: BaseException | None = None, **attributes: Any) -> Any:
    made = ValueError(*args)
    made.__cause__ = cause
    made.__dict__.update(attributes)
    return made


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (BAD, ""),
        ([BAD], "[0]"),
        ([1, "a", [], [2, BAD]], "[3][1]"),
        ((1, (BAD,)), "[1][0]"),
        ({"due": BAD}, "['due']"),
        ({"a": 1, 5: [BAD]}, "[5][0]"),
        ({(1, 2): BAD}, "[<b'tuple'>]"),
        ({"a": 1, BAD: 2}, ".keys()[1]"),
        ({"a": 1, (5, BAD): 2}, ".keys()[1][1]"),
        ({BAD}, "[0]"),
        (frozenset([(BAD,)]), "[0][0]"),
        (Plain(items=[BAD]), ".items[0]"),
        ([Plain(items={"due": BAD})], "[0].items['due']"),
        ([1, Plain(**{"not a name": BAD})], "[1]['not a name']"),
        (Plain(a=Plain(b=Plain(c=BAD))), ".a.b.c"),
        (Thing(a=[BAD]), ".a[0]"),
        (Choosing(a=[BAD]), ".a[0]"),
        ([Hooked(a=[BAD])], "[0].a[0]"),
        (Hooked(a=Hooked(b=Plain(c=BAD))), ".a.b.c"),
        ([slotted([BAD])], "[0][1]['a'][0]"),
        ({"x" * 100: BAD}, f"['{'x' * 40}'...]"),
    ],
)
def test_path_to_a_value_that_cannot_be_sent(value: Any, path: str) -> None:
    with pytest.raises(JellyError) as caught:
        jelly(value)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (collections.deque([1, BAD]), "[1]"),
        (collections.OrderedDict(a=BAD), "['a']"),
        ([words(1, [BAD])], "[0][1][0]"),
        ([words(1, due=[BAD])], "[0].due[0]"),
        (Pair(1, BAD), "[1]"),
        ([error(1, [BAD])], "[0].args[1][0]"),
        ([error(1, due=BAD)], "[0].due"),
        ([error(cause=error(BAD))], "[0].__cause__.args[0]"),
    ],
)
def test_path_within_modern_types(value: Any, path: str) -> None:
    with pytest.raises(JellyError) as caught:
        jelly(value, modern=True)
    assert caught.value.path == path


BROKEN = [b"unicode", b"\xff"]


def text(value: str) -> list[Any]:
    return [b"unicode", value.encode()]


def state(**values: Any) -> list[Any]:
    return [b"dictionary", *([text(name), value] for name, value in values.items())]


@pytest.fixture
def policy() -> Any:
    policy = SecurityOptions()
    policy.allowInstancesOf(Plain, Words, Pair, Color, Slots)
    policy.allowTypes("thing", "hooked", "factory", "method", "function")
    registry = default_registry
    registry.setUnjellyableForClass("thing", Thing)
    registry.setUnjellyableForClass("hooked", Hooked)
    registry.setUnjellyableFactoryForClass("factory", dict)
    yield policy
    for name in (b"thing", b"hooked"):
        del registry.unjellyables[name]
    del registry.factories[b"factory"]


PLAIN = f"{__name__}.Plain".encode()


@pytest.mark.parametrize(
    ("sexp", "path"),
    [
        (BROKEN, ""),
        ([b"list", BROKEN], "[0]"),
        ([b"list", 1, text("a"), [b"list"], [b"list", 2, BROKEN]], "[3][1]"),
        ([b"tuple", 1, [b"tuple", BROKEN]], "[1][0]"),
        ([b"set", 1, BROKEN], "[1]"),
        ([b"frozenset", 1, BROKEN], "[1]"),
        ([b"list", [b"set", [b"list"]]], "[0]"),
        ([b"list", [b"frozenset", [b"list"]]], "[0]"),
        (state(due=BROKEN), "['due']"),
        ([b"dictionary", [b"due", BROKEN]], "[b'due']"),
        ([b"dictionary", [[b"tuple"], BROKEN]], "[<tuple>]"),
        ([b"dictionary", [1, 2], [BROKEN, 3]], ".keys()[1]"),
        ([b"dictionary", [1, 2], [[b"tuple", 5, BROKEN], 3]], ".keys()[1][1]"),
        ([b"list", 1, [b"dictionary", 5]], "[1]"),
        ([b"list", 1, [b"dictionary", [[b"list"], 5]]], "[1]"),
        ([PLAIN, state(items=[b"list", BROKEN])], ".items[0]"),
        ([b"list", [PLAIN, state(items=state(due=BROKEN))]], "[0].items['due']"),
        ([b"list", [PLAIN, BROKEN]], "[0]"),
        ([b"list", [PLAIN, 5]], "[0]"),
        ([b"list", [b"reference", 1, [PLAIN, state(a=BROKEN)]]], "[0].a"),
        ([b"list", 1, [b"thing", state(a=[b"list", BROKEN])]], "[1].a[0]"),
        ([b"list", 1, [b"hooked", state(a=[b"list", BROKEN])]], "[1].a[0]"),
        ([b"hooked", state(a=[b"hooked", state(b=BROKEN)])], ".a.b"),
        ([b"list", 1, [b"factory", state(a=BROKEN)]], "[1].a"),
        ([b"list", [b"method", b"m", [PLAIN, state(a=BROKEN)], 5]], "[0].__self__.a"),
        ([b"list", [b"method", b"m", 5, BROKEN]], "[0].__class__"),
        ([b"list", [b"tuple", [b"dereference", 1], BROKEN]], "[0][1]"),
        ([b"list", [b"list", [b"dereference", 1], BROKEN]], "[0][1]"),
        ([b"tuple", 1, [b"os.system", 1]], "[1]"),
        ([b"list", 1, []], "[1]"),
    ],
)
def test_path_to_a_wrong_expression(
    policy: SecurityOptions, sexp: Any, path: str
) -> None:
    with pytest.raises(JellyError) as caught:
        unjelly(sexp, policy)
    assert caught.value.path == path


WORDS = f"{__name__}.Words".encode()
PAIR = f"{__name__}.Pair".encode()
ERROR = b"builtins.ValueError"
NONE = [b"None"]


@pytest.mark.parametrize(
    ("sexp", "path"),
    [
        ([b"@deque", NONE, 1, BROKEN], "[1]"),
        ([b"@ordereddict", [text("a"), BROKEN]], "['a']"),
        ([b"list", [b"@object", WORDS, [b"list", 1, BROKEN], NONE]], "[0][1]"),
        ([b"list", [b"@object", WORDS, [b"list"], state(due=BROKEN)]], "[0].due"),
        ([b"list", [b"@object", PAIR, [b"tuple", 1, BROKEN], NONE]], "[0][1]"),
        ([b"list", [b"@object", PAIR, [b"tuple", 1, 2], state(a=BROKEN)]], "[0].a"),
        (
            [b"list", [b"@exception", ERROR, [b"tuple", BROKEN], NONE, NONE, NONE]],
            "[0].args[0]",
        ),
        (
            [b"list", [b"@exception", ERROR, [b"tuple"], state(a=BROKEN), NONE, NONE]],
            "[0].a",
        ),
        (
            [b"list", [b"@exception", ERROR, [b"tuple"], NONE, BROKEN, NONE]],
            "[0].__cause__",
        ),
    ],
)
def test_path_within_modern_expressions(
    policy: SecurityOptions, sexp: Any, path: str
) -> None:
    with pytest.raises(JellyError) as caught:
        unjelly(sexp, policy, modern=True)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("sexp", "depth", "path"),
    [
        ([b"list", [b"list", 1, [b"list"]]], 2, "[0][1]"),
        ([b"list", 1, [b"unicode", b"a"]], 1, "[1]"),
        ([b"list", [b"dictionary", [1, [b"None"]]]], 3, "[0][1]"),
        ([b"list", [b"dictionary", [[b"None"], 1]]], 3, "[0].keys()[0]"),
        ([b"list", [b"dictionary", [1, 2]]], 2, "[0]"),
        ([b"list", [b"reference", 1, [b"list"]]], 2, "[0]"),
        ([b"list", [PLAIN, state(a=1)]], 3, "[0]"),
        ([b"list", [PLAIN, state(a=1)]], 4, "[0].keys()[0]"),
        ([b"list", [b"hooked", [b"list", 1, [b"list"]]]], 3, "[0][1]"),
        ([b"list", [b"hooked", [b"list"]]], 2, "[0]"),
    ],
)
def test_path_to_an_expression_that_is_too_deep(
    policy: SecurityOptions, sexp: Any, depth: int, path: str
) -> None:
    with pytest.raises(LimitExceeded) as caught:
        unjelly(sexp, policy, limits=Limits(depth=depth))
    assert caught.value.path == path
    assert (caught.value.used, caught.value.allowed) == (depth + 1, depth)


# Limits, in the object's own terms.


def levels(value: Any, limits: Limits) -> LimitExceeded:
    with pytest.raises(LimitExceeded) as caught:
        jelly(value, limits=limits)
    return caught.value


@pytest.mark.parametrize(
    ("value", "limits", "used", "path"),
    [
        (["", "abcd"], {"string_bytes": 3}, 4, "[1]"),
        (["", b"abcd"], {"string_bytes": 3}, 4, "[1]"),
        (["", "\u20ac\u20ac"], {"string_bytes": 5}, 6, "[1]"),
        ([[1, 2, 3]], {"list_items": 3}, 4, "[0]"),
        ([{1: 1, 2: 2, 3: 3}], {"list_items": 3}, 4, "[0]"),
        ([Plain(a=1, b=2, c=3)], {"list_items": 3}, 4, "[0]"),
        ([5, 1 << 14], {"prefix_bytes": 2}, 3, "[1]"),
        ([5, -(1 << 14)], {"prefix_bytes": 2}, 3, "[1]"),
        ([[[[]]]], {"depth": 3}, 4, "[0][0][0]"),
        ([[["a"]]], {"depth": 3}, 4, "[0][0][0]"),
        ([[[5, "a"]]], {"depth": 3}, 4, "[0][0][1]"),
        ([{5: "a"}], {"depth": 3}, 4, "[0][5]"),
        ({"a": {"b": 1}}, {"depth": 4}, 5, "['a'].keys()[0]"),
        ({"a": {"b": 1}}, {"depth": 3}, 4, "['a']"),
        (Plain(a=Plain(b=1)), {"depth": 5}, 6, ".a"),
        (Plain(a=Plain(b=1)), {"depth": 4}, 5, ".a"),
        (Plain(a=Thing(b=1)), {"depth": 5}, 6, ".a"),
        (Plain(a=Choosing(b=1)), {"depth": 5}, 6, ".a"),
        (Plain(a=Hooked(b=1)), {"depth": 5}, 6, ".a"),
        (Plain(a=Hooked(b=1)), {"depth": 3}, 4, ".keys()[0]"),
        ([[1, 2], [3, 4, 5]], {"nodes": 9}, 11, "[1]"),
        ([[1, 2], {3: 4, 5: 6}], {"nodes": 12}, 14, "[1]"),
    ],
)
def test_limits_while_jellying(
    value: Any, limits: dict[str, int], used: int, path: str
) -> None:
    error = levels(value, Limits(**limits))
    ((limit, allowed),) = limits.items()
    assert (error.limit, error.used, error.allowed) == (limit, used, allowed)
    assert error.path == path
    if limit != "depth":
        assert jelly(value, limits=Limits(**{limit: used}))


def test_integers_of_every_prefix() -> None:
    limits = Limits(prefix_bytes=64)
    assert jelly([(1 << 448) - 1, 1 - (1 << 448)], limits=limits)
    for number in (1 << 448, -(1 << 448)):
        assert levels([number], limits).path == "[0]"


def test_limits_of_leaves_while_jellying() -> None:
    from decimal import Decimal
    from fractions import Fraction

    limits = Limits(prefix_bytes=4)
    assert levels([Decimal(1 << 28)], limits).used == 5
    assert levels([Decimal(10) ** 5000], limits).limit == "prefix_bytes"
    with pytest.raises(LimitExceeded) as caught:
        jelly([Fraction(1, 1 << 28)], modern=True, limits=limits)
    assert caught.value.path == "[0]"
    with pytest.raises(LimitExceeded) as caught:
        jelly([bytearray(5)], modern=True, limits=Limits(string_bytes=4))
    assert (caught.value.limit, caught.value.path) == ("string_bytes", "[0]")


def test_path_to_a_hook_with_too_large_a_result() -> None:
    class Much:
        def jellyFor(self, jellier: Any) -> Any:
            return [b"much", *range(10)]

    error = levels([Much()], Limits(list_items=10))
    assert (error.limit, error.used, error.path) == ("list_items", 11, "[0]")
    error = levels([Much(), Much()], Limits(nodes=20))
    assert (error.limit, error.path) == ("nodes", "[1]")


def count(sexp: Any) -> int:
    return 1 + sum(map(count, sexp)) if isinstance(sexp, list) else 1


def depth(sexp: Any) -> int:
    return 1 + max(map(depth, sexp)) if isinstance(sexp, list) else 0


def shared() -> Any:
    """Return a value that gets deeper by references that are found late."""
    inner: list[Any] = []
    table = {"a": [1], "me": Plain(b=[inner])}
    outer = [[inner], table]
    return [outer, outer, inner, table, table["me"]]


@pytest.mark.parametrize(
    "value",
    [
        shared(),
        ["a", "b", None, True],
        {"a": {"b": {"c": None}}},
        [(), ()],
        Plain(a=Hooked(b=Thing(c={5}))),
        [Plain()] * 3,
    ],
    ids=repr,
)
def test_nodes_and_depth_are_those_of_the_expression(value: Any) -> None:
    sexp = jelly(value)
    nodes, deep = count(sexp), depth(sexp)
    assert jelly(value, limits=Limits(nodes=nodes, depth=deep)) == sexp
    for limits in (Limits(nodes=nodes - 1), Limits(depth=deep - 1)):
        error = levels(value, limits)
        assert error.used > error.allowed


def test_path_where_references_exceed_the_depth() -> None:
    inner: list[Any] = [[5]]
    middle = [inner]
    value = [0, {"a": {"b": middle}}, middle, inner]
    sexp = jelly(value)
    error = levels(value, Limits(depth=depth(sexp) - 1))
    assert error.limit == "depth"
    assert error.path == "[1]['a']['b'][0][0]"


def test_path_where_nodes_exceed_the_limit() -> None:
    value = [0, {(1, 2): [None, None]}, Plain(due=[None] * 5)]
    nodes = count(jelly(value))
    assert levels(value, Limits(nodes=nodes - 1)).path == "[2].due[4]"
    keys = [0, {1: 2, ("a", "b", "c"): 3}]
    nodes = count(jelly(keys))
    error = levels(keys, Limits(nodes=nodes - 2))
    assert error.path.startswith("[1].keys()[1]")


def test_path_in_a_modern_form_where_nodes_exceed_the_limit() -> None:
    value = [collections.deque([None]), words(None, a=[None]), error("a", b=[None])]
    sexp = jelly(value, modern=True)
    for nodes in range(10, count(sexp)):
        with pytest.raises(LimitExceeded) as caught:
            jelly(value, modern=True, limits=Limits(nodes=nodes))
        assert caught.value.limit == "nodes"
    assert caught.value.path == "[2].__suppress_context__"
