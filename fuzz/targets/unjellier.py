"""This module feeds the unjellier.

- Whatever comes, there is an object or a `JellyError`, with a message that is not long.
- Nothing in an object is an affair of the unjellier.
- An object that can be jellied comes back the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from fuzz import classes
from fuzz.findings import Finding, expect
from fuzz.graphs import difference
from fuzz.inputs import WIDE, Input
from pb_banana import PB_VOCABULARY, BananaError, Decoder, Encoder, Limits
from pb_jelly import JellyError, SecurityOptions, Taster, globalSecurity, jelly, unjelly
from pb_jelly._deserialize.forward_references import Pending
from pb_jelly._deserialize.rare_forms import ABSENT, Build

__all__ = ["WORDS", "run"]

WORDS: list[Any] = classes.WORDS

_POLICIES: Final[tuple[Taster, ...]] = (
    *(classes.POLICY, classes.POLICY),
    *(globalSecurity, SecurityOptions()),
)
_LIMITS: Final = Limits(depth=50)
_LONGEST: Final = 1000


def run(data: bytes) -> bool:
    """Feed the first expression of an input to an unjellier.

    Args:
        data: Its options say which policy holds, and whether the modern form is
            accepted.

    Returns:
        Whether there is an expression.

    Raises:
        Finding: One of the promises does not hold.
    """
    given = Input.of(data)
    modern = bool(given.options & 1)
    policy = _POLICIES[given.options >> 1 & 3]
    decoder = Decoder(Limits(depth=60), vocabulary=PB_VOCABULARY)
    try:
        received = decoder.feed(given.stream, 1)
    except BananaError:
        return False
    if not received:
        return False
    before = repr(received[0])
    try:
        value = unjelly(received[0], policy, modern=modern, limits=_LIMITS)
    except JellyError as error:
        expect(len(str(error)) < _LONGEST, "an error's message is long")
        return True
    finally:
        expect(repr(received[0]) == before, "the expression was changed")
    _check_parts(value)
    _check_round(value, policy, modern)
    return True


def _parts_of(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        yield from value
    elif isinstance(value, BaseException):
        yield from (value.args, value.__cause__)
    if not isinstance(value, type):
        yield from getattr(value, "__dict__", {}).values()
    for name in getattr(type(value), "__slots__", ()):
        yield getattr(value, name, None)


def _check_parts(value: Any) -> None:
    """Check that nothing in an object is an affair of the unjellier."""
    module = type(classes)
    seen: dict[int, Any] = {}
    todo = [value]
    while todo:
        part = todo.pop()
        kind = type(part)
        if kind in (Pending, Build) or part is ABSENT:
            raise Finding(f"an object has a {kind.__name__} in it")
        if id(part) not in seen and not isinstance(part, (type, module)):
            seen[id(part)] = part
            todo += _parts_of(part)


def _check_round(value: Any, policy: Taster, modern: bool) -> None:
    """Check that what can be jellied comes back."""
    try:
        sexp = jelly(value, policy, modern=modern)
    except JellyError:
        return
    data = Encoder(WIDE, vocabulary=PB_VOCABULARY).encode(sexp)
    (again,) = Decoder(WIDE, vocabulary=PB_VOCABULARY).feed(data)
    expect(repr(again) == repr(sexp), "an expression is decoded to another")
    try:
        other = unjelly(again, policy, modern=modern)
    except JellyError as error:
        raise Finding(f"what was jellied is refused: {error}") from error
    differs = difference(value, other)
    expect(not differs, f"what was jellied comes back as another: {differs}")
