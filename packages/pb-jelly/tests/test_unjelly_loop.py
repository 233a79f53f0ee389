from __future__ import annotations

import warnings
from typing import Any

import pytest

from pb_jelly import (
    ClassRegistry,
    DummySecurityOptions,
    InsecureJelly,
    LimitExceeded,
    Limits,
    MalformedJelly,
    SecurityOptions,
    Unjellier,
    Unjellyable,
    Unpersistable,
    jelly,
    qual,
    unjelly,
)


class Plain:
    a: Any


class Setting:
    """An object with its own __setstate__, which reads the whole state."""

    def __setstate__(self, state: Any) -> None:
        self.state = state
        self.seen = repr(state)


class Named:
    """An object whose hash depends on its state."""

    name: str
    other: Any

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.name == self.name


class Thing(Unjellyable):
    a: Any


class Partial(Unjellyable):
    """An object whose hook unjellies a part of its expression."""

    def unjellyFor(self, unjellier: Any, jellyList: list[Any]) -> Any:
        self.part = unjellier.unjelly(jellyList[1])
        return self


@pytest.fixture
def policy() -> SecurityOptions:
    policy = SecurityOptions(ClassRegistry())
    policy.allowInstancesOf(Plain, Setting, Named)
    policy.allowTypes("thing", "call", "factory", "hook")
    policy.registry.setUnjellyableForClass("thing", Thing)
    return policy


PLAIN = qual(Plain).encode()
SETTING = qual(Setting).encode()
NAMED = qual(Named).encode()


def attributes(**values: Any) -> list[Any]:
    pairs = [[[b"unicode", name.encode()], value] for name, value in values.items()]
    return [b"dictionary", *pairs]


def ref(number: int, sexp: Any) -> list[Any]:
    return [b"reference", number, sexp]


def deref(number: int) -> list[Any]:
    return [b"dereference", number]


# References.


def test_references_to_every_kind_of_value(policy: SecurityOptions) -> None:
    for sexp in (
        *([b"list"], [b"list", 1], [b"list", [b"list"]], [b"tuple", 1], [b"set", 1]),
        *([b"tuple", [b"list"]], [b"frozenset", 1], [b"dictionary"], attributes(a=1)),
        *([b"unicode", b"a"], [b"decimal", 1, 0], [PLAIN, [b"None"]], 5, b"atom"),
        *([b"thing", attributes(a=1)], [b"class", PLAIN], [b"None"]),
    ):
        one, other = unjelly([b"list", ref(7, sexp), deref(7)], policy)
        assert one is other


def test_dereference_before_the_reference() -> None:
    assert unjelly([b"list", deref(1), ref(1, [b"tuple", 5])]) == [(5,), (5,)]
    back = unjelly([b"tuple", deref(1), [b"list", deref(1)], ref(1, [b"list", 5])])
    assert back[0] is back[1][0] is back[2]
    back = unjelly([b"dictionary", [1, deref(1)], [2, ref(1, [b"tuple"])], [3, 4]])
    assert list(back.items()) == [(1, ()), (2, ()), (3, 4)]
    assert unjelly([b"set", deref(1), ref(1, 5)]) == {5}


@pytest.mark.parametrize(
    "sexp",
    [
        [b"dereference"],
        [b"dereference", b"1"],
        [b"dereference", 1.0],
        [b"dereference", -1],
        [b"dereference", 1, 2],
        [b"dereference", [b"list"]],
        [b"dereference", 1],
        [b"list", [b"dereference", 1]],
        [b"reference", 1],
        [b"reference", b"1", [b"list"]],
        [b"reference", -1, [b"list"]],
        [b"reference", 1.0, [b"list"]],
        [b"reference", 1, [b"list"], 3],
        [b"reference", 1, []],
        [b"reference", 1, [[b"list"]]],
        [b"reference", 1, [b"reference", 2, [b"list"]]],
        [b"reference", 1, [b"dereference", 1]],
        [b"list", ref(1, [b"list"]), ref(1, [b"list"])],
        [b"list", ref(1, 5), ref(1, 5)],
        ref(1, [b"tuple", ref(1, [b"list"])]),
        ref(1, [b"tuple", deref(1)]),
        ref(1, [b"frozenset", deref(1)]),
        ref(1, [b"tuple", [b"frozenset", deref(1)]]),
        [b"list", ref(1, [b"tuple", deref(2)]), ref(2, [b"tuple", deref(1)])],
        [b"dictionary", [ref(1, [b"tuple", deref(1)]), 1]],
    ],
)
def test_malformed_references(sexp: Any) -> None:
    with pytest.raises(MalformedJelly):
        unjelly(sexp)


# Containers.


@pytest.mark.parametrize(
    "sexp",
    [
        [],
        [[]],
        [[b"list"]],
        [5],
        [None],
        [1.5, b"list"],
        [b"list", []],
        [b"dictionary", 5],
        [b"dictionary", b"ab"],
        [b"dictionary", [1]],
        [b"dictionary", [1, 2, 3]],
        [b"dictionary", [[b"list"], 1]],
        [b"dictionary", [[b"tuple", [b"list"]], 1]],
        [b"set", [b"list"]],
        [b"set", [b"tuple", [b"tuple", [b"dictionary"]]]],
        [b"frozenset", [b"set"]],
        [b"long"],
        [b"@deque", [b"None"]],
    ],
)
def test_malformed_containers(sexp: Any) -> None:
    with pytest.raises(MalformedJelly):
        unjelly(sexp)


def test_expressions_with_words_of_type_str() -> None:
    sexp = [
        "list",
        ["unicode", "a"],
        ["reference", 1, ["tuple", 5]],
        ["dereference", 1],
    ]
    assert unjelly(sexp) == ["a", (5,), (5,)]
    with pytest.raises(InsecureJelly):
        unjelly(["os.system"])


def test_subclass_of_list_as_expression() -> None:
    class Jellied(list[Any]):
        pass

    assert unjelly(Jellied([b"list", 1])) == [1]


# Cycles through what cannot be blank.


def test_cycles_through_tuples() -> None:
    back = unjelly(ref(1, [b"tuple", [b"list", 1, deref(1), 2], [b"list", deref(1)]]))
    assert back[0][0::2] == [1, 2]
    assert back[0][1] is back
    assert back[1][0] is back
    back = unjelly(ref(1, [b"tuple", [b"dictionary", [1, 2], [3, deref(1)], [4, 5]]]))
    assert list(back[0]) == [1, 3, 4]
    assert back[0][3] is back
    back = unjelly(ref(1, [b"tuple", [b"list", [b"tuple", [b"tuple", deref(1)]]]]))
    assert back[0][0][0][0] is back


def test_key_that_holds_its_dict() -> None:
    with pytest.raises(MalformedJelly, match="<dict> as a key"):
        unjelly(ref(1, [b"tuple", [b"dictionary", [1, 2], [deref(1), 3], [4, 5]]]))


def test_order_of_keys_with_forward_references() -> None:
    sexp = [b"list", [b"dictionary", [1, 2], [deref(1), 3], [4, 5]], ref(1, [b"tuple"])]
    back = unjelly(sexp)
    assert list(back[0].items()) == [(1, 2), ((), 3), (4, 5)]
    sexp = [b"list", [b"set", deref(1), 2], ref(1, [b"tuple", 7])]
    assert unjelly(sexp) == [{(7,), 2}, (7,)]
    sexp = [b"list", [b"frozenset", deref(1), 2], ref(1, [b"tuple", 7])]
    assert unjelly(sexp) == [frozenset({(7,), 2}), (7,)]


def test_instances_in_cycles_through_tuples(policy: SecurityOptions) -> None:
    back = unjelly(ref(1, [b"tuple", [PLAIN, attributes(a=deref(1), b=2)]]), policy)
    assert back[0].a is back
    assert back[0].b == 2
    back = unjelly(ref(1, [b"tuple", [b"thing", attributes(a=deref(1))]]), policy)
    assert back[0].a is back


def test_state_is_whole_before_setstate(policy: SecurityOptions) -> None:
    state = [b"dictionary", [1, [b"list", [b"tuple", deref(1), 5]]]]
    back = unjelly(ref(1, [b"tuple", [SETTING, state]]), policy)
    assert back[0].state[1][0][0] is back
    assert back[0].seen == "{1: [((<" + back[0].seen.partition("(<")[2]
    # States within states are set from within.
    inner = [SETTING, [b"list", deref(1)]]
    back = unjelly(ref(1, [b"tuple", [SETTING, [b"list", inner]]]), policy)
    assert back[0].state[0].state[0] is back
    # The state as a whole may be what is waited for.
    back = unjelly([b"list", [SETTING, deref(1)], ref(1, [b"tuple", 5])], policy)
    assert back[0].state == (5,)


def test_sets_and_dicts_wait_for_whole_keys(policy: SecurityOptions) -> None:
    # In its own set, as a key of its own dict, and in a tuple in either.
    for holder in (
        [b"set", deref(1)],
        [b"dictionary", [deref(1), 5]],
        [b"set", [b"tuple", 1, [b"tuple", deref(1)]]],
    ):
        sexp = ref(1, [NAMED, attributes(other=holder, name=[b"unicode", b"n"])])
        back = unjelly(sexp, policy)
        (member,) = back.other
        assert hash(member)
        assert member in back.other
        assert member is back or member[1][0] is back


def test_frozensets_wait_for_whole_members(policy: SecurityOptions) -> None:
    # Of something that is whole before the set must be there.
    inner = ref(2, [NAMED, attributes(other=deref(1), name=[b"unicode", b"n"])])
    sexp = ref(1, [b"tuple", inner, [b"list", [b"frozenset", deref(2)]]])
    back = unjelly(sexp, policy)
    assert back[0].other is back
    assert back[1] == [{back[0]}]
    # But not of something that has the set in its state.
    sexp = ref(
        1,
        [NAMED, attributes(other=[b"frozenset", deref(1)], name=[b"unicode", b"n"])],
    )
    with pytest.raises(MalformedJelly, match="cycle"):
        unjelly(sexp, policy)
    # What is told by its identity can be in it all the same.
    sexp = ref(1, [PLAIN, attributes(a=[b"frozenset", deref(1)])])
    back = unjelly(sexp, policy)
    assert back.a == {back}


def test_set_members_with_late_state(policy: SecurityOptions) -> None:
    name = [b"unicode", b"n"]
    member = [NAMED, attributes(other=deref(1), name=name)]
    for kind, made in ((b"set", set), (b"frozenset", frozenset)):
        sexp = ref(1, [b"tuple", [b"list", [kind, member, 5]]])
        back = unjelly(sexp, policy)
        assert type(back[0][0]) is made
        (named,) = back[0][0] - {5}
        assert named.other is back
    sexp = ref(1, [b"tuple", [b"dictionary", [member, 1], [2, 3]]])
    (table,) = unjelly(sexp, policy)
    assert list(table.values()) == [1, 3]
    assert next(iter(table)).other[0] is table


@pytest.mark.parametrize(
    ("state", "kind"),
    [([b"None"], AttributeError), (attributes(name=[b"list"]), TypeError)],
)
@pytest.mark.parametrize(
    "holder",
    [
        lambda key: [b"set", key],
        lambda key: [b"frozenset", key],
        lambda key: [b"dictionary", [key, 1]],
        lambda key: [b"dictionary", [[b"tuple", key], 1]],
        lambda key: [b"set", [b"frozenset", key]],
        lambda key: [b"dictionary", [key, [b"dereference", 9]]],
    ],
)
def test_error_of_a_hash_method(
    policy: SecurityOptions, holder: Any, state: Any, kind: type[Exception]
) -> None:
    sexp = [b"list", 5, holder([NAMED, state]), [b"reference", 9, [b"list"]]]
    with pytest.raises(MalformedJelly, match=f"be hashed: '{kind.__name__}'") as caught:
        unjelly(sexp, policy)
    assert isinstance(caught.value.__cause__, kind)
    # A dict that waits for a value is filled when that is there.
    assert caught.value.path[:3] in ("[1]", "[2]")


def test_error_of_a_comparison(policy: SecurityOptions) -> None:
    class Incomparable(Named):
        def __eq__(self, other: object) -> bool:
            raise ValueError("never equal, never different")

        __hash__ = Named.__hash__

    policy.allowInstancesOf(Incomparable)
    key = [qual(Incomparable).encode(), attributes(name=1)]
    for sexp in ([b"set", key, key], [b"dictionary", [key, 1], [key, 2]]):
        with pytest.raises(MalformedJelly, match="be hashed: 'ValueError'"):
            unjelly(sexp, policy)


def test_memory_error_of_a_hash_method(policy: SecurityOptions) -> None:
    class Large(Named):
        def __hash__(self) -> int:
            raise MemoryError

    policy.allowInstancesOf(Large)
    with pytest.raises(MemoryError):
        unjelly([b"set", [qual(Large).encode(), [b"None"]]], policy)


@pytest.mark.parametrize("number", [2.0, [b"decimal", 2, 0]])
def test_dereference_number_must_be_an_integer(number: Any) -> None:
    with pytest.raises(MalformedJelly, match="a dereference takes a number"):
        unjelly([b"list", [b"reference", 2, [b"list"]], [b"dereference", number]])


@pytest.mark.parametrize(
    "outer",
    [
        lambda part: [b"list", part],
        lambda part: [b"tuple", part],
        lambda part: [b"set", part],
        lambda part: [b"dictionary", [1, part]],
        lambda part: [PLAIN, attributes(a=part)],
        lambda part: [SETTING, attributes(a=part)],
        lambda part: [b"thing", attributes(a=part)],
        lambda part: [b"hook", part],
        lambda part: [b"factory", attributes(a=part)],
    ],
)
@pytest.mark.parametrize(
    "inner",
    [
        5,
        [b"list"],
        [PLAIN, attributes(a=1)],
        [b"thing", attributes(a=1)],
        [b"call", 3],
        [b"factory", attributes(a=1)],
        [b"hook", 5],
    ],
)
def test_duplicate_reference_number(
    policy: SecurityOptions, outer: Any, inner: Any
) -> None:
    policy.registry.setUnjellyableForClass("call", lambda unjellier, sexp: Plain())
    policy.registry.setUnjellyableFactoryForClass("factory", lambda state: Plain())
    policy.registry.setUnjellyableForClass("hook", Partial)
    sexp = [b"reference", 2, outer([b"reference", 2, inner])]
    for whole in (sexp, [b"reference", 1, [b"list", sexp]]):
        with pytest.raises(MalformedJelly, match="the reference 2 is defined twice"):
            unjelly(whole, policy)


@pytest.mark.parametrize("error", [TypeError, RuntimeError, KeyError])
def test_factory_for_a_class_without_blank_instances(error: type[Exception]) -> None:
    class Busy:
        def __new__(cls) -> Busy:
            raise error

    policy = SecurityOptions(ClassRegistry())
    policy.allowInstancesOf(Busy)
    with pytest.raises(MalformedJelly, match="blank instances of 'Busy'") as caught:
        unjelly([b"list", [qual(Busy).encode(), [b"None"]]], policy)
    assert isinstance(caught.value.__cause__, error)
    assert caught.value.path == "[0]"


# Instances.


def test_setstate_is_not_called_without_a_state(policy: SecurityOptions) -> None:
    assert not hasattr(unjelly([SETTING, [b"None"]], policy), "state")


@pytest.mark.parametrize(
    "sexp",
    [
        [PLAIN],
        [PLAIN, [b"None"], 1],
        [PLAIN, 5],
        [PLAIN, [b"list"]],
        [PLAIN, [b"dictionary", [5, 5]]],
        [b"thing"],
        [b"thing", [b"list"]],
        [b"thing", [b"dictionary"], 1],
        [b"factory"],
        [b"factory", 1, 2],
        [b"hook"],
    ],
)
def test_malformed_instances(policy: SecurityOptions, sexp: Any) -> None:
    policy.registry.setUnjellyableFactoryForClass("factory", dict)
    with pytest.raises(MalformedJelly):
        unjelly(sexp, policy)


def test_refusal_of_classes_without_blank_instances(policy: SecurityOptions) -> None:
    class Needy:
        def __new__(cls, needed: Any) -> Any:
            return object.__new__(cls)

    policy.allowInstancesOf(Needy)
    with pytest.raises(MalformedJelly, match="Needy"):
        unjelly([qual(Needy).encode(), [b"None"]], policy)


def test_instances_in_the_form_before_2015(policy: SecurityOptions) -> None:
    named = [b"class", PLAIN]
    with pytest.warns(DeprecationWarning, match="instance atom") as caught:
        back = unjelly([b"instance", named, attributes(a=1)], policy)
    assert type(back) is Plain
    assert back.a == 1
    assert len(caught) == 1
    with pytest.warns(DeprecationWarning, match="instance atom") as caught:
        back = unjelly(
            [
                *(b"list", [b"instance", ref(1, named), attributes(a=1)]),
                *([b"instance", deref(1), attributes(a=2)],),
                ref(2, ["instance", ["class", PLAIN.decode()], attributes(a=deref(2))]),
            ],
            policy,
        )
    # However many there are.
    assert len(caught) == 1
    assert [back[0].a, back[1].a] == [1, 2]
    assert back[2].a is back[2]


@pytest.mark.parametrize(
    "sexp",
    [
        [b"instance"],
        [b"instance", [b"class", PLAIN]],
        [b"instance", PLAIN, [b"None"]],
        [b"instance", [], [b"None"]],
        [b"instance", [b"list"], [b"None"]],
        [b"instance", ref(1, [b"list"]), [b"None"]],
        [b"instance", ref(1, 5), [b"None"]],
        [b"list", ref(1, [b"list"]), [b"instance", deref(1), [b"None"]]],
        [b"instance", [b"instance", [b"class", PLAIN], [b"None"]], [b"None"]],
    ],
)
def test_malformed_instances_in_the_form_before_2015(
    policy: SecurityOptions, sexp: Any
) -> None:
    with (
        pytest.warns(DeprecationWarning, match="instance atom"),
        pytest.raises(MalformedJelly),
    ):
        unjelly(sexp, policy)


def test_persistent_and_unpersistable() -> None:
    assert isinstance(unjelly([b"persistent", 5]), Unpersistable)
    back = unjelly([b"unpersistable", b"why\xff"])
    assert isinstance(back, Unpersistable)
    assert back.reason == "Unpersistable data: why\ufffd"
    back = unjelly([b"unpersistable", b"x" * 100_000])
    assert len(back.reason) < 500
    assert unjelly([b"unpersistable", 5]).reason == "Unpersistable data: 5"
    for sexp in ([b"persistent"], [b"unpersistable"], [b"unpersistable", b"a", b"b"]):
        with pytest.raises(MalformedJelly):
            unjelly(sexp)


# Registered classes.


class Hook:
    """A class whose hook is given by the test."""

    behaviour: Any = None
    state: Any

    def unjellyFor(self, unjellier: Unjellier, sexp: Any) -> Any:
        return type(self).behaviour(self, unjellier, sexp)


@pytest.fixture
def hook(policy: SecurityOptions, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the behaviour of the hook."""
    policy.registry.setUnjellyableForClass("hook", Hook)
    return lambda behaviour: monkeypatch.setattr(Hook, "behaviour", behaviour)


def test_object_made_by_a_hook(policy: SecurityOptions, hook: Any) -> None:
    def behave(self: Any, unjellier: Unjellier, sexp: Any) -> Any:
        assert sexp == [b"hook", [b"list", 1]]
        self.state = unjellier.unjelly(sexp[1])
        assert unjellier.unjelly(5) == 5
        return self

    hook(behave)
    back = unjelly([b"hook", [b"list", 1]], policy)
    assert type(back) is Hook
    assert back.state == [1]


def plainly(self: Any, unjellier: Unjellier, sexp: Any) -> Any:
    """Behave as hooks that know of no cycles."""
    self.__dict__ = unjellier.unjelly(sexp[1])
    return self


def patiently(self: Any, unjellier: Unjellier, sexp: Any) -> Any:
    """Behave as hooks should."""
    unjellier.unjelly_state(sexp[1], lambda state: vars(self).update(state))
    return self


@pytest.mark.parametrize("behave", [plainly, patiently])
def test_hook_in_a_cycle(policy: SecurityOptions, hook: Any, behave: Any) -> None:
    hook(behave)
    back = unjelly(ref(1, [b"hook", attributes(a=deref(1))]), policy)
    assert back.a is back
    # And through a tuple, where it is known only afterwards.
    back = unjelly(ref(1, [b"tuple", [b"hook", attributes(b=2, a=deref(1))]]), policy)
    assert back[0].a is back
    assert back[0].b == 2


def test_changes_of_a_hook_to_an_unfinished_state_are_kept(
    policy: SecurityOptions, hook: Any
) -> None:
    def behave(self: Any, unjellier: Unjellier, sexp: Any) -> Any:
        self.__dict__ = unjellier.unjelly(sexp[1])
        assert vars(self) == {"changed": 1, "deleted": 2}
        self.changed = 3
        del self.deleted
        self.added = 4
        return self

    hook(behave)
    state = attributes(changed=1, deleted=2, a=deref(1), b=deref(1))
    (back,) = unjelly(ref(1, [b"tuple", [b"hook", state]]), policy)
    assert list(vars(back)) == ["changed", "a", "b", "added"]
    assert (back.changed, back.added) == (3, 4)


def test_hook_that_asks_for_an_unfinished_part(
    policy: SecurityOptions, hook: Any
) -> None:
    hook(lambda self, unjellier, sexp: unjellier.unjelly(sexp[1]))
    with pytest.raises(MalformedJelly, match="known only when"):
        unjelly(ref(1, [b"tuple", [b"hook", [b"tuple", deref(1)]]]), policy)


def test_unjelly_into_a_container(policy: SecurityOptions, hook: Any) -> None:
    returned = []

    def behave(self: Any, unjellier: Unjellier, sexp: Any) -> Any:
        self.items = {}
        returned.append(unjellier.unjellyInto(self.items, "a", sexp[1]))
        return self

    hook(behave)
    assert unjelly([b"hook", [b"list", 1]], policy).items == {"a": [1]}
    back = unjelly(ref(1, [b"tuple", [b"hook", [b"tuple", deref(1)]]]), policy)
    assert back[0].items["a"][0] is back
    assert returned == [[1], None]
    items: list[Any] = [None]
    assert Unjellier(policy).unjellyInto(items, 0, [b"tuple"]) == ()
    assert items == [()]


class Other:
    a: Any


def test_hook_that_returns_another_object(policy: SecurityOptions, hook: Any) -> None:
    def unannounced(self: Any, unjellier: Unjellier, sexp: Any) -> Any:
        made = Other()
        unjellier.unjelly_state(sexp[1], lambda state: vars(made).update(state))
        return made

    def announced(self: Any, unjellier: Unjellier, sexp: Any) -> Any:
        made = Other()
        unjellier.announce(made)
        unjellier.unjelly_state(sexp[1], lambda state: vars(made).update(state))
        return made

    def late(self: Any, unjellier: Unjellier, sexp: Any) -> Any:
        unjellier.unjelly(sexp[1])
        unjellier.announce(Other())

    cycle = ref(1, [b"hook", attributes(a=deref(1))])
    plain = [b"list", ref(1, [b"hook", attributes(a=5)]), deref(1)]
    hook(unannounced)
    one, other = unjelly(plain, policy)
    assert one is other
    assert one.a == 5
    with pytest.raises(MalformedJelly, match="another object"):
        unjelly(cycle, policy)
    # Somebody may have referred to it before it came.
    with pytest.raises(MalformedJelly, match="another object"):
        unjelly([b"list", deref(1), ref(1, [b"hook", attributes()])], policy)
    hook(announced)
    one, other = unjelly(plain, policy)
    assert one is other
    back = unjelly(cycle, policy)
    assert type(back) is Other
    assert back.a is back
    assert type(unjelly([b"hook", attributes()], policy)) is Other
    hook(late)
    with pytest.raises(MalformedJelly, match="another object"):
        unjelly(cycle, policy)


def test_registered_callables(policy: SecurityOptions) -> None:
    def call(unjellier: Unjellier, sexp: Any) -> Any:
        made = Other()
        if len(sexp) == 3:
            unjellier.announce(made)
        unjellier.unjelly_state(sexp[1], lambda state: vars(made).update(state))
        return made

    policy.registry.setUnjellyableForClass("call", call)
    one, other = unjelly([b"list", ref(1, [b"call", attributes()]), deref(1)], policy)
    assert one is other
    for sexp in (
        [b"call", attributes(a=deref(1))],
        [b"call", attributes(a=deref(1)), 1],
    ):
        back = unjelly(ref(1, sexp), policy)
        assert back.a is back


def test_registered_class_without_a_hook_is_called(policy: SecurityOptions) -> None:
    class Made:
        def __init__(self, unjellier: Unjellier, sexp: Any) -> None:
            self.sexp = sexp

    policy.registry.setUnjellyableForClass("call", Made)
    assert unjelly([b"call", 1, 2], policy).sexp == [b"call", 1, 2]


def test_registered_factories(policy: SecurityOptions) -> None:
    policy.registry.setUnjellyableFactoryForClass("factory", lambda state: (state,))
    one, other = unjelly([b"list", ref(1, [b"factory", [b"list"]]), deref(1)], policy)
    assert one is other
    assert one == ([],)
    back = unjelly(ref(1, [b"tuple", [b"list", [b"factory", deref(1)]]]), policy)
    assert back[0][0][0] is back
    with pytest.raises(MalformedJelly, match="cycle"):
        unjelly(ref(1, [b"factory", [b"list", deref(1)]]), policy)


def test_names_accepted_without_the_policy(policy: SecurityOptions) -> None:
    def given(unjellier: Unjellier, sexp: Any) -> Any:
        return "given", *sexp

    def unjellier(**types: Any) -> Unjellier:
        names = {name.encode(): made for name, made in types.items()}
        return Unjellier(policy, types=names)

    assert unjellier(remote=given).unjelly([b"remote", 1]) == ("given", b"remote", 1)
    twice = unjellier(remote=given).unjelly([b"list", [b"remote"], [b"remote"]])
    assert twice == [("given", b"remote")] * 2
    # Before what is registered.
    assert unjellier(thing=given).unjelly([b"thing"]) == ("given", b"thing")
    with pytest.raises(InsecureJelly):
        unjellier().unjelly([b"remote", 1])


def test_words_of_jelly_take_precedence_over_accepted_names() -> None:
    class Asking(SecurityOptions):
        def isTypeAllowed(self, typeName: str | bytes) -> bool:
            return True

    types = {b"list": lambda unjellier, sexp: "mine"}
    assert Unjellier(SecurityOptions(), types=types).unjelly([b"list"]) == "mine"
    assert Unjellier(Asking(), types=types).unjelly([b"list"]) == "mine"


def test_attributes_of_the_unjellier_for_hooks(policy: SecurityOptions) -> None:
    def load(key: Any, unjellier: Unjellier) -> Any:
        return None

    unjellier = Unjellier(policy, load, "invoker", context="context")
    assert unjellier.taster is policy
    assert unjellier.persistentLoad is load
    assert (unjellier.invoker, unjellier.context) == ("invoker", "context")


def test_persistent_load_that_unjellies(policy: SecurityOptions) -> None:
    def load(key: Any, unjellier: Unjellier) -> Any:
        return unjellier.unjelly(key)

    back = unjelly([b"persistent", [b"list", 1]], policy, load)
    assert back == [1]


# When all is done.


def test_post_unjelly_is_called_at_the_end(policy: SecurityOptions) -> None:
    told = []

    class Told:
        def postUnjelly(self) -> None:
            told.append(vars(self).copy())

    class ToldThing(Unjellyable):
        postUnjelly = Told.postUnjelly

    policy.allowInstancesOf(Told)
    policy.registry.setUnjellyableForClass("thing", ToldThing)
    policy.registry.setUnjellyableForClass("call", lambda unjellier, sexp: Told())
    policy.registry.setUnjellyableFactoryForClass("factory", lambda state: Told())
    name = qual(Told).encode()
    sexp = [
        *(b"tuple", [name, attributes(a=1)], [b"thing", attributes(a=2)]),
        *([b"call"], [b"factory", 5], [name, attributes(a=deref(1))]),
    ]
    back = unjelly(ref(1, sexp), policy)
    assert told == [{"a": 1}, {"a": 2}, {}, {"a": back}, {}] or len(told) == 5
    # Not so by something that a peer has put into the state.
    sexp = [PLAIN, attributes(postUnjelly=5)]
    assert unjelly(sexp, policy).postUnjelly == 5
    told.clear()
    unjellier = Unjellier(policy)
    unjellier.unjelly([name, attributes(a=1)])
    assert told == []
    unjellier.unjellyFull(5)
    assert told == [{"a": 1}]
    unjellier.unjellyFull(5)
    assert told == [{"a": 1}]


def test_references_are_shared_by_all_expressions_of_an_unjellier() -> None:
    unjellier = Unjellier(SecurityOptions())
    policy = SecurityOptions()
    policy.allowBasicTypes()
    unjellier = Unjellier(policy)
    first = unjellier.unjelly(ref(1, [b"list"]))
    assert unjellier.unjelly([b"tuple", deref(1)])[0] is first


# Depth.


def nested(depth: int) -> Any:
    sexp: Any = [b"list"]
    for _ in range(depth - 1):
        sexp = [b"list", sexp]
    return sexp


@pytest.mark.parametrize(
    ("sexp", "depth"),
    [
        (nested(5), 5),
        ([b"unicode", b"a"], 1),
        ([b"list", [b"unicode", b"a"]], 2),
        ([b"dictionary"], 1),
        ([b"dictionary", [1, 2]], 2),
        ([b"dictionary", [1, [b"None"]]], 3),
        ([b"tuple", [b"dictionary", [1, [b"list"]]]], 4),
        (ref(1, [b"list", 1]), 2),
        (ref(1, [b"list", [b"list"]]), 3),
        ([PLAIN, [b"None"]], 2),
        ([PLAIN, attributes(a=1)], 4),
        ([b"thing", attributes(a=1)], 4),
        ([b"hook", [b"list", 1]], 2),
        ([b"hook", [b"hook", [b"list", [b"None"]]]], 4),
    ],
)
def test_depth_limit(policy: SecurityOptions, hook: Any, sexp: Any, depth: int) -> None:
    def behave(self: Any, unjellier: Unjellier, sexp: Any) -> Any:
        self.state = unjellier.unjelly(sexp[1])
        return self

    hook(behave)
    unjelly(sexp, policy, limits=Limits(depth=depth))
    if depth > 1:
        with pytest.raises(LimitExceeded) as caught:
            unjelly(sexp, policy, limits=Limits(depth=depth - 1))
        assert caught.value.limit == "depth"
        assert (caught.value.used, caught.value.allowed) == (depth, depth - 1)


def test_nested_hooks_without_a_depth_limit(policy: SecurityOptions, hook: Any) -> None:
    hook(plainly)
    sexp: Any = [b"dictionary"]
    for _ in range(50_000):
        sexp = [b"dictionary", [[b"unicode", b"a"], [b"hook", sexp]]]
    with pytest.raises(LimitExceeded) as caught:
        unjelly(sexp, policy)
    assert caught.value.limit == "depth"
    assert isinstance(caught.value.__cause__, RecursionError)


def test_recursion_error_of_a_single_hook(policy: SecurityOptions, hook: Any) -> None:
    def forever(*args: Any) -> Any:
        return forever(*args)

    hook(forever)
    with pytest.raises(RecursionError):
        unjelly([b"hook"], policy)


def test_depth_of_hashed_values() -> None:
    everything = DummySecurityOptions()
    sexp: Any = [b"tuple"]
    for _ in range(500):
        sexp = [b"tuple", sexp]
    assert len(unjelly([b"set", sexp], everything)) == 1


def test_warning_for_old_instances_alone(policy: SecurityOptions) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unjelly([PLAIN, attributes(a=1)], policy)


def test_memory_error_of_a_blank_instance() -> None:
    class Large:
        is_small = True

        def __new__(cls) -> Large:
            if cls.is_small:
                return object.__new__(cls)
            raise MemoryError

    policy = SecurityOptions(ClassRegistry())
    policy.allowInstancesOf(Large)
    assert isinstance(unjelly(jelly(Large(), policy), policy), Large)
    Large.is_small = False
    with pytest.raises(MemoryError):
        unjelly([qual(Large).encode(), [b"None"]], policy)
