from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pb_banana import BananaError, DecodeError, IncompleteError, Limits
from pb_banana._pb2.reader import Reader, Refusal
from pb_jelly import (
    ClassRegistry,
    DummySecurityOptions,
    InsecureJelly,
    JellyError,
    LimitExceeded,
    MalformedJelly,
    SecurityOptions,
    Unjellyable,
    copyable,
)

from .graphs import POLICY, Node, Row, Spot
from .pb2 import reader_for, received, sent
from .support import WIDE

OPEN = DummySecurityOptions()
#: The name of a class of which the policy makes instances.
NODE = f"{Node.__module__}.{Node.__qualname__}"


def text(value: str) -> str:
    """Return a text as CBOR, in hexadecimal digits."""
    raw = value.encode()
    assert len(raw) < 256
    return f"78{len(raw):02x}{raw.hex()}"


def read(data: str, policy: Any = POLICY, limits: Limits = WIDE, **options: Any) -> Any:
    """Return the value of bytes in hexadecimal digits."""
    return received(bytes.fromhex(data.replace(" ", "")), policy, limits, **options)


# What others may write.


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("1800", 0),
        ("1b0000000000000005", 5),
        ("3a00000000", -1),
        ("5801 61", b"a"),
        ("7a00000001 61", "a"),
        ("9b0000000000000001 05", [5]),
        ("b90001 01 02", {1: 2}),
        ("f93e00", 1.5),
        ("f90001", 2.0**-24),
        ("f9fc00", float("-inf")),
        ("fa3fc00000", 1.5),
        ("c2 41 05", 5),
        ("c3 40", -1),
        ("81 d81c 05", [5]),
        ("82 d81c 6161 d81d00", ["a", "a"]),
        ("d90102 d81c 81 05", {5}),
        ("c4 d81c 82 20 05", __import__("decimal").Decimal("0.5")),
    ],
)
def test_forms_of_other_writers_are_read(data: str, value: Any) -> None:
    assert read(data) == value


@pytest.mark.parametrize(
    "data",
    [
        *("1c", "3d", "5e", "7f", "9f", "bf", "df", "ff", "5f", "1f"),
        *("f7", "f0", "f8ff", "fc"),
        "00 00",
        "c5 00",
        "da00010000 00",
        "dbffffffffffffffff 00",
        "61 ff",
        "62 c328",
        "a1 61ff 00",
        "d81c d81c 80",
        "d81c d81d 00",
        "d81d 80",
        "d9b9b0 05",
        "d9b9b2 80",
        "d9b9b2 81 6161",
        "d9b9b2 82 00 a0",
        "d9b9b2 82 05 a0",
        "d9b9b3 82 6161 00",
        "d9b9b3 81 80",
        "d9b9b3 81 82 6161 00",
        "d9b9b3 83 84 6161 01 6162 6162 01 02",
        "d9b9b4 81 6161",
        "d840 00",
        "d828 81 80",
        "d828 82 8101 4101",
        "c2 05",
        "c4 98ff",
        "d903ea a2 01 00 01 00",
        "d903ea a1 6161 00",
        "a1 98ffff",
        "d9b9b5 98" + "50" + "05" + "00" * 79,
    ],
)
def test_refusal_of_malformed_bytes(data: str) -> None:
    with pytest.raises(DecodeError):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        *("", "18", "19 00", "1a 000000", "1b 00000000000000", "3b"),
        *("f9 00", "fa 0000", "fb 00", "41", "61", "5b7fffffffffffffff"),
        *("81", "9b7fffffffffffffff", "bb7fffffffffffffff", "5bffffffffffffffff"),
        *("9bffffffffffffffff", "a1", "a1 01", "a1 6161", "a1 77 61", "c2", "c2 42 00"),
        *(
            "d81c",
            "d81d",
            "d81d 18",
            "d9b9b0",
            "d9b9b0 82 00",
            "d9b9b0 9bffffffffffffffff",
        ),
        *("d9b9b2", "d9b9b2 82", "d9b9b2 82 62 61", "d9b9b2 82 84"),
        *("d9b9b5", "d9b9b5 82", "d9b9b5 82 07", "d8 40", "d8 40 42 00", "d8"),
        *("d828 82 8101", "c4", "d903ea", "d9b9b5 82 0b"),
    ],
)
def test_refusal_of_truncated_bytes(data: str) -> None:
    with pytest.raises(IncompleteError):
        read(data, OPEN)


@pytest.mark.parametrize(
    "data",
    [
        "a2 01 00 01 00",
        "a2 01 00 f5 00",
        "d90102 82 01 01",
        "a1 80 00",
        "a1 d9b9b0 81 80 00",
        "d90102 81 a0",
        "d9b9b1 81 a0",
        "d81d 00",
        "d81c d9b9b0 81 d81d 00",
        "d81c d9b9b1 81 d81d 00",
        "d9b9b2 82 626162 a0",
        "d9b9b5 81 18ff",
        "d9b9b5 81 6161",
        "d9b9b5 80",
        "d9b9b5 83 08 6161 00",
        "d9b9b5 82 08 20",
        "d9b9b5 82 00 6161",
        "d9b9b5 82 01 6131",
        "d9b9b5 82 01 01",
        "d9b9b5 82 02 6161",
        "d9b9b5 82 03 6161",
        "d9b9b5 81 04",
        "d9b9b5 82 04 f4",
        "d9b9b5 82 05 01",
        "d9b9b5 83 06 01 01",
        "c0 6161",
        "c0 7819 323032302d30312d30325430333a30343a30352b30303a3639",
        "c1 6161",
        "c1 f97e00",
        "c1 fb7ff0000000000000",
        "c4 82 6161 01",
        "c4 81 01",
        "d81e 82 01 00",
        "d825 41 00",
        "d825 01",
        "d864 6161",
        "d864 1b7fffffffffffffff",
        "d903ec 01",
        "d903ea 80",
        "d903ea a1 02 00",
        "d903ea a2 01 00 03 00",
        "d903ea a1 01 6161",
        "d9a7f8 82 01 02",
        "d841 41 00",
        "d828 82 81 02 d840 41 00",
        "d828 82 81 20 d840 41 00",
        "d828 82 81 1b7fffffffffffffff d840 41 00",
        "d828 82 01 d840 41 00",
        "d9b9b5 83 09 6169 d840 41 00",
        "d9b9b5 83 09 01 d840 41 00",
        "d9b9b5 84 0a 6169 8101 d840 41 00",
        "d9b9b5 84 0a 6142 01 d840 41 00",
        "d9b9b5 84 0a 6142 8200 00 d840 41 00",
        f"d9b9b2 82 {text(NODE)} 05",
        "d9b9b4 82 66436f6c6f7572 6161",
        "d9b9b4 82 66436f6c6f7572 01",
    ],
)
def test_refusal_of_invalid_values(data: str) -> None:
    with pytest.raises((MalformedJelly, InsecureJelly)):
        read(data)


def test_further_digits_of_a_second_are_read() -> None:
    found = read("c0" + text("2020-01-02T03:04:05.123456789-02:30"))
    assert found.isoformat() == "2020-01-02T03:04:05.123456-02:30"
    assert read("c1 fb3ff8000000000000").microsecond == 500_000
    assert read("d903ec" + text("2020-01-02")).day == 2
    assert read("c0" + text("2020-01-02T03:04:05+00:00")).tzname() == "UTC"


def test_paths_of_refused_values() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    bad = text("a.Class")
    other = f"d9b9b2 82 {bad} a0"
    for data, path in [
        (f"82 01 {other}", "[1]"),
        (f"a1 63647565 {other}", "['due']"),
        (f"a1 d9b9b0 81 {other} 00", ".keys()[0][0]"),
        (f"d90102 82 00 {other}", "[1]"),
        (f"d9b9b5 82 07 a1 6161 {other}", "['a']"),
        (f"d9b9b5 84 08 f6 00 {other}", "[1]"),
        (f"a2 00 00 fb3ff8000000000000 {other}", "[1.5]"),
    ]:
        with pytest.raises(InsecureJelly) as caught:
            read(data, policy)
        assert caught.value.path == path, data
    with pytest.raises(InsecureJelly) as hidden:
        read(f"d9b9b2 82 {text(NODE)} a1 63647565 82 00 {other}")
    assert hidden.value.path == ".due[1]"
    with pytest.raises(InsecureJelly) as field:
        read(f"d9b9b3 83 84 63526f77 01 6161 6162 00 {other}")
    assert field.value.path == ".b"


def test_paths_of_malformed_bytes() -> None:
    with pytest.raises(DecodeError) as caught:
        read("82 00 a1 6161 f7")
    assert (caught.value.path, caught.value.offset) == ("[1]['a']", 5)
    with pytest.raises(DecodeError) as deep:
        read("81" * 900 + "f7")
    assert len(deep.value.path) < 500


def test_paths_within_the_loop() -> None:
    chain: Any = {"k": Node(due=[Node(n=5)])}
    for _ in range(700):
        chain = [chain]
    data = sent(chain)
    assert data.endswith(b"\x61n\x05")
    with pytest.raises(DecodeError) as caught:
        received(data[:-1] + b"\xf7")
    assert caught.value.path.endswith("['k'].due[0].n")


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("d81c80", []),
        ("d81c05", 5),
        ("82 d81c 80 d81d 00", [[], []]),
        ("d9b9b0 81 05", (5,)),
        ("a1 01 d90102 81 05", {1: {5}}),
        ("d9b9b1 81 d9b9b1 80", frozenset([frozenset()])),
        ("c2 41 05", 5),
        ("f5", True),
        ("d9b9b5 82 07 a1 01 02", OrderedDict({1: 2})),
    ],
)
def test_loop_and_recursion_read_the_same(data: str, value: Any) -> None:
    found = read("81" * 700 + data, limits=replace(WIDE, depth=720))
    for _ in range(700):
        (found,) = found
    assert found == value


@pytest.mark.parametrize(
    "data",
    ["d81cd81c80", "d81cd81d00", "9f", "81", "9bffffffffffffffff", "d81c", "a1 f7 00"],
)
def test_loop_and_recursion_refuse_the_same(data: str) -> None:
    for front in ("", "81" * 700):
        with pytest.raises(DecodeError):
            read(front + data, limits=replace(WIDE, depth=720))


# Limits and policies.


@pytest.mark.parametrize(
    ("data", "limits", "limit"),
    [
        ("818180", replace(WIDE, depth=2), "depth"),
        ("81 a1 01 80", replace(WIDE, depth=2), "depth"),
        ("81 81 d9b9b080", replace(WIDE, depth=2), "depth"),
        ("a1 01 a1 01 a0", replace(WIDE, depth=2), "depth"),
        ("83 010203", replace(WIDE, list_items=2), "list_items"),
        ("a2 01020304", replace(WIDE, list_items=1), "list_items"),
        ("d9b9b0 82 0102", replace(WIDE, list_items=1), "list_items"),
        ("82 81 01 81 01", replace(WIDE, nodes=3), "nodes"),
        ("a1 01 a1 01 02", replace(WIDE, nodes=3), "nodes"),
        ("64 74657874", replace(WIDE, string_bytes=3), "string_bytes"),
        ("a1 64 74657874 00", replace(WIDE, string_bytes=3), "string_bytes"),
        ("d840 44 74657874", replace(WIDE, string_bytes=3), "string_bytes"),
        ("d9b9b2 82 64 74657874", replace(WIDE, string_bytes=3), "string_bytes"),
        ("c2 4a" + "01" * 10, replace(WIDE, prefix_bytes=9), "prefix_bytes"),
        ("c2 4b" + "01" * 11, replace(WIDE, prefix_bytes=9), "prefix_bytes"),
        ("84 01020304", replace(WIDE, message_bytes=4), "message_bytes"),
        ("d9b9b3 83 84 63526f77 01 6161 6162", replace(WIDE, nodes=5), "nodes"),
    ],
)
def test_each_limit_at_its_boundary(data: str, limits: Limits, limit: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        read(data, limits=limits)
    assert caught.value.limit == limit


def test_exhausted_stack_ends_in_an_error() -> None:
    data = sent([[[[]]]])

    def fall(depth: int) -> Any:
        return fall(depth - 1) if depth else received(data)

    with pytest.raises((RecursionError, LimitExceeded)):
        fall(sys.getrecursionlimit())


@pytest.mark.parametrize(
    "data",
    [
        *("6161", "f6", "f5", "80", "a0", "a1 6161 00", "d9b9b080", "d90102 80"),
        *("d9b9b180", "d81c80", "d8404161", "c4 82 00 01", "d9b9b5 82 00 40"),
        *("d828 82 8100 d840 40", "d9b9b4 82 6161 00", "d9b9b5 82 07 a0"),
    ],
)
def test_refusal_of_types_by_the_policy(data: str) -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowedTypes.clear()
    with pytest.raises(InsecureJelly):
        read(data, policy)


def test_refusal_of_references_by_the_policy() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowTypes("list", "reference")
    with pytest.raises(InsecureJelly, match="dereference"):
        read("82 d81c80 d81d00", policy)


class Asking(SecurityOptions):
    """A policy that overrides its methods."""

    def isTypeAllowed(self, typeName: Any) -> bool:
        return typeName not in (b"set", b"a.Class")


def test_policy_with_overridden_methods_decides() -> None:
    policy = Asking(ClassRegistry())
    data = "83 6161 a1 01 f5 d9b9b0 81 f6"
    assert read(data, policy) == ["a", {1: True}, (None,)]
    for refused in ("d9010280", f"d9b9b2 82 {text('a.Class')} a0"):
        with pytest.raises(InsecureJelly):
            read(refused, policy)


@pytest.mark.parametrize("kind", ["a18", "d9010 2818".replace(" ", "")])
def test_refusal_of_unhashable_keys(kind: str) -> None:
    for key in ("0", "d9b9b0 81 80", "d9b9b5 82 01 647 34e614e".replace(" ", "")):
        data = kind[:-1] + (key if key != "0" else "80")
        with pytest.raises((MalformedJelly, IncompleteError)):
            read(data + "00" * ("a1" in kind))


def test_refusal_of_floods_of_equal_hashes() -> None:
    numbers = [(2**61 - 1) * n for n in range(2**10, 2**10 + 80)]
    body = "".join(sent(number).hex() for number in numbers)
    pairs = "".join(sent(number).hex() + "00" for number in numbers)
    for data in (f"d90102 98 50 {body}", f"d9b9b1 98 50 {body}", f"b850 {pairs}"):
        with pytest.raises(LimitExceeded, match="equal_hashes"):
            read(data)


def test_many_keys_of_other_types() -> None:
    value = {(n, "x"): n for n in range(200)}
    assert received(sent(value)) == value
    shared = [1]
    both: Any = [shared, shared, value, set(value)]
    assert received(sent(both)) == both


def test_hashing_of_shared_tuples_is_bounded() -> None:
    value: Any = (1, 2)
    for _ in range(40):
        value = (value, value)
    data = sent([value, {}])
    assert data.endswith(b"\xa0")
    with pytest.raises(LimitExceeded):
        received(data[:-1] + b"\xa1\xd8\x1d\x00\x00", limits=Limits())


class Picky:
    """A class whose instances are hashed by their contents."""

    def __hash__(self) -> int:
        return hash(self.key)  # type: ignore[attr-defined]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")


def test_errors_of_hashes_and_comparisons() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowInstancesOf(Picky)
    name = text(f"{Picky.__module__}.Picky")
    blank = f"d9b9b2 82 {name} a0"
    one = f"d9b9b2 82 {name} a1 636b6579 01"
    two = "d9b9b2 82 00 a1 636b6579 01"
    for data in (
        f"a1 {blank} 00",
        f"d90102 81 {blank}",
        f"a2 {one} 00 {two} 00",
        f"d90102 82 {one} {two}",
        f"81 d81c d9b9b1 82 {one} {two}",
        "b841" + "".join(f"{one if n == 0 else two} 00" for n in range(65)),
    ):
        with pytest.raises(MalformedJelly, match="hashed"):
            read(data, policy)


def test_instances_as_keys_of_their_own_state() -> None:
    one: Any = Node(n=1)
    one.by = {one: 5}
    one.among = {one}
    found = received(sent(one))
    assert found.by == {found: 5}
    assert found.among == {found}


# Classes.


def test_shapes_of_another_version_are_read() -> None:
    registry = ClassRegistry()
    policy = SecurityOptions(registry)
    policy.allowBasicTypes()

    @copyable(
        "Thing", policy=policy, version=2, upgrade=lambda state, _: {"b": state["a"]}
    )
    @dataclass
    class Thing:
        b: int = 0

    old = "d9b9b3 82 83 65 5468696e67 01 6161 07"
    new = "d9b9b3 82 83 65 5468696e67 02 6162 07"
    for data in (old, new):
        assert read(data, policy) == Thing(7)
    for wrong in (
        "d9b9b3 82 83 65 5468696e67 03 6162 07",
        "d9b9b3 82 83 65 5468696e67 02 6163 07",
    ):
        with pytest.raises(MalformedJelly):
            read(wrong, policy)
    assert read("d9b9b2 82 65 5468696e67 a1 6161 07", policy) == Thing(7)


def test_object_may_have_a_shape_or_an_expression() -> None:
    name = text(NODE)
    for data in (
        f"d9b9b3 82 83 {name} 01 616e 05",
        f"d9b9b6 82 {name} a1 616e 05",
        f"d9b9b2 82 {name} a1 616e 05",
    ):
        assert read(data).n == 5


def test_factories_and_callables() -> None:
    registry = ClassRegistry()
    policy = SecurityOptions(registry)
    policy.allowBasicTypes()
    registry.setUnjellyableFactoryForClass("made", lambda state: ("made", state))
    registry.setUnjellyableForClass("called", lambda unjellier, sexp: sexp)
    policy.allowTypes("made", "called")
    assert read("d9b9b2 82 646d616465 05", policy) == ("made", 5)
    assert read("d9b9b6 82 646d616465 05", policy) == ("made", 5)
    assert read("d9b9b2 82 6663616c6c6564 05", policy) == [b"called", 5]
    assert read("d9b9b6 83 6663616c6c6564 05 6161", policy) == [b"called", 5, "a"]
    with pytest.raises(MalformedJelly):
        read("d9b9b6 83 646d616465 05 06", policy)


class Told(Unjellyable):
    """A class whose instances are notified after the message."""

    told = False

    def postUnjelly(self) -> None:
        self.told = True


class Changing(Unjellyable):
    """A class whose hook returns another object for an expression."""

    def unjellyFor(self, unjellier: Any, jellyList: list[Any]) -> Any:
        unjellier.announce(self)
        box: dict[str, Any] = {}
        unjellier.unjellyInto(box, "state", jellyList[1])
        unjellier.unjelly_state(jellyList[1], box.update)
        return box


def hooks() -> SecurityOptions:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    for cls in (Told, Changing):
        policy.registry.setUnjellyableForClass(cls.__name__, cls)
        policy.allowTypes(cls.__name__)
    return policy


def test_instances_are_notified_after_the_message() -> None:
    assert read(f"d9b9b2 82 {text('Told')} a1 616e 05", hooks()).told


def test_instances_of_a_known_class_are_notified_in_each_message() -> None:
    reader = reader_for(hooks())
    data = bytes.fromhex(f"d9b9b2 82 {text('Told')} a1 616e 05".replace(" ", ""))
    assert [reader.message(data, 0, len(data)).told for _ in range(3)] == [True] * 3


def test_hooks_may_return_another_object() -> None:
    name = text("Changing")
    found = read(f"d9b9b2 82 {name} a1 616e 05", hooks())
    assert found == {"state": {"n": 5}, "n": 5}
    again = read(f"82 d81c d9b9b2 82 {name} a0 d81d00", hooks())
    assert again[0] is again[1]
    with pytest.raises(MalformedJelly, match="made another"):
        read(f"d81c d9b9b2 82 {name} a1 6161 d81d 00", hooks())


def test_names_accepted_by_a_connection() -> None:
    found = read(
        "d9b9b6 82 647768696d 05", types={b"whim": lambda unjellier, sexp: sexp[1]}
    )
    assert found == 5


# Messages.


def test_fields_of_a_message() -> None:
    reader = reader_for()
    data = b"..." + sent([1, "a", {"b": []}]) + b"..."
    assert reader.fields(data, 3, len(data) - 3) == [1, "a", {"b": []}]


def test_refused_field_ends_nothing_else() -> None:
    refused = f"d9b9b2 82 {text('a.Class')} 82 d81c80 d9b9b3 82 83 63526f77 01 6161 05"
    rest = (
        f"82 d81c 81 05 d81d 01 fb3ff8000000000000 d9b9b4 82 {text('Colour')} 63524544"
    )
    row = "d9b9b3 82 01 07"
    data = bytes.fromhex(f"86 01 {refused} {rest} {row} 81 d81d00".replace(" ", ""))
    data = data.replace(b"\x86", b"\x88", 1)
    fields = reader_for().fields(data + b"\x00", 0, len(data) + 1)
    assert fields[0] == 1
    assert isinstance(fields[1], Refusal)
    assert isinstance(fields[1].error, InsecureJelly)
    assert fields[2][0] is fields[2][1]
    assert fields[3] == 1.5
    assert isinstance(fields[5], (Row, Refusal))
    # What was marked within the refused field is there for nobody.
    assert isinstance(fields[6], Refusal)
    assert fields[7] == 0


@pytest.mark.parametrize(
    "rest",
    [
        *("1f", "41", "81", "bbffffffffffffffff", "18", "f8ff", "fc", "d9b9b280"),
        *("", "5bffffffffffffffff", "d9b9b2", "d9b9b29bffffffffffffffff", "d9b9b205"),
        *("fb00", "f4f5f6", "c4", "6261"),
    ],
)
def test_refused_field_is_skipped_if_well_formed(rest: str) -> None:
    head = f"82 d9b9b2 82 {text('a.Class')} 82 00".replace(" ", "")
    data = bytes.fromhex(head + rest)
    try:
        fields = reader_for().fields(data, 0, len(data))
    except DecodeError:
        return
    assert rest == "f4f5f6" or fields == []


def fields_after(refused: str, limits: Limits = WIDE) -> list[Any]:
    """Return the fields of a message with a refused one before the number 5."""
    data = bytes.fromhex(f"82 {refused} 05".replace(" ", ""))
    return reader_for(limits=limits).fields(data, 0, len(data))


@pytest.mark.parametrize(
    ("refused", "limits"),
    [
        (f"d9b9b2 82 {text('long name')} a0", replace(WIDE, string_bytes=8)),
        ("d9b9b3 82 83 6161 01 69" + "61" * 9 + "00", replace(WIDE, string_bytes=8)),
        ("d9b9b3 83 84 6161 01 6162 6163 00 00", replace(WIDE, list_items=3)),
        ("d9b9b3 83 84 6161 01 6162 6163 00 00", replace(WIDE, nodes=6)),
    ],
)
def test_classes_over_the_limits_end_their_field_alone(
    refused: str, limits: Limits
) -> None:
    first, second = fields_after(refused, limits)
    assert isinstance(first.error, LimitExceeded)
    assert second == 5


@pytest.mark.parametrize(
    "shape", ["82 6162 00", "82 6162 20", "82 6162 6163", "82 6162 f5", "82 6162 81"]
)
def test_shapes_without_a_version_within_a_refused_field(shape: str) -> None:
    with pytest.raises(DecodeError):
        fields_after(f"d9b9b2 82 {text('a.Class')} d9b9b3 81 {shape}")


def test_names_within_a_refused_field_that_are_not_utf_8() -> None:
    with pytest.raises(DecodeError, match="UTF-8"):
        fields_after(f"d9b9b2 82 {text('a.Class')} d9b9b2 82 61ff a0")


def test_strings_within_a_refused_field() -> None:
    refused = f"d9b9b2 82 {text('a.Class')} a1 {text('key')} 4161"
    data = bytes.fromhex(f"82 {refused} 05".replace(" ", ""))
    first, second = reader_for().fields(data, 0, len(data))
    assert isinstance(first, Refusal)
    assert second == 5


def test_head_of_a_message() -> None:
    reader = reader_for()
    data = bytes.fromhex("83 1a00010000 80 6161".replace(" ", ""))
    reader.open(data, 0, len(data))
    assert reader.array() == 3
    assert reader.integer() == 65_536
    assert reader.value() == []
    assert reader.position == 7
    with pytest.raises(RuntimeError):
        reader.open(data, 0, len(data))
    with pytest.raises(DecodeError, match="more bytes"):
        reader.check_end()
    for method in (reader.array, reader.integer):
        with pytest.raises(DecodeError):
            method()
    assert reader.value() == "a"
    reader.check_end()
    for method in (reader.array, reader.integer, reader.value):
        with pytest.raises(IncompleteError):
            method()
    reader.close()


@pytest.mark.parametrize("data", ["98", "9bffffffffffffffff", "9900"])
def test_refusal_of_truncated_heads(data: str) -> None:
    raw = bytes.fromhex(data)
    reader = reader_for()
    reader.open(raw, 0, len(raw))
    with pytest.raises(IncompleteError):
        reader.array()


def test_message_is_not_read_beyond_its_end() -> None:
    data = sent([1, 256]) + sent([2])
    for end in (3, 4):
        with pytest.raises(IncompleteError):
            reader_for().fields(data, 0, end)


def test_views_of_large_strings() -> None:
    data = sent([b"x" * 20_000, b"y"])
    large, small = received(data, views=True)
    assert isinstance(large, memoryview)
    assert large.obj is data
    assert small == b"y"


def test_reader_keeps_no_state_between_messages() -> None:
    reader = Reader()
    assert not reader.is_busy
    reader = reader_for()
    data = sent([[Row()], Spot(n=1)])
    for _ in range(3):
        first, second = reader.message(data, 0, len(data))
        assert (type(first[0]), second.n) == (Row, 1)
    with pytest.raises(JellyError):
        reader.message(b"\xd8\x1d\x00", 0, 3)
    with pytest.raises(BananaError):
        reader.message(b"\x9f", 0, 1)
    assert reader.message(b"\x05", 0, 1) == 5
