"""This module runs the programs of the document on testing that need a plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from testing_document import run

PYTEST = ("pytest", "-p", "no:cacheprovider", "-W", "error")
LOOP = ("-o", "asyncio_default_fixture_loop_scope=function")


def without(*plugins: str) -> list[str]:
    return [word for plugin in plugins for word in ("-p", f"no:{plugin}")]


@pytest.mark.parametrize(
    ("section", "tests", "options"),
    [
        ("pytest-asyncio", 2, [*without("anyio", "twisted"), *LOOP]),
        ("pytest-asyncio", 2, [*without("twisted"), *LOOP]),
        ("anyio", 1, without("asyncio", "twisted")),
        ("anyio", 1, [*without("twisted"), *LOOP]),
        ("pytest-twisted", 1, without("asyncio", "anyio")),
    ],
)
def test_with_a_plugin(
    section: str, tests: int, options: list[str], tmp_path: Path
) -> None:
    assert f"{tests} passed" in run([section], tmp_path, *PYTEST, *options)
