"""Copiers of pydantic's models, and of classes that other libraries make."""

from __future__ import annotations

import fractions
import ipaddress
import pathlib
import uuid
from typing import Any

import pydantic
import pytest
from pydantic import dataclasses

from pb_jelly import (
    ClassRegistry,
    MalformedJelly,
    SecurityOptions,
    UnjellyableType,
    copyable,
    jelly,
    unjelly,
)


class Payment(pydantic.BaseModel):
    amount: int
    note: str = pydantic.Field(default="", alias="Note")
    secret: str = pydantic.Field(default="unset", exclude=True)
    _private: int = pydantic.PrivateAttr(1)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return self.amount * 2

    def confirm(self) -> str:
        return "confirmed"


class Frozen(pydantic.BaseModel, frozen=True):
    x: Any = None


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Open(pydantic.BaseModel, extra="allow"):
    x: int = pydantic.Field(alias="X")


class Named(pydantic.BaseModel, populate_by_name=True):
    x: int = pydantic.Field(validation_alias=pydantic.AliasChoices("a", "b"))


class Tree(pydantic.BaseModel):
    branches: list[Tree] = []


@dataclasses.dataclass
class Data:
    x: int
    y: int = pydantic.Field(default=5, alias="why")
    secret: str = pydantic.Field(default="unset", exclude=True)


CLASSES: list[Any] = [Payment, Frozen, Numbers, Open, Named, Tree, Data]


@pytest.fixture
def policy() -> SecurityOptions:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    for cls in CLASSES:
        copyable(cls.__name__, policy=policy)(cls)
    return policy


def expression(name: str, **entries: Any) -> Any:
    pairs = [[[b"unicode", key.encode()], value] for key, value in entries.items()]
    return [name.encode(), [b"dictionary", *pairs]]


@pytest.mark.parametrize(
    "value",
    [
        Payment(amount=3, Note="tea"),
        Frozen(x=[Frozen()]),
        Numbers([1, 2]),
        Open.model_validate({"X": 1, "other": 2}),
        Named.model_validate({"a": 5}),
        Tree(branches=[Tree()]),
        Data(x=1, why=2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_round_trip_of_models(value: Any, policy: SecurityOptions) -> None:
    back = unjelly(jelly(value, policy), policy)
    assert type(back) is type(value)
    assert back == value


def test_private_and_computed_fields_are_not_sent(policy: SecurityOptions) -> None:
    payment = Payment(amount=3)
    payment.secret = "known"
    payment._private = 7
    assert jelly(payment, policy) == expression(
        "Payment", amount=3, note=[b"unicode", b""]
    )
    back = unjelly(jelly(payment, policy), policy)
    assert (back.secret, back._private) == ("unset", 1)
    data = Data(x=1)
    data.secret = "known"
    assert jelly(data, policy) == expression("Data", x=1, y=5)


@pytest.mark.parametrize(
    ("sexp", "reason"),
    [
        (expression("Payment", amount=[b"unicode", b"lots"]), "'ValidationError'"),
        (expression("Numbers", root=[b"list", [b"None"]]), "'ValidationError'"),
        (expression("Data", x=[b"list"]), "'ValidationError'"),
        (expression("Payment"), "the field 'amount' is missing"),
        (expression("Payment", amount=1, confirm=1), "has no field 'confirm'"),
        (expression("Payment", amount=1, secret=[b"unicode", b"x"]), "field 'secret'"),
        (expression("Payment", amount=1, _private=1), "no field '_private'"),
        (expression("Payment", amount=1, __pydantic_private__=1), "has no field"),
        (expression("Open", x=1, X=2), "has no field 'X'"),
    ],
)
def test_refusal_of_invalid_state(
    sexp: Any, reason: str, policy: SecurityOptions
) -> None:
    with pytest.raises(MalformedJelly, match=reason):
        unjelly(sexp, policy)


def test_unknown_entries_are_ignored() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    copyable("Frozen", policy=policy, ignore_unknown=True)(Frozen)
    assert unjelly(expression("Frozen", x=1, y=2), policy) == Frozen(x=1)


def test_cycle_of_models(policy: SecurityOptions) -> None:
    tree = Tree()
    tree.branches.append(tree)
    back = unjelly(jelly(tree, policy), policy)
    assert back.branches[0] is back


def test_model_whose_field_has_no_value(policy: SecurityOptions) -> None:
    with pytest.raises(UnjellyableType, match="the field 'amount' has no value"):
        jelly(Payment.model_construct(), policy)


def test_refusal_of_models_without_usable_fields() -> None:
    class Many(pydantic.BaseModel):
        x: int = pydantic.Field(validation_alias=pydantic.AliasChoices("a", "b"))

    class Hidden(pydantic.BaseModel):
        x: int = pydantic.Field(exclude=True)

    for cls, reason in ((Many, "several aliases"), (Hidden, "is excluded and has no")):
        with pytest.raises(TypeError, match=reason):
            copyable("x", registry=ClassRegistry())(cls)


class Path(pathlib.PurePosixPath):
    pass


class Id(uuid.UUID):
    pass


class Address(ipaddress.IPv4Address):
    pass


class Ratio(fractions.Fraction):
    pass


class Mapped:
    """A class with the mark of SQLAlchemy."""

    _sa_class_manager = None


@pytest.mark.parametrize("cls", [Path, Id, Address, Ratio, Mapped])
def test_refusal_of_classes_with_a_librarys_pickling(cls: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot be copyable: (its __|SQLAlchemy)"):
        copyable("x", registry=ClassRegistry())(cls)


def test_classes_with_their_own_pickling() -> None:
    class Own(uuid.UUID):
        def __new__(cls) -> Any:
            return super().__new__(cls)

        def __setstate__(self, state: Any) -> None:
            uuid.UUID.__setstate__(self, state)  # type: ignore[attr-defined]

        def __reduce__(self) -> Any:
            return super().__reduce__()

    registry = ClassRegistry()
    assert copyable("x", registry=registry)(Own) is Own
