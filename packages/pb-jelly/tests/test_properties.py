"""Round trips of random graphs of objects."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from pb_jelly import SExp, jelly, unjelly

from .support import POLICY, assert_same, graphs


def is_sexp(sexp: Any) -> bool:
    """Return True if a value consists of the types of s-expressions only."""
    todo = [sexp]
    for part in todo:
        if type(part) is list:
            todo += part
        elif type(part) not in (bytes, int, float):
            return False
    return True


@given(graphs())
def test_round_trip_keeps_values_and_identities(graph: Any) -> None:
    sexp: SExp = jelly(graph, POLICY)
    assert is_sexp(sexp)
    assert_same(graph, unjelly(sexp, POLICY))


@given(graphs(modern=True))
def test_round_trip_of_modern_types_keeps_values_and_identities(graph: Any) -> None:
    sexp = jelly(graph, POLICY, modern=True)
    assert is_sexp(sexp)
    assert_same(graph, unjelly(sexp, POLICY, modern=True))
