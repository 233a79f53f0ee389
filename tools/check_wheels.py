"""This module checks the built wheels as a user gets them: installed, from nothing.

    python tools/check_wheels.py DIRECTORY

The directory holds one wheel of each package. The two codec packages are installed
with no index to ask, so that a dependency besides each other cannot be met.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

CODEC = ("pb_jelly", "pb_banana")
WHOLE = (*CODEC, "pb_broker", "pb_cred")

# Run inside the new environment, after its name and those of the modules to import.
IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
LIST = """
from importlib.metadata import distributions
print(*sorted({each.metadata["Name"].lower() for each in distributions()}))
"""


def find_wheel(directory: Path, package: str) -> Path:
    """Return the one wheel of a package, complete with type marker and licence."""
    (wheel,) = directory.glob(f"{package}-*.whl")
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    assert f"{package}/py.typed" in names, f"{wheel.name} has no py.typed"
    assert any(name.endswith("/LICENSE") for name in names), f"{wheel.name}: licence"
    assert not any("tests" in name for name in names), f"{wheel.name} ships tests"
    return wheel


def make_environment(directory: Path, wheels: list[Path], *options: str) -> Path:
    """Make a virtual environment with these wheels and return its interpreter."""
    venv.create(directory, with_pip=True)
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    python = directory / scripts / "python"
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "-qq", *options]
    subprocess.run([python, *pip, *wheels], check=True)
    return python


def words(python: Path, program: str, *arguments: str) -> set[str]:
    """Run a program in an environment, outside the checkout, and return its output."""
    ran = subprocess.run(
        [python, "-I", "-c", program, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return set(ran.stdout.split())


def main(directory: Path) -> None:
    """Check the codec packages without the others, then all four together."""
    wheels = {package: find_wheel(directory, package) for package in WHOLE}
    with tempfile.TemporaryDirectory() as scratch:
        codec = [wheels[package] for package in CODEC]
        python = make_environment(Path(scratch, "codec"), codec, "--no-index")
        installed = words(python, LIST) - {"pip", "setuptools"}
        assert installed == {"pb-banana", "pb-jelly"}, installed
        loaded = words(python, IMPORT, *CODEC)
        assert not loaded & {"twisted", "zope", "asyncio", "socket"}, loaded
        print(f"The codec packages bring {', '.join(sorted(installed))}; no Twisted.")

        python = make_environment(Path(scratch, "whole"), list(wheels.values()))
        words(python, IMPORT, *WHOLE, "pb_cred.pb")
        print(f"All four import: {', '.join(wheel.name for wheel in wheels.values())}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
