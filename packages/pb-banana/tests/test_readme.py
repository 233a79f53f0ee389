"""The examples of the README."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from pb_banana.__main__ import main

README = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_examples_of_the_readme() -> None:
    # One after the other, as a reader would try them.
    names: dict[str, Any] = {"__name__": "__main__"}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(block, names)


def test_command_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    (session,) = re.findall(r"```console\n(\$ python -m.*?)```", README, re.DOTALL)
    shown = session.partition("\n")[2].partition("$")[0]
    first = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert first
    exec(first[1], {})

    class Standard:
        buffer = io.BytesIO()

    monkeypatch.setattr(sys, "stdout", Standard)
    assert main(["settings.pb"]) == 0
    assert Standard.buffer.getvalue().decode() == shown
    data = Path("settings.pb").read_bytes()
    Path("settings.txt").write_text(shown)
    assert main(["--encode", "settings.txt", "-o", "settings.pb"]) == 0
    assert Path("settings.pb").read_bytes() == data
