"""Each example, and the output that its docstring promises."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trustme

from documented_servers import serving, visit
from programs import run_program, started

EXAMPLES = Path(__file__).parents[1] / "examples"

#: Every file that says what it prints is a program to run.
PROGRAMS = sorted(
    path
    for path in EXAMPLES.rglob("*.py")
    if "\nPrints:\n" in path.read_text(encoding="utf-8")
)

#: An example is to be read in one look.
LINES = 60


def relative(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    fresh = "sys.modules" in path.read_text(encoding="utf-8")
    return run_program(path, *arguments, warnings=["error"], fresh=fresh)


def promise(path: Path) -> str:
    """Return the output that the docstring of an example promises."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return textwrap.dedent(text.partition("\nPrints:\n")[2]).rstrip() + "\n"


def test_list_of_examples_is_complete() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert len(PROGRAMS) > 12
    assert [path for path in PROGRAMS if f"({relative(path)})" not in listed] == []


@pytest.mark.parametrize("path", PROGRAMS, ids=relative)
def test_example_prints_the_lines_of_its_docstring(path: Path) -> None:
    ran = run(path)
    assert (ran.stdout, ran.returncode) == (promise(path), 0), ran.stderr


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(EXAMPLES.rglob("*.py")) if path.parent.name != "demo"],
    ids=relative,
)
def test_example_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


def test_output_of_the_demo() -> None:
    ran = run(EXAMPLES / "demo" / "demo.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "None\n" not in ran.stdout
    steps = re.split(r"\n\d\. ", ran.stdout)[1:]
    connects, logs_in, stores, is_called, watches, fails, leaves = steps
    # What happened, and what crossed the wire when it did.
    for step, outcome, message in [
        (connects, "=> connected by TLSv1.3 to localhost", "<- (pb none)"),
        (connects, "its root object", "-> (version 6)"),
        (
            logs_in,
            "=> she came by SCRAM-SHA-256-PLUS; the server made an avatar",
            "-> (message 2 root begin 1 (tuple (unicode SCRAM-SHA-256-PLUS)",
        ),
        (stores, "a copy of a copy: tea: buy some", "store 1 (tuple (notes.Note"),
        (is_called, "yes, I remember 'tea'", "remind 1 (tuple (remote 1))"),
        (watches, "said 2 notes, and by itself came to say 3", "<- (cachemessage"),
        (fails, "caught here as ValueError: there is no note", "<- (error "),
        (leaves, "=> nothing is left behind", "-> (decref "),
    ]:
        assert outcome in step
        assert message in step
    assert max(map(len, ran.stdout.splitlines())) <= 100


def test_demo_fails_if_a_part_fails(tmp_path: Path) -> None:
    for path in (EXAMPLES / "demo").glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "server.py").write_text("raise SystemExit('no server today')")
    ran = run(tmp_path / "demo.py")
    assert ran.returncode == 1
    assert "The demo failed" in ran.stderr
    assert "no server today" in ran.stderr


def run_client(port: str, authority: Path) -> subprocess.CompletedProcess[str]:
    """Run the client of the demo."""
    return run(EXAMPLES / "demo" / "client.py", port, str(authority))


def test_client_of_the_demo_fails_without_a_server(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    ran = run_client("1", tmp_path / "authority.pem")
    assert ran.returncode != 0
    assert "ConnectionRefusedError" in ran.stderr


def test_client_of_the_demo_refuses_another_server(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "another.pem"))
    program = EXAMPLES / "demo" / "server.py"
    with started(program, tmp_path / "authority.pem", reads=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        accepted = run_client(port, tmp_path / "authority.pem")
        refused = run_client(port, tmp_path / "another.pem")
    assert accepted.returncode == 0, accepted.stderr
    assert refused.returncode != 0
    assert "before it was ready: " in refused.stderr
    assert "certificate verify failed" in refused.stderr
    _, begins, step = refused.stdout.partition("\n1. ")
    assert begins
    # Neither of them has said a word of PB.
    assert "->" not in step
    assert "<-" not in step


def readme(name: str) -> tuple[list[str], str, str, str]:
    """Return the commands of a README.

    Returns:
        The commands that go before, the server, the client, and the client's output.
    """
    text = (EXAMPLES.parent / name).read_text(encoding="utf-8")
    (before,) = re.findall(r"^```sh\n(pip .*?)^```$", text, re.MULTILINE | re.DOTALL)
    programs = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (says,) = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    server, client = (each for each in programs if "react(main)" in each)
    return before.splitlines(), server, client, says


def make_certificates(commands: list[str], folder: Path) -> None:
    """Run the commands of a README that go before its programs."""
    install, *commands = commands
    # These are here, or this module would not be.
    assert re.fullmatch(r"pip install 'pb-(cred|broker)\[tls\]' trustme", install)
    assert commands == ["mkdir certificates", "python -m trustme -d certificates"]
    (folder / "certificates").mkdir()
    command = ("-m", "trustme", "-d", "certificates")
    made = run_program(*command, cwd=folder, warnings=["error"])
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize(
    "name", ["README.md", "packages/pb-broker/README.md", "packages/pb-cred/README.md"]
)
def test_server_and_client_of_each_readme(name: str, tmp_path: Path) -> None:
    commands, server, client, says = readme(name)
    assert '"ssl:8787:' in server
    assert '"tls:localhost:8787:' in client
    make_certificates(commands, tmp_path)
    with serving(server, tmp_path) as port:
        ran = visit(client, port, tmp_path)
    assert (ran.stdout, ran.returncode) == (says, 0), ran.stderr


def test_codec_of_the_readme() -> None:
    text = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(
        r"^```python\n(import pb_banana\n.*?)^```$", text, re.M | re.S
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    assert ran.stdout == "{'shared': [1, 2.5, None], 'text': 'grüß dich'}\n"
