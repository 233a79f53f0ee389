"""The installation of the drop-in and its launcher, each in a process of its own.

The process of the tests may have imported `twisted.spread` itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pb_cred import DropInError
from programs import run_program


def python(*arguments: str, code: int = 0) -> str:
    """Run a program and return its output; that of a failed one is its errors."""
    ran = run_program(*arguments, warnings=["error"])
    assert ran.returncode == code, ran.stderr
    return ran.stdout if code == 0 else ran.stderr


INSTALL = """
import sys
import pb_cred.drop_in
before = set(sys.modules)
pb_cred.drop_in.install()
installed = set(sys.modules) - before
"""


def test_installation_replaces_seven_modules() -> None:
    said = python("-c", f"""{INSTALL}
from importlib import import_module
for name in sorted(installed):
    module = import_module(name)
    print(name, module.__name__)
    assert getattr(sys.modules["twisted.spread"], name.rpartition(".")[2]) is module
""")  # fmt: skip
    names = ("banana", "flavors", "interfaces", "jelly", "pb", "publish", "util")
    assert said.splitlines() == [
        f"twisted.spread.{name} pb_cred.drop_in._{name}" for name in names
    ]


def test_installation_loads_no_module_of_twisted_spread() -> None:
    said = python("-c", f"""{INSTALL}
from twisted.spread import banana, flavors, interfaces, jelly, pb, publish, util
import twisted.spread.pb as the_same
from twisted.spread.pb import *
assert the_same is pb and Broker is pb.Broker and MAX_BROKER_REFS == 1024
from twisted.web import server
assert issubclass(server.Request, pb.Copyable)
import twisted.spread
home = twisted.spread.__path__[0]
print([
    name
    for name, module in sorted(sys.modules.items())
    if (getattr(module, "__file__", None) or "").startswith(home)
])
""")  # fmt: skip
    assert said.strip() == "['twisted.spread']"


def test_import_alone_installs_no_module() -> None:
    said = python("-c", """
import sys
import pb_cred.drop_in
print([name for name in sys.modules if name.startswith("twisted.spread")])
""")  # fmt: skip
    assert said.strip() == "['twisted.spread']"


def test_repeated_installation_has_no_effect() -> None:
    said = python("-c", f"""{INSTALL}
from twisted.spread import pb
pb_cred.drop_in.install()
from twisted.spread import pb as again
print(pb is again)
""")  # fmt: skip
    assert said.strip() == "True"


@pytest.mark.parametrize(
    ("first", "name"),
    [
        ("twisted.spread.util", "twisted.spread.banana"),
        ("twisted.spread.interfaces", "twisted.spread.interfaces"),
        ("twisted.web.server", "twisted.spread.banana"),
    ],
)
def test_refusal_to_install_after_an_import_of_the_original(
    first: str, name: str
) -> None:
    said = python("-c", f"""
import sys
import {first}
theirs = dict(sys.modules)
import pb_cred.drop_in
try:
    pb_cred.drop_in.install()
except RuntimeError as error:
    print(type(error).__name__, error)
print(all(sys.modules[name] is module for name, module in theirs.items()))
""")  # fmt: skip
    assert said.startswith(f"DropInError {name} has been imported already")
    assert said.endswith("True\n")
    assert issubclass(DropInError, RuntimeError)


def test_launcher_runs_a_script(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("SAID = 'beside'")
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, beside\n"
        "from twisted.spread import pb\n"
        "print(__name__, sys.argv[1:], beside.SAID, pb.__name__)\n"
    )
    said = python("-m", "pb_cred.drop_in", str(script), "-x", "y")
    assert said == "__main__ ['-x', 'y'] beside pb_cred.drop_in._pb\n"


def test_launcher_runs_a_module() -> None:
    said = python("-m", "pb_cred.drop_in", "-m", "twisted.trial", "--version")
    assert "Twisted" in said


def test_launcher_keeps_the_exit_code(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text("raise SystemExit('enough')")
    said = python("-m", "pb_cred.drop_in", str(script), code=1)
    assert said == "enough\n"


@pytest.mark.parametrize("arguments", [[], ["-m"], ["--help"]])
def test_launcher_without_a_program_prints_its_usage(arguments: list[str]) -> None:
    said = python("-m", "pb_cred.drop_in", *arguments, code=1)
    assert said.startswith("usage: python -m pb_cred.drop_in")


def test_documented_names_are_present() -> None:
    said = python("-c", f"""{INSTALL}
from twisted.internet import reactor
from twisted.spread import pb

class Root(pb.Root):
    def remote_fail(self):
        raise pb.Error("known")

async def main():
    port = reactor.listenTCP(0, pb.PBServerFactory(Root()), interface="127.0.0.1")
    where = "127.0.0.1", port.getHost().port
    root = await pb.getObjectAt(*where)
    broker = await pb.connect(*where, pb.PBClientFactory())
    try:
        await root.callRemote("fail")
    except pb.RemoteError as error:
        print(type(root.broker) is type(broker) is pb.Broker, error.remoteType)
    reactor.stop()

from twisted.internet.defer import ensureDeferred
reactor.callWhenRunning(lambda: ensureDeferred(main()))
reactor.run()
""")  # fmt: skip
    assert said.strip() == "True b'twisted.spread.pb.Error'"
