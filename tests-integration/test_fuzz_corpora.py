"""Inputs of the fuzzing corpora, none of which breaks its target any more."""

from __future__ import annotations

from pathlib import Path

import pytest

import fuzz
from fuzz.findings import Finding, expect
from fuzz.inputs import HEADER, expressions_of
from fuzz.mutations import mutated
from fuzz.seeds import seeds
from fuzz.targets import NAMES, target

CORPORA = Path(str(fuzz.__file__)).parent / "corpora"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.trial)])
def test_inputs_of_the_corpora_have_no_finding(name: str, step: int) -> None:
    """For one input in ten, and as a trial for all."""
    paths = sorted((CORPORA / name).iterdir())
    assert len(paths) >= 10
    run = target(name).run
    for path in paths[::step]:
        try:
            run(path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{name}: {path.name}") from error


@pytest.mark.parametrize("name", NAMES)
def test_initial_inputs_exist(name: str) -> None:
    for file, data in seeds(name).items():
        assert (CORPORA / name / file).read_bytes() == data


@pytest.mark.parametrize("name", NAMES)
def test_most_mutations_are_of_expressions(name: str) -> None:
    words = target(name).words
    kept = 0
    for seed, data in enumerate(seeds(name).values()):
        if not expressions_of(data[HEADER:])[0]:
            continue
        made = mutated(data, 4096, seed, words, lambda data, most: b"")
        kept += 1 if made else -1
        assert mutated(data, 4096, seed, words, lambda data, most: b"") == made
    assert kept > 0


def test_broken_property_is_a_finding() -> None:
    expect(True, "it holds")
    with pytest.raises(Finding, match="it does not"):
        expect(False, "it does not")
