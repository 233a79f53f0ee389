"""pb-jelly beside ``twisted.spread.jelly``: the same expressions and objects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from twisted.spread import banana
from twisted.spread import jelly as legacy

import pb_jelly
from jelly_graphs import INSTANCES, Hooked, graphs, is_same
from trials import examples

many = settings(max_examples=examples(500), suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the class with hooks on both sides, for one test."""
    name: Any = pb_jelly.qual(Hooked).encode()
    monkeypatch.setitem(legacy.unjellyableRegistry, name, Hooked)
    monkeypatch.setitem(pb_jelly.unjellyableRegistry, name, Hooked)


def wire(sexp: Any) -> bytes:
    """Return the bytes that Twisted sends for an s-expression."""
    encoded: bytes = banana.encode(sexp)
    return encoded


@many
@given(graphs())
def test_same_expressions_with_the_permissive_policy(graph: Any) -> None:
    ours = pb_jelly.jelly(graph)
    assert ours == legacy.jelly(graph)
    # What is equal in Python may still be different on the wire.
    assert repr(ours) == repr(legacy.jelly(graph))
    assert is_same(graph, pb_jelly.unjelly(ours, pb_jelly.DummySecurityOptions()))


@many
@given(graphs(instances=False))
def test_same_expressions_and_objects_with_the_global_policy(graph: Any) -> None:
    ours = pb_jelly.jelly(graph, pb_jelly.globalSecurity)
    assert repr(ours) == repr(legacy.jelly(graph, legacy.globalSecurity))
    assert is_same(graph, pb_jelly.unjelly(ours))
    assert is_same(graph, pb_jelly.unjelly(ours, legacy.globalSecurity))


@many
@given(graphs(knots=False))
def test_each_implementation_reads_the_others_expressions(graph: Any) -> None:
    assert is_same(graph, legacy.unjelly(pb_jelly.jelly(graph)))
    policy = pb_jelly.SecurityOptions()
    policy.allowInstancesOf(*INSTANCES)
    assert is_same(graph, pb_jelly.unjelly(legacy.jelly(graph), policy))
