"""This module records what two `twisted.spread` brokers say to each other.

Run it to write the recordings anew, one file for each scene, beside itself:

    python tests-integration/golden/record.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.python import failure
from twisted.spread import banana, pb, util

if __name__ == "__main__":  # found as a package when the tests import this module
    sys.path.insert(0, str(Path(__file__).parents[1]))

from golden.conversation import Step, dump, record
from golden.notation import show
from golden.scenarios import CHALLENGE, SCENES, Flavour

HERE = Path(__file__).parent

TWISTED = Flavour(pb, util)


def describe(data: bytes) -> str:
    """Return what was written as s-expressions."""
    decoder: Any = banana.Banana()
    decoder.setPrefixLimit(64)
    decoder.currentDialect = b"pb"
    found: list[str] = []
    decoder.expressionReceived = lambda expression: found.append(show(expression))
    decoder.dataReceived(data)
    return " ".join(found)


@contextmanager
def fixed_challenge(module: object) -> Iterator[None]:
    """Have the server of `module` send a challenge that is always the same."""
    with mock.patch.object(module, "challenge", return_value=CHALLENGE):
        yield


def path_of(name: str) -> Path:
    """Return where the recording of a scene is."""
    return HERE / f"{name}.txt"


def converse(name: str) -> tuple[str, list[Step]]:
    """Have the conversation `name` with `twisted.spread` at both ends.

    Returns:
        What the conversation is about, and what was said.
    """
    scene = SCENES[name](TWISTED)
    # Failures are numbered from the start of the process, and the number is sent.
    with fixed_challenge(pb), mock.patch.object(failure, "count", 0):
        return scene.about, record(scene)


def main() -> None:
    """Write every recording."""
    for name in SCENES:
        path_of(name).write_text(dump(*converse(name), describe), encoding="utf-8")
        print(path_of(name).name)


if __name__ == "__main__":
    main()
