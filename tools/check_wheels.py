"""This module checks the built wheels as a user gets them: installed, from nothing.

    python tools/check_wheels.py DIRECTORY

The directory holds one wheel of each package, plain or compiled. Plain wheels of the
two codec packages are installed with no index to ask, so that a dependency besides each
other cannot be met; compiled ones need what their modules call.
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
    module = importlib.import_module(name)
    # Public names are imported at their first use.
    [getattr(module, public) for public in module.__all__]
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
LIST = """
from importlib.metadata import distributions
print(*sorted({each.metadata["Name"].lower() for each in distributions()}))
"""
# What a codec must do: the bytes are those of the other kind of wheel, too.
USE = """
import pb_banana, pb_jelly
value = {"due": [1, -2.5, None, True, b"raw"], "many": [{"id": n} for n in range(99)]}
data = pb_banana.dumps(value)
assert pb_banana.loads(data) == value
assert pb_jelly.is_compiled == pb_banana.is_compiled
print(len(data), "compiled" if pb_banana.is_compiled else "plain")
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


def kind_of(wheel: Path) -> str:
    """Return whether a wheel is plain or compiled, by its name and by what is in it."""
    with ZipFile(wheel) as archive:
        natives = [
            each for each in archive.namelist() if each.endswith((".so", ".pyd"))
        ]
    is_any = wheel.name.endswith("-py3-none-any.whl")
    assert is_any != bool(natives), f"{wheel.name} is not what it is called"
    return "plain" if is_any else "compiled"


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
    kinds = {package: kind_of(wheels[package]) for package in CODEC}
    (kind,) = set(kinds.values())
    needed = {"librt"} if kind == "compiled" else set()
    with tempfile.TemporaryDirectory() as scratch:
        codec = [wheels[package] for package in CODEC]
        options = [] if needed else ["--no-index"]
        python = make_environment(Path(scratch, "codec"), codec, *options)
        installed = words(python, LIST) - {"pip", "setuptools"}
        # Newer ones of librt bring that along.
        installed -= {"mypy_extensions"} if needed else set()
        assert installed == {"pb-banana", "pb-jelly"} | needed, installed
        loaded = words(python, IMPORT, *CODEC)
        assert not loaded & {"twisted", "zope", "asyncio", "socket"}, loaded
        said = words(python, USE)
        assert said == {"610", kind}, said
        print(f"The {kind} codec brings {', '.join(sorted(installed))}; no Twisted.")

        python = make_environment(Path(scratch, "whole"), list(wheels.values()))
        words(python, IMPORT, *WHOLE, "pb_cred.pb")
        print(f"All four import: {', '.join(wheel.name for wheel in wheels.values())}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
