"""Signatures of interfaces' methods and of their implementations."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from pb_broker._interfaces.interfaces import misfit


def signature(text: str) -> inspect.Signature:
    namespace: dict[str, Any] = {}
    exec(f"def f({text}): ...", namespace)
    return inspect.signature(namespace["f"])


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("", ""),
        ("a, b", "a, b"),
        ("a, b", "a, b=0"),
        ("a, b", "a, b, c=0, *, d=0, **e"),
        ("a, b=0", "a, b=1"),
        ("a, /", "b"),
        ("a, /", "b, /"),
        ("a, /", "*b"),
        ("a, b", "*args, **kw"),
        ("a, b", "a, *args, b=0, **kw"),
        ("*, a", "a"),
        ("*, a", "*, a=0"),
        ("*, a=0", "*, a=1"),
        ("*, a", "**kw"),
        ("a, *rest, b=0, **kw", "a, *args, b=0, **more"),
        ("*args", "a=0, *args"),
    ],
)
def test_signatures_that_fit(wanted: str, given: str) -> None:
    assert misfit(signature(wanted), signature(given)) is None


@pytest.mark.parametrize(
    ("wanted", "given", "reason"),
    [
        ("a", "", "it does not take 'a' by position"),
        ("a", "*, a", "it does not take 'a' by position"),
        ("a", "a, /", "it does not take 'a' by name"),
        ("a", "*args", "it does not take 'a' by name"),
        ("a", "b", "it calls 'a' 'b'"),
        ("a, b", "b, a", "it calls 'a' 'b'"),
        ("a=0", "a", "it cannot do without 'a'"),
        ("a=0, /", "b, /", "it cannot do without 'a'"),
        ("a", "a, b", "it needs 'b' as well"),
        ("a", "a, *, b", "it needs 'b' as well"),
        ("*, a", "", "it takes no keyword argument 'a'"),
        ("*, a", "a, /", "it takes no keyword argument 'a'"),
        ("*, a=0", "*, a", "it cannot do without 'a'"),
        ("*args", "a=0", "it takes no further positional arguments"),
        ("**kw", "a=0", "it takes no further keyword arguments"),
    ],
)
def test_signatures_that_do_not_fit(wanted: str, given: str, reason: str) -> None:
    assert misfit(signature(wanted), signature(given)) == reason
