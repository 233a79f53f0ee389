"""This module feeds one target with what coverage leads to: ``python -m fuzz.engine``.

It is a process of its own for each target, started by ``python -m fuzz``; it takes the
name of the target and then what libFuzzer takes.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import Any

__all__ = ["main"]

#: What is instrumented: nothing of what only does the feeding.
_PACKAGES = ["pb_jelly", "pb_banana", "pb_broker", "pb_cred"]


def main(arguments: list[str]) -> None:
    """Feed a target until libFuzzer has enough.

    Args:
        arguments: The name of the target, and the arguments of libFuzzer.
    """
    # Not installed where nobody fuzzes, and it has no types.
    atheris: Any = import_module("atheris")
    name, *rest = arguments
    # Nothing of the packages may have been imported before.
    with atheris.instrument_imports(include=_PACKAGES):
        target: Any = import_module("fuzz.targets").target(name)
        mutated: Any = import_module("fuzz.mutations").mutated
    _keep_no_log()

    def run(data: bytes) -> int:
        return 0 if target.run(data) else -1

    def mutate(data: bytes, most: int, seed: int) -> Any:
        return mutated(data, most, seed, target.words, atheris.Mutate)

    # What is there now stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    atheris.Setup([sys.argv[0], *rest], run, custom_mutator=mutate)
    atheris.Fuzz()


def _keep_no_log() -> None:
    """Have Twisted keep nothing for a log that nobody begins."""
    logger: Any = import_module("twisted.logger")
    logger.globalLogBeginner.beginLoggingTo(
        [], redirectStandardIO=False, discardBuffer=True
    )


if __name__ == "__main__":
    main(sys.argv[1:])
