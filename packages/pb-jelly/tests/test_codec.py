"""The API for codecs that go between objects and bytes in one step."""

from __future__ import annotations

import copy
import datetime
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest

from pb_jelly import (
    ClassRegistry,
    DummySecurityOptions,
    Jellier,
    Jellyable,
    SecurityOptions,
    Unjellyable,
    codec,
    jelly,
    unjelly,
)
from pb_jelly.codec import LEAVES, CurrentTables, PolicyTable, current_tables


class Spot(Jellyable, Unjellyable):
    pass


class Asking(SecurityOptions):
    """A policy with a method of its own."""

    def isTypeAllowed(self, typeName: str | bytes) -> bool:
        return True


def basic(registry: ClassRegistry | None = None) -> SecurityOptions:
    policy = SecurityOptions(registry)
    policy.allowBasicTypes()
    return policy


def test_all_names_of_the_api() -> None:
    assert len(set(codec.__all__)) == len(codec.__all__)
    assert all(hasattr(codec, name) for name in codec.__all__)


@pytest.mark.parametrize("modern", [False, True])
def test_operation_numbers_equal_those_of_the_type_table(modern: bool) -> None:
    policy = basic()
    table = CurrentTables(policy, modern=modern).reading
    values: dict[int, Any] = {
        codec.TEXT: "a",
        codec.NONE: None,
        codec.BOOL: True,
        codec.LIST: [],
        codec.TUPLE: (),
        codec.DICT: {},
        codec.SET: set(),
        codec.FROZENSET: frozenset(),
    }
    if modern:
        values |= {codec.ORDERED: OrderedDict(), codec.BYTEARRAY: bytearray()}
    for op, value in values.items():
        sexp: Any = jelly(value, policy, modern=modern)
        assert table.heads[sexp[0]] == table.types[type(value)] == op
    assert table.heads[b"reference"] == codec.REFERENCE
    assert table.heads[b"dereference"] == codec.DEREFERENCE


def test_both_directions_of_every_leaf() -> None:
    day = datetime.date(2026, 1, 2)
    leaf = LEAVES[CurrentTables(basic()).sending.types[datetime.date]]
    assert leaf.dump is not None
    assert leaf.load is not None
    assert leaf.dump(day, 100) == jelly(day) == [b"date", b"2026 1 2"]
    assert leaf.load([b"date", b"2026 1 2"]) == day


def replace_types(policy: SecurityOptions) -> None:
    policy.allowedTypes = {b"list": 1}


def replace_registry(policy: SecurityOptions) -> None:
    policy.registry = ClassRegistry()


EDITS: list[Callable[[SecurityOptions], Any]] = [
    lambda policy: policy.allowTypes("more"),
    lambda policy: policy.allowedTypes.pop(b"tuple"),
    lambda policy: policy.allowedTypes.clear(),
    lambda policy: policy.registry.setUnjellyableForClass("thing", Spot),
    lambda policy: policy.registry.setUnjellyableFactoryForClass("thing", dict),
    replace_types,
    replace_registry,
]


class TestKeptTables:
    @pytest.mark.parametrize("modern", [False, True])
    @pytest.mark.parametrize("lenient", [False, True])
    def test_same_tables_for_all_users_of_a_policy(
        self, modern: bool, lenient: bool
    ) -> None:
        policy = basic()
        tables = current_tables(policy, modern=modern, lenient=lenient)
        fresh = CurrentTables(policy, modern=modern, lenient=lenient)
        assert tables.taster is policy
        assert tables.reading.heads == fresh.reading.heads
        assert tables.sending.types == fresh.sending.types
        assert current_tables(policy, modern=modern, lenient=lenient) is tables
        others = [
            current_tables(policy, modern=not modern, lenient=lenient),
            current_tables(policy, modern=modern, lenient=not lenient),
            current_tables(basic(), modern=modern, lenient=lenient),
        ]
        assert tables not in others

    def test_edit_takes_effect(self) -> None:
        policy = SecurityOptions()
        tables = current_tables(policy)
        assert b"list" not in tables.current().reading.heads
        policy.allowBasicTypes()
        assert b"list" in current_tables(policy).current().reading.heads

    def test_replaced_method_takes_effect(self) -> None:
        policy: Any = basic()
        assert not current_tables(policy).reading.asks
        policy.isTypeAllowed = lambda name: False
        assert current_tables(policy).current().reading.asks

    @pytest.mark.parametrize("policy", [Asking(), DummySecurityOptions()])
    def test_new_tables_for_a_programs_own_policy(self, policy: Any) -> None:
        tables = current_tables(policy)
        assert tables.taster is policy
        assert tables.reading.asks is CurrentTables(policy).reading.asks
        assert current_tables(policy) is not tables

    @pytest.mark.parametrize(
        "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
    )
    def test_separate_tables_for_a_copy_of_a_policy(self, copied: Any) -> None:
        policy = SecurityOptions(ClassRegistry())
        tables = current_tables(policy)
        twin: Any = copied(policy)
        assert current_tables(twin) is not tables
        assert current_tables(policy) is tables
        twin.allowedTypes = {**twin.allowedTypes, b"list": 1}
        assert b"list" not in tables.current().reading.heads
        assert twin.isTypeAllowed("list")


class TestCurrentTables:
    @pytest.mark.parametrize("edit", EDITS)
    def test_every_edit_takes_effect_at_once(self, edit: Any) -> None:
        policy = basic(ClassRegistry())
        tables = CurrentTables(policy)
        reading, sending = tables.reading, tables.sending
        for _ in range(2):
            assert tables.current() is tables
            assert tables.reading is reading
            assert tables.sending is sending
        edit(policy)
        # Until it is asked for, they are kept: a message is read by one of them.
        assert tables.reading is reading
        assert tables.current() is tables
        assert tables.reading is not reading
        assert tables.sending is not sending

    def test_edit_of_another_policy_has_no_effect(self) -> None:
        policy = basic(ClassRegistry())
        tables = CurrentTables(policy)
        reading = tables.reading
        basic().allowTypes("more")
        assert tables.current().reading is reading
        assert tables.taster is policy

    def test_lenient_sending_ignores_allowed_types(self) -> None:
        policy = SecurityOptions()
        strict = CurrentTables(policy)
        lenient = CurrentTables(policy, lenient=True)
        assert list not in strict.sending.types
        assert list in lenient.sending.types
        assert lenient.reading is strict.reading
        assert b"list" not in strict.reading.heads
        # Unless it answers for itself.
        assert CurrentTables(Asking(), lenient=True).sending.asks

    def test_separate_tables_for_each_form(self) -> None:
        policy = basic()
        modern = CurrentTables(policy, modern=True)
        assert complex in modern.sending.types
        assert complex not in CurrentTables(policy).sending.types


class TestOrdinary:
    def test_usual_policies_are_ordinary(self) -> None:
        for policy in (SecurityOptions(), basic(), DummySecurityOptions()):
            for modern in (False, True):
                tables = CurrentTables(policy, modern=modern)
                assert tables.reading.is_ordinary
                assert tables.sending.is_ordinary

    @pytest.mark.parametrize("word", [b"unicode", b"None", b"boolean"])
    def test_policy_without_a_usual_scalar_is_not_ordinary(self, word: bytes) -> None:
        policy = basic()
        del policy.allowedTypes[word]
        assert not CurrentTables(policy).reading.is_ordinary

    @pytest.mark.parametrize("word", [b"unicode", b"None", b"boolean"])
    def test_policy_with_a_class_registered_as_a_scalar_is_not_ordinary(
        self, word: bytes
    ) -> None:
        one, other = ClassRegistry(), ClassRegistry()
        one.setUnjellyableForClass(word, Spot)
        other.setUnjellyableFactoryForClass(word, dict)
        for registry in (one, other):
            assert not CurrentTables(basic(registry)).reading.is_ordinary

    def test_policy_with_its_own_method_is_not_ordinary(self) -> None:
        table = CurrentTables(Asking()).reading
        assert table.asks
        assert not table.is_ordinary


def thing_in(registry: ClassRegistry) -> tuple[PolicyTable, Any]:
    """Return the table, and its entry for a known name."""
    policy = basic(registry)
    policy.allowTypes("thing")
    table = CurrentTables(policy).reading
    assert b"thing" not in table.targets
    assert b"thing" not in table.heads
    value = unjelly([b"thing", [b"dictionary", [[b"unicode", b"a"], 1]]], policy)
    return table, value


class TestTargets:
    def test_target_is_known_after_its_first_message(self) -> None:
        registry = ClassRegistry()
        registry.setUnjellyableForClass("thing", Spot)
        table, value = thing_in(registry)
        assert type(value) is Spot
        assert table.heads[b"thing"] == codec.OBJECT
        assert table.targets[b"thing"].make is Spot
        assert table.targets[b"thing"].is_plain

    def test_targets_that_are_not_plain(self) -> None:
        class Hooked(Unjellyable):
            def unjellyFor(self, unjellier: Any, jellyList: Any) -> Any:
                return self

        class Setting(Unjellyable):
            def setStateFor(self, unjellier: Any, state: Any) -> None:
                pass

        class Told(Unjellyable):
            def postUnjelly(self) -> None:
                pass

        class Made(Unjellyable):
            def __new__(cls) -> Made:
                return super().__new__(cls)

        class Wrong(Unjellyable, Exception):
            pass

        for made in (Hooked, Setting, Told, Made, Wrong, lambda *args: 5):
            registry = ClassRegistry()
            registry.setUnjellyableForClass("thing", made)
            table, _ = thing_in(registry)
            assert not table.targets[b"thing"].is_plain
        registry = ClassRegistry()
        registry.setUnjellyableFactoryForClass("thing", dict)
        table, value = thing_in(registry)
        assert value == {"a": 1}
        assert not table.targets[b"thing"].is_plain


def test_handler_of_a_class_from_the_jellier() -> None:
    kind = Jellier(basic()).kind_of(Spot)
    assert kind.op == codec.PLAIN
    assert kind.tag.endswith(b".Spot")
