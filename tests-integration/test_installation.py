"""Commands of the document on installation, each in an empty environment.

They ask the package index for what the packages need, so they are part of the trials.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

import pb_banana
import pb_broker
import pb_cred
import pb_jelly

# Python 3.10 has none of its own.
tomllib: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

ROOT: Final = Path(__file__).parents[1]
TEXT: Final = (ROOT / "docs" / "installation.md").read_text("utf-8")

#: Run in the new environment: all names of all packages, and the values of extras.
USE: Final = """
import pb_banana, pb_broker, pb_cred, pb_jelly
from pb_cred import pb
for module in (pb_jelly, pb_banana, pb_broker, pb_cred, pb):
    [getattr(module, name) for name in module.__all__]
import OpenSSL, service_identity
print(pb_cred.__file__, pb_banana.is_compiled, pb_cred.__version__)
"""


def commands(heading: str) -> list[str]:
    """Return the blocks of commands under a heading."""
    (text,) = re.findall(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL
    )
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def project(package: str) -> dict[str, Any]:
    path = ROOT / "packages" / package / "pyproject.toml"
    found: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))["project"]
    return found


class Environment:
    """An empty environment, and a copy of what git has of the checkout."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "env", with_pip=True)
        self.checkout = folder / "checkout"
        clone = ["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(self.checkout)]
        subprocess.run(clone, check=True)
        self._bin = folder / "env" / "bin"

    def run(self, commands: str, **variables: str) -> None:
        """Run commands of the document in the checkout."""
        path = f"{self._bin}{os.pathsep}{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        subprocess.run(
            ["sh", "-ec", commands],
            cwd=self.checkout,
            env={**kept, "PATH": path, "PIP_QUIET": "2", **variables},
            check=True,
        )

    def use(self) -> list[str]:
        """Use all packages, and return what that prints, in words."""
        ran = subprocess.run(
            [self._bin / "python", "-I", "-c", USE],
            check=True,
            capture_output=True,
            text=True,
        )
        return ran.stdout.split()


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


@pytest.mark.trial
def test_installation_from_an_index(environment: Environment) -> None:
    plain, from_folder = commands("From an index")
    assert from_folder == plain.replace(
        "pip install", "pip install --find-links dist/plain"
    )
    shutil.rmtree(environment.checkout / "dist", ignore_errors=True)
    environment.run("pip wheel --no-deps -w dist/plain ./packages/*")
    environment.run(from_folder)
    assert environment.use()[1:] == ["False", pb_cred.__version__]


@pytest.mark.trial
def test_installation_from_a_checkout(environment: Environment) -> None:
    (block,) = commands("From a checkout")
    environment.run(block)
    assert "site-packages" in environment.use()[0]
    environment.run(block.replace(" ./", " -e ./").replace(" './", " -e './"))
    assert environment.use()[0].startswith(str(environment.checkout))


@pytest.mark.trial
def test_installation_from_git(environment: Environment) -> None:
    (block,) = commands("From git")
    environment.run(block, REPOSITORY=f"file://{environment.checkout}")
    # What is beneath TLS is an extra, which this way leaves to be named.
    environment.run("pip install 'pb-cred[tls]'")
    assert "site-packages" in environment.use()[0]


@pytest.mark.trial
def test_compiled_installation_from_source(environment: Environment) -> None:
    (block,) = commands("From a checkout")
    environment.run(block)
    (block,) = commands("The compiled codec")
    environment.run(block)
    assert environment.use()[1] == "True"


def test_extras_of_lower_packages_are_extras_of_the_whole() -> None:
    lower = set(project("pb-broker")["optional-dependencies"])
    assert lower <= set(project("pb-cred")["optional-dependencies"])


def test_every_extra_is_documented() -> None:
    for package in ("pb-broker", "pb-cred"):
        for extra in project(package)["optional-dependencies"]:
            rows = re.findall(rf"^\| .*`{extra}`.* \| (.*) \| .* \|$", TEXT, re.M)
            assert any(package in row for row in rows), extra


def test_readme_has_the_commands_of_the_document() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (block,) = commands("From a checkout")
    assert block in readme
    (first, _) = commands("From an index")
    assert first.strip() in readme


def test_versions_are_those_of_the_distributions() -> None:
    for module in (pb_jelly, pb_banana, pb_broker, pb_cred):
        assert re.fullmatch(r"\d+\.\d+\.\d+", module.__version__)
        name = module.__name__.replace("_", "-")
        assert project(name)["dynamic"] == ["version"]
