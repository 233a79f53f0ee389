"""This module starts a program on the drop-in, in place of ``twisted.spread``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from . import install

__all__ = ["main"]

USAGE = "usage: python -m pb_cred.drop_in (SCRIPT | -m MODULE) [ARGUMENT ...]"


def main(arguments: list[str]) -> None:
    """Install the drop-in and run a program, as ``python`` itself would.

    Args:
        arguments: A script, or ``-m`` and a module, and the program's arguments.

    Raises:
        SystemExit: The program ends so; or no program is named.
    """
    is_module = arguments[:1] == ["-m"]
    program = arguments[1:] if is_module else arguments
    if not program or program[0].startswith("-"):
        sys.exit(USAGE)
    install()
    sys.argv = program
    if is_module:
        runpy.run_module(program[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(program[0]).resolve().parent)
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
