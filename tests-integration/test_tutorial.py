"""Programs of the tutorial, and the script of the document on passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from documented_servers import serving, visit
from programs import run_program

DOCUMENTS = Path(__file__).parents[1] / "docs"

#: How Twisted hands certificates that it was given to pyOpenSSL.
TWISTED = "Passing pyOpenSSL:DeprecationWarning"


def programs(document: str) -> dict[str, str]:
    """Return the programs of a document, by the names in their first lines."""
    text = (DOCUMENTS / document).read_text("utf-8")
    return dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", text, re.M | re.S))


TUTORIAL = programs("tutorial.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the certificates and the accounts of the tutorial."""
    folder = tmp_path_factory.mktemp("chat")
    text = (DOCUMENTS / "tutorial.md").read_text("utf-8")
    (folder / "certificates").mkdir()
    assert "python -m trustme -d certificates" in text
    run = run_program("-m", "trustme", "-d", "certificates", cwd=folder, fresh=True)
    assert run.returncode == 0, run.stderr
    commands = re.findall(r"^pb-passwd (add .*)$", text, re.M)
    assert [command.split()[-1] for command in commands] == ["alice", "bob"]
    for command in commands:
        words = command.split()
        passwd = "import sys; from pb_cred._pb_passwd import main; sys.exit(main())"
        run = run_program(
            *("-c", passwd, *words, "--stdin"), cwd=folder, stdin="sesame\n"
        )
        assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[str]:
    """Return the port of the tutorial's server."""
    with serving(TUTORIAL["server"], folder) as port:
        yield port


def say(
    folder: Path, port: str, text: str, password: str = "sesame"
) -> tuple[str, str]:
    client = TUTORIAL["client"].replace("getpass()", repr(password))
    client = client.replace("sys.argv[1:]", repr(["alice", text]))
    run = visit(client, port, folder, TWISTED)
    return run.stdout, run.stderr


def test_chat_of_the_tutorial(folder: Path, port: str) -> None:
    text = (DOCUMENTS / "tutorial.md").read_text("utf-8")
    (console,) = re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S)
    _, hello, nothing = re.split(r"^\$ .*\nPassword:\n", console, flags=re.M)
    assert say(folder, port, "hello") == (hello, "")
    assert say(folder, port, "") == (nothing, "")


def test_wrong_password_in_the_tutorial(folder: Path, port: str) -> None:
    said, error = say(folder, port, "hello", password="simsalabim")
    assert said == ""
    assert "UnauthorizedLogin" in error


SERVER = """
from pb_cred import pb, stores
from pb_cred.tickets import Tickets
from twisted.cred.portal import Portal
from twisted.internet.task import react

HERE = "ssl:8787:privateKey=certificates/server.key:certKey=certificates/server.pem"


class Reporter(pb.Avatar):
    def perspective_report(self):
        return pb.session_of(self).mechanism


async def main(reactor):
    portal = Portal(pb.Realm(Reporter), [stores.PasswordFile("accounts")])
    async with pb.serve(HERE, portal, tickets=Tickets()) as server:
        await server.serve_forever()


react(main)
"""


def test_script_that_logs_in_by_a_ticket(folder: Path) -> None:
    script = programs("passwords.md")["report"].replace("getpass()", "'sesame'")
    with serving(SERVER, folder) as port:
        runs = [visit(script, port, folder, TWISTED) for _ in range(3)]
    assert [run.stderr for run in runs] == [""] * 3
    first, *later = [run.stdout.strip() for run in runs]
    assert first.startswith("SCRAM-SHA-256")
    assert later == ["PB-TICKET"] * 2
    assert (folder / "ticket").stat().st_mode & 0o777 == 0o600
