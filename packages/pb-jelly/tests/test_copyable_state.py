from __future__ import annotations

import abc
import functools
from dataclasses import InitVar, dataclass, field, make_dataclass
from enum import Enum, Flag, IntEnum
from types import SimpleNamespace
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_jelly import (
    ClassRegistry,
    InsecureJelly,
    LimitExceeded,
    Limits,
    MalformedJelly,
    SecurityOptions,
    UnjellyableType,
    copyable,
    jelly,
    unjelly,
)

from .support import scalars

POLICY = SecurityOptions(ClassRegistry())
POLICY.allowBasicTypes()

T = TypeVar("T")


def state(**entries: Any) -> Any:
    """Return the jelly of a state."""
    return jelly(entries)


def trip(value: Any, policy: Any = POLICY) -> Any:
    return unjelly(jelly(value, policy), policy)


def quick(cls: Any) -> bool:
    """Return True if instances are made without code of the program."""
    copier = POLICY.registry.copiers[cls]
    sent = unjelly(jelly(copier.state_of(cls(1))))
    return copier.made_quickly(cls.__new__(cls), sent) is not None


@copyable("Point", policy=POLICY)
@dataclass
class Point:
    x: Any
    y: Any = 0


@copyable("Frozen", policy=POLICY)
@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    y: Any = ()


@copyable("Keywords", policy=POLICY)
@dataclass(kw_only=True)
class Keywords(Point):
    z: Any


@copyable("Box", policy=POLICY)
@dataclass
class Box(Generic[T]):
    item: T


@copyable("Checked", policy=POLICY)
@dataclass
class Checked:
    count: int
    total: int = field(init=False)
    kind: ClassVar[str] = "checked"

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("secret")
        self.total = 2 * self.count


@copyable("Partly", policy=POLICY)
@dataclass
class Partly:
    name: str
    password: str = field(default="none", metadata={"pb": False})
    seen: int = field(default=0, init=False, metadata={"pb": True})
    scale: InitVar[int] = 1


@copyable("PartlyFrozen", policy=POLICY)
@dataclass(frozen=True)
class PartlyFrozen:
    seen: int = field(default=0, init=False, metadata={"pb": True})


@copyable("Nothing", policy=POLICY)
@dataclass
class Nothing:
    pass


@copyable("Node", policy=POLICY)
@dataclass(eq=False)
class Node:
    children: list[Any] = field(default_factory=list)
    parent: Any = None


class TestDataclasses:
    @pytest.mark.parametrize(
        "value",
        [
            *(Point(1, [2]), Frozen(1, (2,)), Keywords(x=1, z=3), Box("text")),
            *(Box[int](5), Checked(3), Nothing(), Point(Point(1), {Frozen(2): 3})),
        ],
    )
    def test_round_trip_of_dataclasses(self, value: Any) -> None:
        again = trip(value)
        assert again == value
        assert type(again) is type(value)

    def test_fields_are_sent_in_their_order(self) -> None:
        assert jelly(Keywords(x=1, z=3), POLICY) == [
            *(b"Keywords", state(x=1, y=0, z=3))
        ]
        assert jelly(Box(1), POLICY) == [b"Box", state(item=1)]
        assert jelly(Nothing(), POLICY) == [b"Nothing", [b"dictionary"]]

    def test_other_attributes_are_not_sent(self) -> None:
        point = Point(1)
        point.__dict__["cache"] = object()
        assert jelly(point, POLICY) == [b"Point", state(x=1, y=0)]

    def test_checks_of_init_apply_to_received_fields(self) -> None:
        with pytest.raises(MalformedJelly) as caught:
            unjelly([b"list", 1, [b"Checked", state(count=-1)]], POLICY)
        assert (
            str(caught.value) == "Checked: its state was refused: 'ValueError' (at [1])"
        )
        assert isinstance(caught.value.__cause__, ValueError)

    def test_fields_made_by_init_are_not_sent(self) -> None:
        assert jelly(Checked(1), POLICY) == [b"Checked", state(count=1)]
        with pytest.raises(MalformedJelly, match="Checked has no field 'total'"):
            unjelly([b"Checked", state(count=1, total=5)], POLICY)

    def test_metadata_chooses_the_fields_sent(self) -> None:
        value = Partly("name", "secret", scale=5)
        value.seen = 3
        assert jelly(value, POLICY) == [b"Partly", state(name="name", seen=3)]
        again = trip(value)
        assert (again.name, again.password, again.seen) == ("name", "none", 3)
        for name in ("password", "scale", "kind"):
            with pytest.raises(MalformedJelly, match=f"has no field '{name}'"):
                unjelly([b"Partly", state(name="name", **{name: "mine"})], POLICY)
        assert unjelly([b"Partly", state(name="name")], POLICY).seen == 0
        assert unjelly([b"PartlyFrozen", state(seen=2)], POLICY).seen == 2

    def test_field_unknown_to_an_older_peer_has_its_default(self) -> None:
        assert unjelly([b"Point", state(x=1)], POLICY) == Point(1, 0)
        assert unjelly([b"Node", [b"dictionary"]], POLICY).children == []
        assert unjelly([b"Nothing", [b"None"]], POLICY) == Nothing()

    def test_missing_field_without_default(self) -> None:
        with pytest.raises(MalformedJelly, match=r"Point: the field 'x' is missing"):
            unjelly([b"Point", state(y=1)], POLICY)

    def test_unknown_field_of_a_newer_peer_is_refused(self) -> None:
        with pytest.raises(MalformedJelly, match="Point has no field 'z'"):
            unjelly([b"Point", state(x=1, z=1)], POLICY)

    def test_unknown_field_of_a_newer_peer_is_ignored(self) -> None:
        policy = SecurityOptions(ClassRegistry())
        policy.allowBasicTypes()
        copyable("Point", policy=policy, ignore_unknown=True)(Point)
        assert unjelly([b"Point", state(x=1, z=1)], policy) == Point(1)
        with pytest.raises(MalformedJelly, match="'x' is missing"):
            unjelly([b"Point", state(z=1)], policy)

    @pytest.mark.parametrize(
        "sexp", [5, [b"list"], [b"dictionary", [5, 1]], [b"unicode", b"text"]]
    )
    def test_refusal_of_values_that_are_no_state(self, sexp: Any) -> None:
        with pytest.raises(
            MalformedJelly, match=r"attribute named 5|state of the type"
        ):
            unjelly([b"Point", sexp], POLICY)

    def test_names_in_bytes_from_python_2(self) -> None:
        sexp = [b"Point", [b"dictionary", [b"x", 1]]]
        assert unjelly(sexp, POLICY) == Point(1)

    @pytest.mark.parametrize("name", ["x" * 500, "self", "__class__", "__dict__"])
    def test_fields_with_unusual_names(self, name: str) -> None:
        with pytest.raises(MalformedJelly, match="Point has no field") as caught:
            unjelly([b"Point", _with(name)], POLICY)
        assert len(str(caught.value)) < 100

    def test_field_without_a_value(self) -> None:
        for cls in (Point, Frozen):
            value: Any = cls.__new__(cls)
            object.__setattr__(value, "y", 1)
            with pytest.raises(UnjellyableType, match=r"'x' has no value \(at \[0\]\)"):
                jelly([value], POLICY)

    def test_field_whose_getter_fails(self) -> None:
        @copyable("Failing", policy=POLICY)
        @dataclass
        class Failing:
            x: Any = None

            def __getattribute__(self, name: str) -> Any:
                if name == "x" and failing:
                    failing.pop()
                    raise AttributeError("once")
                return super().__getattribute__(name)

        failing = [1]
        with pytest.raises(AttributeError, match="once"):
            jelly(Failing(), POLICY)

    def test_path_to_a_wrong_part(self) -> None:
        with pytest.raises(InsecureJelly, match=r"\(at \[0\]\.x\['k'\]\.y\)"):
            jelly([Point({"k": Point(1, object())})], POLICY)
        with pytest.raises(InsecureJelly, match=r"\(at \[0\]\.y\)"):
            unjelly([b"list", [b"Point", state(x=1)[:] + _bad()]], POLICY)

    def test_depth_does_not_recurse(self) -> None:
        value: Any = None
        for _ in range(5000):
            value = Point(value)
        again = trip(value)
        for _ in range(5000):
            again = again.x
        assert again is None
        with pytest.raises(LimitExceeded):
            jelly(value, POLICY, limits=Limits())

    def test_subclass_without_fields_of_its_own(self) -> None:
        @copyable("Behaving", policy=POLICY)
        class Behaving(Point):
            def norm(self) -> Any:
                return self.x + self.y

        again = trip(Behaving(1, 2))
        assert again.norm() == 3
        assert type(again) is Behaving


def _with(name: str) -> Any:
    return [b"dictionary", [[b"unicode", b"x"], 1], [[b"unicode", name.encode()], 1]]


def _bad() -> Any:
    return [[[b"unicode", b"y"], [b"function", b"os.system"]]]


class TestDeclarations:
    @staticmethod
    def refused(cls: Any, reason: str) -> None:
        with pytest.raises(UnjellyableType, match=f"cannot be copyable: {reason}"):
            copyable("refused", registry=ClassRegistry())(cls)

    def test_init_var_without_a_default(self) -> None:
        @dataclass
        class A:
            x: int
            scale: InitVar[int]

        self.refused(A, "__init__ takes 'scale', which is not sent and has no default")

    def test_unsent_field_without_a_default(self) -> None:
        @dataclass
        class A:
            x: int = field(metadata={"pb": False})

        self.refused(A, "__init__ takes 'x', which is not sent and has no default")

    def test_init_without_a_parameter_for_a_field(self) -> None:
        @dataclass
        class A:
            x: int

            def __init__(self, *args: int) -> None:
                (self.x,) = args

        self.refused(A, "__init__ does not take the field 'x'")

    def test_class_without_an_init(self) -> None:
        @dataclass(init=False)
        class A:
            x: int

        self.refused(A, "__init__ does not take the field 'x'")

    def test_init_with_arbitrary_keyword_arguments(self) -> None:
        @copyable("Anything", policy=POLICY)
        @dataclass
        class Anything:
            x: int

            def __init__(self, **fields: int) -> None:
                self.x = fields["x"]

        assert trip(Anything(x=1)) == Anything(x=1)

    def test_metadata_that_is_neither_true_nor_false(self) -> None:
        @dataclass
        class A:
            x: int = field(metadata={"pb": "no"})

        self.refused(A, "the metadata 'pb' of the field 'x' is neither True nor False")


class TestCycles:
    def test_cycle_of_a_parent_and_its_children(self) -> None:
        root = Node()
        root.children += [Node([], root), Node([], root)]
        again = trip(root)
        assert [child.parent for child in again.children] == [again, again]

    def test_instance_in_its_own_field(self) -> None:
        node = Node()
        node.parent = node
        again = trip(node)
        assert again.parent is again

    def test_instance_as_a_key_in_its_own_field(self) -> None:
        value = Frozen({})
        value.x[value.y] = value
        again = trip([value, value])
        assert again[0] is again[1]
        assert again[0].x[()] is again[0]

    def test_instance_is_hashed_once_it_is_whole(self) -> None:
        frozen = Frozen(1, 2)
        value = [frozen, {frozen: "value"}, {frozen}, frozenset([frozen])]
        assert trip(value) == value

    def test_cycle_through_a_tuple(self) -> None:
        node = Node()
        node.parent = (node, 1)
        again = trip(node)
        assert again.parent[0] is again

    def test_refusal_of_a_hash_that_depends_on_itself(self) -> None:
        inner = [b"frozenset", [b"dereference", 1]]
        sexp = [
            b"reference",
            1,
            [b"Frozen", [b"dictionary", [[b"unicode", b"x"], inner]]],
        ]
        with pytest.raises(MalformedJelly, match="a cycle that cannot be made"):
            unjelly(sexp, POLICY)

    def test_post_init_that_reads_an_unfinished_instance(self) -> None:
        @copyable("Curious", policy=POLICY)
        @dataclass
        class Curious:
            other: Any

            def __post_init__(self) -> None:
                if self.other is not None:
                    assert self.other.other is not self

        curious = Curious(None)
        curious.other = Curious(None)
        curious.other.other = curious
        with pytest.raises(MalformedJelly, match="'AttributeError'"):
            trip(curious)

    def test_shared_state(self) -> None:
        sexp = [
            *(b"list", [b"Point", [b"reference", 1, state(x=1)]]),
            [b"Point", [b"dereference", 1]],
        ]
        one, other = unjelly(sexp, POLICY)
        one.x = 2
        assert other.x == 1


class Field(SimpleNamespace):
    """A field description in the form of attrs."""

    def __init__(self, name: str, **others: Any) -> None:
        defaults = {"init": True, "metadata": {}, "validator": None, "converter": None}
        super().__init__(name=name, **{**defaults, **others})


class TestAttrs:
    """Attrs classes by their field descriptions; tests-integration has real ones."""

    @staticmethod
    def make(*fields: Field) -> Any:
        class Made:
            __attrs_attrs__ = fields

            def __init__(self, x: Any, secret: Any = "none", other: Any = 5) -> None:
                self.x = x
                self._secret = secret
                self.late = self.__dict__["__other"] = other

        return Made

    def test_round_trip_of_attrs_classes(self) -> None:
        made = self.make(
            *(Field("x"), Field("_secret"), Field("__other", alias="other")),
            Field("late", init=False, metadata={"pb": True}),
        )
        copyable("Made", policy=POLICY)(made)
        value = made(1, 2, 3)
        value.late = 4
        assert jelly(value, POLICY) == [
            *(b"Made", state(x=1, _secret=2, __other=3, late=4))
        ]
        assert trip(value).__dict__ == value.__dict__

    def test_unsent_fields_of_attrs_classes(self) -> None:
        made = self.make(
            *(Field("x"), Field("_secret", metadata={"pb": False})),
            Field("late", init=False),
        )
        copyable("Made", registry=(registry := ClassRegistry()))(made)
        assert registry.copiers[made].state_of(made(1, 2)) == {"x": 1}
        again = made.__new__(made)
        registry.copiers[made].fill(again, {"x": 3})
        assert (again.x, again._secret) == (3, "none")

    def test_dataclass_that_extends_an_attrs_class(self) -> None:
        base = self.make(Field("x"))

        extending: Any = dataclass(
            type("Extending", (base,), {"__annotations__": {"y": int}})
        )
        copyable("Extending", policy=POLICY)(extending)
        assert jelly(extending(5), POLICY) == [b"Extending", state(y=5)]


class Colour(Enum):
    RED = 1
    CRIMSON = 1
    GREEN = object()


class Level(IntEnum):
    LOW = 1


class Access(Flag):
    READ = 1
    WRITE = 2


for enum in (Colour, Level, Access):
    copyable(enum.__name__, policy=POLICY)(enum)


class TestEnumerations:
    @pytest.mark.parametrize(
        "member",
        [Colour.RED, Colour.GREEN, Level.LOW, Access.READ, Access.READ | Access.WRITE],
    )
    def test_round_trip_of_members(self, member: Any) -> None:
        value = [member, {member: member}, {member}]
        again = trip(value)
        assert again == value
        assert again[0] is member

    def test_state_of_a_member_is_its_name(self) -> None:
        assert jelly(Colour.CRIMSON, POLICY) == [b"Colour", state(name="RED")]
        assert unjelly([b"Colour", state(name="CRIMSON")], POLICY) is Colour.RED

    def test_state_of_a_nameless_flag_is_its_value(self) -> None:
        both = Access.READ | Access.WRITE
        assert jelly(both, POLICY) == [b"Access", state(value=3)]
        assert jelly(Access.READ, POLICY) == [b"Access", state(name="READ")]

    @pytest.mark.parametrize(
        ("name", "entries", "reason"),
        [
            ("Colour", {"name": "BLUE"}, "Colour has no member 'BLUE'"),
            ("Colour", {"name": b"RED"}, "Colour has no member b'RED'"),
            ("Colour", {"name": []}, "Colour has no member <list>"),
            ("Colour", {"name": "__class__"}, "Colour has no member '__class__'"),
            ("Colour", {"value": 1}, "Colour has no field 'value'"),
            ("Colour", {"name": "RED", "_value_": 1}, "Colour has no field '_value_'"),
            ("Colour", {}, "Colour: a member is one name"),
            ("Access", {"name": "READ", "value": 1}, "Access: a member is one name"),
            ("Access", {"value": 8}, "has no member 8"),
            ("Access", {"value": "1"}, "Access has no member '1'"),
            ("Access", {"value": True}, "Access has no member True"),
        ],
    )
    def test_refusal_of_unknown_members(
        self, name: str, entries: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(MalformedJelly, match=reason):
            unjelly([name.encode(), state(**entries)], POLICY)

    def test_unknown_entries_are_ignored(self) -> None:
        policy = SecurityOptions(ClassRegistry())
        policy.allowBasicTypes()
        copyable("Colour", policy=policy, ignore_unknown=True)(Colour)
        sexp = [b"Colour", state(name="RED", _value_=1)]
        assert unjelly(sexp, policy) is Colour.RED

    def test_enumeration_whose_lookup_raises(self) -> None:
        @copyable("Failing", registry=(registry := ClassRegistry()))
        class Failing(Flag):
            ONE = 1

            @classmethod
            def _missing_(cls, value: object) -> Any:
                raise OSError("secret")

        with pytest.raises(MalformedJelly, match=r"refused: 'OSError'$"):
            registry.copiers[Failing].member({"value": 64})

    def test_versions_of_enumerations(self) -> None:
        policy = SecurityOptions(ClassRegistry())
        policy.allowBasicTypes()
        red = {"name": "RED"}
        copyable("Colour", policy=policy, version=2, upgrade=lambda old, version: red)(
            Colour
        )
        assert unjelly([b"Colour", state(name="ROT")], policy) is Colour.RED
        key = "Colour.persistenceVersion"
        assert jelly(Colour.RED, policy) == [b"Colour", state(name="RED", **{key: 2})]


@copyable("Plain", policy=POLICY)
class Plain:
    default = 5

    def __init__(self, x: Any) -> None:
        self.x = x

    @property
    def double(self) -> Any:
        return 2 * self.x

    @functools.cached_property
    def triple(self) -> Any:
        return 3 * self.x

    def method(self) -> None: ...


@copyable("Slotted", policy=POLICY)
class Slotted:
    __slots__ = ("unset", "x")

    def __init__(self, x: Any) -> None:
        self.x = x


@copyable("Mixed", policy=POLICY)
class Mixed(Slotted):
    def __init__(self, x: Any) -> None:
        super().__init__(x)
        self.more = [x]


@copyable("Stated", policy=POLICY)
class Stated:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __getstate__(self) -> Any:
        return self.x if self.x == "bad" else {"y": self.x}

    def __setstate__(self, state: Any) -> None:
        if state["y"] == "refused":
            raise ValueError("secret")
        self.x = state["y"]


class TestOtherClasses:
    @pytest.mark.parametrize("cls", [Plain, Slotted, Mixed, Stated])
    def test_round_trip_of_other_classes(self, cls: Any) -> None:
        again = trip(cls([1, "two"]))
        assert type(again) is cls
        assert again.x == [1, "two"]
        if cls is Mixed:
            assert again.more == [[1, "two"]]
        assert not hasattr(again, "unset")

    def test_init_is_not_called(self) -> None:
        again = unjelly([b"Plain", state(other=1)], POLICY)
        assert again.__dict__ == {"other": 1}

    def test_class_attribute_set_on_the_instance(self) -> None:
        assert unjelly([b"Plain", state(default=6)], POLICY).default == 6

    def test_cached_properties_are_not_sent(self) -> None:
        plain = Plain(2)
        assert plain.triple == 6
        plain.__dict__["__orig_class__"] = int
        assert jelly(plain, POLICY) == [b"Plain", state(x=2)]

    @pytest.mark.parametrize(
        "name", ["method", "double", "triple", "__init__", "__class__", "__new__"]
    )
    def test_refusal_of_attributes_named_like_methods(self, name: str) -> None:
        with pytest.raises(MalformedJelly, match=f"has no place for '{name}'"):
            unjelly([b"Plain", state(**{name: 1})], POLICY)

    def test_refusal_of_attributes_beside_slots(self) -> None:
        with pytest.raises(MalformedJelly, match="Slotted has no place for 'y'"):
            unjelly([b"Slotted", state(x=1, y=2)], POLICY)
        policy = SecurityOptions(ClassRegistry())
        policy.allowBasicTypes()
        copyable("Slotted", policy=policy, ignore_unknown=True)(Slotted)
        assert unjelly([b"Slotted", state(x=1, y=2)], policy).x == 1

    def test_getstate_that_returns_no_dict(self) -> None:
        with pytest.raises(UnjellyableType, match="__getstate__ returned 'bad'"):
            jelly(Stated("bad"), POLICY)

    def test_setstate_that_raises(self) -> None:
        with pytest.raises(MalformedJelly, match=r"Stated: .* refused: 'ValueError'$"):
            unjelly([b"Stated", state(y="refused")], POLICY)

    def test_class_without_blank_instances(self) -> None:
        @copyable("Abstract", policy=POLICY)
        class Abstract(abc.ABC):
            @abc.abstractmethod
            def method(self) -> None: ...

        with pytest.raises(MalformedJelly, match="cannot be made"):
            unjelly([b"Abstract", [b"dictionary"]], POLICY)


class TestVersions:
    KEY = "V.persistenceVersion"

    def policy(self, **arguments: Any) -> Any:
        """Return a policy with a class of a version; and the class."""
        policy = SecurityOptions(ClassRegistry())
        policy.allowBasicTypes()

        @copyable("V", policy=policy, **arguments)
        @dataclass
        class V:
            pounds: Any
            pence: Any = 0

        return policy, V

    @staticmethod
    def upgrade(state: dict[str, Any], version: int) -> dict[str, Any]:
        assert version == 1
        pounds, pence = divmod(state.pop("price"), 100)
        return {"pounds": pounds, "pence": pence, **state}

    def test_version_1_is_not_sent(self) -> None:
        policy, V = self.policy()
        assert jelly(V(1), policy) == [b"V", state(pounds=1, pence=0)]

    @pytest.mark.parametrize("version", [0, 1])
    def test_version_1_is_accepted(self, version: int) -> None:
        policy, V = self.policy()
        sexp = [b"V", state(pounds=1, **{self.KEY: version})]
        assert unjelly(sexp, policy) == V(1)

    def test_later_versions_are_an_entry_of_the_state(self) -> None:
        policy, V = self.policy(version=2, upgrade=self.upgrade)
        sexp = [b"V", state(pounds=1, pence=0, **{self.KEY: 2})]
        assert jelly(V(1), policy) == sexp
        assert unjelly(sexp, policy) == V(1)

    def test_older_state_is_upgraded(self) -> None:
        policy, V = self.policy(version=2, upgrade=self.upgrade)
        assert unjelly([b"V", state(price=250)], policy) == V(2, 50)
        sexp = [b"V", state(price=250, **{self.KEY: 1})]
        assert unjelly(sexp, policy) == V(2, 50)

    def test_upgraded_state_is_checked(self) -> None:
        policy, _ = self.policy(version=2, upgrade=self.upgrade)
        with pytest.raises(MalformedJelly, match="V has no field 'other'"):
            unjelly([b"V", state(price=250, other=1)], policy)

    def test_newer_version_is_refused(self) -> None:
        policy, _ = self.policy(version=2, upgrade=self.upgrade)
        with pytest.raises(
            MalformedJelly, match="V of version 3; the newest known here is 2"
        ):
            unjelly([b"V", state(pounds=1, **{self.KEY: 3})], policy)

    def test_older_version_without_an_upgrade(self) -> None:
        policy, _ = self.policy(version=3)
        with pytest.raises(
            MalformedJelly, match="V of version 2; nothing upgrades it to 3"
        ):
            unjelly([b"V", state(pounds=1, **{self.KEY: 2})], policy)

    @pytest.mark.parametrize("version", [-1, "2", b"2", 1.0, None, True, []])
    def test_refusal_of_malformed_versions(self, version: Any) -> None:
        policy, _ = self.policy(version=2, upgrade=self.upgrade)
        with pytest.raises(MalformedJelly, match="V of the version"):
            unjelly([b"V", state(pounds=1, **{self.KEY: version})], policy)

    def test_upgrade_that_raises(self) -> None:
        policy, _ = self.policy(version=2, upgrade=self.upgrade)
        with pytest.raises(MalformedJelly) as caught:
            unjelly([b"list", [b"V", state(secret=1)]], policy)
        assert str(caught.value) == "V: no upgrade from version 1: 'KeyError' (at [0])"
        assert isinstance(caught.value.__cause__, KeyError)

    @pytest.mark.parametrize("made", [None, [], {1: 2}, "text"])
    def test_upgrade_that_returns_no_state(self, made: Any) -> None:
        policy, _ = self.policy(version=2, upgrade=lambda state, version: made)
        with pytest.raises(
            MalformedJelly, match="the upgrade of V of version 1 returned no state"
        ):
            unjelly([b"V", state(pounds=1)], policy)

    def test_jelly_error_of_an_upgrade_is_raised_unchanged(self) -> None:
        def refuse(*args: Any) -> Any:
            raise MalformedJelly("said on purpose")

        policy, _ = self.policy(version=2, upgrade=refuse)
        with pytest.raises(MalformedJelly, match=r"^said on purpose$"):
            unjelly([b"V", state(pounds=1)], policy)

        @copyable("W", policy=policy)
        @dataclass
        class W:
            def __post_init__(self) -> None:
                if refusing:
                    refuse()

        refusing: list[int] = []
        sexp = jelly(W(), policy)
        refusing.append(1)
        with pytest.raises(MalformedJelly, match=r"^said on purpose$"):
            unjelly(sexp, policy)

    def test_upgrade_is_given_a_copy_of_the_state(self) -> None:
        policy, V = self.policy(version=2, upgrade=self.upgrade)
        shared = [b"reference", 1, state(price=250)]
        sexp = [b"list", [b"V", shared], [b"V", [b"dereference", 1]]]
        assert unjelly(sexp, policy) == [V(2, 50), V(2, 50)]


class Descriptor:
    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = f"_{name}"

    def __get__(self, inst: Any, owner: Any = None) -> Any:
        return None if inst is None else inst.__dict__[self.name]

    def __set__(self, inst: Any, value: Any) -> None:
        inst.__dict__[self.name] = value


class TestQuickness:
    """Loading without the program's code, which may be tried and then repeated."""

    @pytest.mark.parametrize(
        "options",
        [{}, {"frozen": True}, {"slots": True}, {"frozen": True, "slots": True}],
    )
    @pytest.mark.parametrize("version", [1, 2])
    def test_classes_that_run_no_code(
        self, options: dict[str, Any], version: int
    ) -> None:
        cls: Any = make_dataclass("Made", [("x", int), ("y", int, 5)], **options)
        copyable(f"{options}{version}", policy=POLICY, version=version)(cls)
        assert quick(cls)
        copier = POLICY.registry.copiers[cls]
        inst = cls.__new__(cls)
        assert copier.made_quickly(inst, {"x": 1}) is None
        assert copier.made_quickly(inst, {"x": 1, "y": 2, "z": 3}) is None
        key = f"{options}{version}.persistenceVersion"
        assert copier.made_quickly(inst, {"x": 1, "y": 2, key: 3}) is None

    def test_fields_set_after_init(self) -> None:
        copier = POLICY.registry.copiers[PartlyFrozen]
        blank = PartlyFrozen.__new__(PartlyFrozen)
        assert copier.made_quickly(blank, {"seen": 2}) is blank
        assert blank.seen == 2

    def test_members_of_enumerations(self) -> None:
        copier = POLICY.registry.copiers[Colour]
        assert copier.made_quickly(None, {"name": "RED"}) is Colour.RED
        assert copier.made_quickly(None, {"value": 1}) is None

    def test_classes_that_run_code(self) -> None:
        @dataclass
        class PostInit:
            x: int

            def __post_init__(self) -> None: ...

        @dataclass
        class New:
            x: int

            def __new__(cls, *args: Any, **kw: Any) -> Any:
                return super().__new__(cls)

        @dataclass
        class Init:
            x: int

            def __init__(self, x: int) -> None:
                self.x = x

        @dataclass
        class Setting:
            x: int

            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name, value)

        @dataclass
        class Described:
            x: Descriptor = Descriptor()

        class Validated:
            __attrs_attrs__ = (Field("x", validator=print),)

            def __init__(self, x: int) -> None:
                self.x = x

        class Converted(Validated):
            __attrs_attrs__ = (Field("x", converter=int),)

        classes: list[Any] = [PostInit, New, Init, Setting, Described]
        for cls in (*classes, Validated, Converted):
            copyable(cls.__name__, policy=POLICY)(cls)
            assert not quick(cls), cls
            assert trip(cls(1)).x == 1
        assert not quick(Plain)

    def test_methods_of_attrs_itself(self) -> None:
        class Made:
            __attrs_attrs__ = (Field("x"),)

            def __init__(self, x: int) -> None:
                self.x = x

        assert not _registered_quick(Made)
        Made.__init__.__module__ = "attr._make"
        assert _registered_quick(Made)

    def test_methods_that_are_no_functions_run_code(self) -> None:
        class Made:
            __attrs_attrs__ = (Field("x"),)
            __init__ = functools.partialmethod(
                lambda self, x: self.__dict__.update(x=x)
            )

        assert not _registered_quick(Made)


def _registered_quick(cls: Any) -> bool:
    copyable(cls.__qualname__, policy=POLICY)(cls)
    return quick(cls)


names = st.from_regex(r"[a-z]{1,3}", fullmatch=True).map(lambda name: f"f_{name}")


@st.composite
def dataclasses_with_values(draw: Any) -> Any:
    """Draw an instance of a dataclass of any make."""
    kinds = draw(st.dictionaries(names, st.integers(0, 4), max_size=5))
    fields: list[Any] = []
    values: dict[str, Any] = {}
    for name, kind in kinds.items():
        options: dict[str, Any] = {"kw_only": True}
        if kind == 1:
            options["default"] = draw(scalars[0])
        elif kind == 2:
            options["default_factory"] = list
        elif kind == 3:
            options |= {"default": 0, "init": False, "metadata": {"pb": True}}
        if kind != 4:
            values[name] = draw(st.one_of(*scalars))
            fields.append((name, Any, field(**options)))
        else:
            fields.append((name, ClassVar[int], 1))
    options = {name: draw(st.booleans()) for name in ("frozen", "slots", "order")}
    cls: Any = make_dataclass("Drawn", fields, **options)
    made = cls(**{name: values[name] for name in values if kinds[name] != 3})
    for name in values:
        if kinds[name] == 3:
            object.__setattr__(made, name, values[name])
    return made


@given(dataclasses_with_values(), st.booleans(), st.integers(1, 3), st.booleans())
def test_round_trip_of_any_dataclass(
    value: Any, is_shared: bool, version: int, modern: bool
) -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    copyable("Drawn", policy=policy, version=version)(type(value))
    graph = [value, {"k": value}] if is_shared else [value]
    again = unjelly(jelly(graph, policy, modern=modern), policy, modern=modern)
    assert again == graph
    assert type(again[0]) is type(value)
    assert not is_shared or again[1]["k"] is again[0]
