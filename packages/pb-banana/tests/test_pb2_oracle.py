from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import cbor2
from hypothesis import assume, given
from hypothesis import strategies as st

from pb_banana import BananaError
from pb_jelly import JellyError

from .pb2 import received, sent

_scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**100), 2**100), st.floats()),
    *(st.text(), st.binary(), st.uuids(), st.fractions(), st.dates()),
    st.decimals(allow_nan=False, allow_infinity=False).filter(lambda x: bool(x)),
    st.datetimes(timezones=st.just(datetime.timezone.utc)).map(
        lambda moment: moment.replace(fold=0)
    ),
)
_keys = st.one_of(st.integers(), st.text(), st.binary())
#: Values that both encode with the tags of the registry.
values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_keys, inner, max_size=4),
        st.sets(_keys, max_size=4),
    ),
    max_leaves=20,
)


def plain(value: Any) -> Any:
    """Return a text form that is equal for mutable and immutable containers."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {"map": sorted((repr(k), repr(plain(v))) for k, v in value.items())}
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(map(repr, value))}
    return repr(value)


@given(values)
def test_cbor2_reads_written_values(value: Any) -> None:
    assert plain(cbor2.loads(sent(value))) == plain(value)
    assert plain(cbor2.loads(sent(value, deterministic=True))) == plain(value)


@given(values, st.booleans())
def test_values_written_by_cbor2_are_read(value: Any, shares: bool) -> None:
    # cbor2 takes the contents of all empty sets, which it writes as a tuple, for one
    # shared value, and pb2 has no reference to the contents of a tag.
    assume(not shares or repr(value).count("set()") < 2)
    data = cbor2.dumps(value, value_sharing=shares)
    assert plain(received(data)) == plain(value)


def test_cbor2_reads_shared_values_and_cycles() -> None:
    shared: list[Any] = [1]
    loop: list[Any] = [shared, {"k": shared}]
    loop.append(loop)
    found = cbor2.loads(sent(loop))
    assert found[0] is found[1]["k"]
    assert found[2] is found
    again = received(cbor2.dumps(loop, value_sharing=True))
    assert again[0] is again[1]["k"]
    assert again[2] is again


def test_registered_types_are_those_of_cbor2() -> None:
    for value in (
        Decimal("-1.50"),
        Fraction(1, 3),
        UUID(int=7),
        1 + 2j,
        datetime.date(2026, 7, 20),
        datetime.datetime(2026, 7, 20, tzinfo=datetime.timezone.utc),
        {1, 2},
        2**70,
    ):
        found = cbor2.loads(sent(value))
        assert (type(found), found) == (type(value), value)


@given(st.binary(max_size=40))
def test_accepted_bytes_are_read_by_cbor2(data: bytes) -> None:
    """The reader accepts well-formed CBOR only."""
    try:
        received(data)
    except (BananaError, JellyError):
        return
    cbor2.loads(data)
