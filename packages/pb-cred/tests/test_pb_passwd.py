from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pb_cred import _pb_passwd
from pb_cred._passwords import memory_store
from pb_cred._passwords import store as stores
from pb_cred.stores import PasswordDatabase, PasswordFile

PLANTED = "opensesame-4711"


class Terminal(io.TextIOWrapper):
    """Standard input."""

    is_terminal = False

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "PasswordHashing", lambda: memory_store.CHEAP)


@pytest.fixture(params=["file", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / "store"
    return str(path) if request.param == "file" else f"sqlite:///{path}"


class Command:
    """The command, with its captured output."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str, typed: bytes = b"", asked: Any = None) -> int:
        stdin = Terminal(io.BytesIO(typed))
        stdin.is_terminal = asked is not None
        answers = iter(asked or ())
        self._monkeypatch.setattr(sys, "stdin", stdin)
        self._monkeypatch.setattr(_pb_passwd, "getpass", lambda _: next(answers))
        try:
            return _pb_passwd.main(arguments)
        finally:
            self.out, self.err = self._capsys.readouterr()
            assert PLANTED not in self.out + self.err


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def add(run: Command, store: str, user: str = "alice", *more: str) -> None:
    assert run("add", store, user, "--stdin", *more, typed=PLANTED.encode()) == 0


def test_user_is_added_verified_listed_and_removed(run: Command, store: str) -> None:
    add(run, store)
    add(run, store, "bob")
    assert run("list", store) == 0
    assert run.out == "alice\nbob\n"
    assert run("verify", store, "alice", "--stdin", typed=PLANTED.encode()) == 0
    assert run("verify", store, "alice", "--stdin", typed=b"wrong\n") == 1
    wrong = run.err
    assert run("verify", store, "carol", "--stdin", typed=b"wrong\n") == 1
    assert run.err == wrong
    assert run("remove", store, "alice") == 0
    assert run("remove", store, "alice") == 1
    assert "there is no user 'alice'" in run.err


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\nmore\n"])
def test_password_is_the_first_line_of_input(
    run: Command, store: str, end: bytes
) -> None:
    typed = PLANTED.encode() + end
    assert run("add", store, "alice", "--stdin", typed=typed) == 0
    assert run("verify", store, "alice", "--stdin", typed=PLANTED.encode()) == 0


def test_password_is_asked_for_twice(run: Command, store: str) -> None:
    assert run("add", store, "alice", asked=[PLANTED, PLANTED]) == 0
    assert run("verify", store, "alice", asked=[PLANTED]) == 0
    assert run("add", store, "bob", asked=[PLANTED, "other"]) == 1
    assert "two passwords" in run.err
    assert run("add", store, "bob") == 1
    assert "use --stdin" in run.err
    assert run("list", store) == 0
    assert run.out == "alice\n"


def test_password_is_changed_with_the_option_only(run: Command, store: str) -> None:
    assert run("add", store, "alice", "--change", "--stdin", typed=b"x") == 1
    assert "there is no user" in run.err
    add(run, store)
    assert run("add", store, "alice", "--stdin", typed=b"pencil") == 1
    assert "use --change" in run.err
    assert run("add", store, "alice", "--change", "--stdin", typed=b"pencil") == 0
    assert run("verify", store, "alice", "--stdin", typed=b"pencil") == 0


def test_kinds_of_hashes_are_set_with_the_store(run: Command, store: str) -> None:
    add(run, store, "alice", "--keep", "argon2id+scram")
    add(run, store, "bob")
    cls: Any = PasswordDatabase if "://" in store else PasswordFile
    assert cls(store).keep == "argon2id+scram"
    assert run("add", store, "carol", "--keep", "scram", "--stdin", typed=b"x") == 3
    assert "keeps argon2id+scram" in run.err


@pytest.mark.parametrize("password", [b"", b"x" * 2000])
def test_error_for_unsuitable_names_and_passwords(
    run: Command, store: str, password: bytes
) -> None:
    assert run("add", store, "alice", "--stdin", typed=password) == 1
    assert "a password" in run.err
    assert run("add", store, "a:b", "--stdin", typed=b"x") == 1
    assert "a user name" in run.err


def test_error_for_a_missing_store(run: Command, store: str) -> None:
    assert run("list", store) == 3
    assert run.err.startswith("pb-passwd: ")
    assert "\n" not in run.err.strip()


def test_file_readable_by_others_is_accepted_with_the_option(
    run: Command, tmp_path: Path
) -> None:
    path = tmp_path / "store"
    add(run, str(path))
    path.chmod(0o644)
    assert run("list", str(path)) == 3
    assert "chmod 600" in run.err
    assert run("list", str(path), "--allow-readable") == 0


@pytest.mark.parametrize(
    "arguments", [[], ["frobnicate"], ["add", "store"], ["add", "s", "u", PLANTED]]
)
def test_refusal_of_unknown_arguments(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        _pb_passwd.main(arguments)
    assert caught.value.code == 2


def test_htpasswd_is_imported(run: Command, store: str, tmp_path: Path) -> None:
    import bcrypt

    htpasswd = tmp_path / "htpasswd"
    hashed = bcrypt.hashpw(PLANTED.encode(), bcrypt.gensalt(4)).decode()
    lines = [
        "# users",
        "",
        f"alice:{hashed}",
        "bob:$apr1$abcdefgh$GQVaHFsauSKl0cgw4bVFJ/",
        "carol:{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=",
    ]
    htpasswd.write_text("\n".join(lines))
    assert run("import", store, str(htpasswd)) == 0
    assert run("verify", store, "alice", "--stdin", typed=PLANTED.encode()) == 0
    assert run("verify", store, "bob", "--stdin", typed=b"sesame") == 0
    assert run("verify", store, "carol", "--stdin", typed=b"sesame") == 0
    assert run("verify", store, "carol", "--stdin", typed=b"pencil") == 1

    lines = ["alice:x", f"dave:$6${PLANTED}", f"erin:{PLANTED}", "frank"]
    bad = b"\xff:" + PLANTED.encode() + b"\ngrace:{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=\n"
    htpasswd.write_bytes("\n".join([*lines, ""]).encode() + bad + b"alice:" + b"{SHA}")
    with htpasswd.open("ab") as file:
        file.write(b"CEo1Ae3vaEXy8eQZjsOiuBz1xrw=")
    assert run("import", store, str(htpasswd)) == 1
    told = [line.split("htpasswd, ")[1] for line in run.err.splitlines()]
    assert told == [
        "line 1: DES-crypt, or a password in plain text, is not taken",
        "line 2: SHA-512-crypt cannot be verified",
        "line 3: DES-crypt, or a password in plain text, is not taken",
        "line 4: a line is name:hash",
        "line 5: it is not UTF-8",
        "line 7: there is a user 'alice' already",
    ]
    assert run("list", store) == 0
    assert run.out.split() == ["alice", "bob", "carol", "grace"]


def test_error_for_a_missing_htpasswd_file(run: Command, store: str) -> None:
    assert run("import", store, "/nowhere/htpasswd") == 3
    assert "/nowhere/htpasswd" in run.err


def test_interruption_is_reported(
    run: Command, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(run, store)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(_pb_passwd, "_password", interrupted)
    assert run("verify", store, "alice") == 1
    assert "interrupted" in run.err


def test_command_runs_as_a_program(tmp_path: Path) -> None:
    program = "from pb_cred._pb_passwd import _run; _run()"
    done = subprocess.run(
        [sys.executable, "-c", program, "list", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("pb-passwd: ")
