"""The drop-in beside ``twisted.spread``: the same output, names and refusals."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from programs import run_program, started

MODULES = ("banana", "flavors", "interfaces", "jelly", "pb", "publish", "util")

PROGRAMS = Path(__file__).with_name("drop_in_programs")

#: How a program written for `twisted.spread` is started: without us, and with us.
THEIRS = ()
OURS = ("-m", "pb_cred.drop_in")


def output(command: tuple[str, ...], program: str, *arguments: str) -> str:
    """Run a program and return its output."""
    run = run_program(*command, PROGRAMS / program, *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    "program", ["failures.py", "flavors.py", "logins.py", "storage.py"]
)
def test_program_prints_the_same_through_the_drop_in(program: str) -> None:
    theirs = output(THEIRS, program)
    assert len(theirs.splitlines()) > 5
    assert output(OURS, program) == theirs


def conversation(server: tuple[str, ...], client: tuple[str, ...]) -> tuple[str, str]:
    """Run the calculator's two programs; return the output of server and client."""
    with started(*server, PROGRAMS / "calculator_server.py") as serving:
        assert serving.stdout is not None
        port = serving.stdout.readline().strip()
        heard = output(client, "calculator_client.py", port)
        said = serving.stdout.read()
        assert serving.wait() == 0
    return said, heard


@pytest.fixture(scope="module")
def theirs() -> tuple[str, str]:
    """Conversation of the two with twisted.spread at both ends."""
    said, heard = conversation(THEIRS, THEIRS)
    assert len(said.splitlines()) == 4
    assert len(heard.splitlines()) == 11
    return said, heard


@pytest.mark.parametrize(
    ("server", "client"),
    [
        pytest.param(OURS, THEIRS, id="the server"),
        pytest.param(THEIRS, OURS, id="the client"),
        pytest.param(OURS, OURS, id="both"),
    ],
)
def test_program_prints_the_same_with_one_end_on_the_drop_in(
    server: tuple[str, ...], client: tuple[str, ...], theirs: tuple[str, str]
) -> None:
    said, heard = conversation(server, client)
    assert heard == theirs[1]
    # The last reference of one and the connection of the other go at about one time.
    assert sorted(said.splitlines()) == sorted(theirs[0].splitlines())


def logins(server: tuple[str, ...], client: tuple[str, ...]) -> tuple[str, str]:
    """Run the two ends of the logins; return the output of server and client."""
    program = PROGRAMS / "logins.py"
    with (
        open(os.devnull, "w") as nowhere,
        started(*server, program, "server", stderr=nowhere.fileno()) as serving,
    ):
        assert serving.stdout is not None
        port = serving.stdout.readline().strip()
        heard = output(client, "logins.py", "client", port)
        serving.terminate()
        return serving.stdout.read(), heard


@pytest.mark.parametrize(
    ("server", "client"),
    [
        pytest.param(OURS, THEIRS, id="the server"),
        pytest.param(THEIRS, OURS, id="the client"),
        pytest.param(OURS, OURS, id="both"),
    ],
)
def test_names_and_refusals_are_the_same_with_either_end_on_the_drop_in(
    server: tuple[str, ...], client: tuple[str, ...]
) -> None:
    theirs = logins(THEIRS, THEIRS)
    assert theirs[0].count("True 127.0.0.1") == len(theirs[1].splitlines()) == 5
    assert "you were here too long" in theirs[1]
    assert logins(server, client) == theirs


PRIVATE = {
    "flavors": ["_createBlank"],
    "jelly": ["_Jellier", "_Unjellier", "_createBlank", "_maybeClass", "_newInstance"],
    "pb": [
        "_JellyableAvatarMixin",
        "_PortalAuthChallenger",
        "_PortalRoot",
        "_PortalWrapper",
        "_newInstance",
    ],
}


@pytest.mark.parametrize("name", PRIVATE)
def test_private_names_used_by_programs_exist(name: str) -> None:
    ours = import_module(f"pb_cred.drop_in._{name}")
    assert [key for key in PRIVATE[name] if not hasattr(ours, key)] == []


#: What the original imports for annotations alone, or in some versions.
NOT_FOR_PROGRAMS = {"Callable", "TYPE_CHECKING", "annotations", "_i", "_pubReady"}


@pytest.mark.filterwarnings("ignore:.*instance_atom")
@pytest.mark.parametrize("name", MODULES)
def test_names_imported_by_the_original_exist(name: str) -> None:
    theirs = set(vars(import_module(f"twisted.spread.{name}")))
    theirs -= NOT_FOR_PROGRAMS | {key for key in theirs if key.startswith("__")}
    ours = import_module(f"pb_cred.drop_in._{name}")
    assert {key for key in theirs if not hasattr(ours, key)} == set()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ours.nothing  # noqa: B018


def published(module: ModuleType) -> set[str]:
    """Return the names that a module of `twisted.spread` has to offer."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and (
            name in getattr(module, "__all__", ())
            or type(value) in (bytes, int, dict)
            or getattr(value, "__module__", "").startswith("twisted.spread")
        )
    }


@pytest.mark.filterwarnings("ignore:.*instance_atom")
@pytest.mark.parametrize("name", MODULES)
def test_published_names_exist(name: str) -> None:
    theirs = published(import_module(f"twisted.spread.{name}"))
    ours = import_module(f"pb_cred.drop_in._{name}")
    assert theirs
    assert {key for key in theirs if not hasattr(ours, key)} == set()
