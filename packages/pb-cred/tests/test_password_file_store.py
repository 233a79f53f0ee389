from __future__ import annotations

import os
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from pb_cred._passwords import file_store
from pb_cred._passwords.memory_store import CHEAP
from pb_cred.errors import PasswordStoreError
from pb_cred.stores import PasswordFile

from .stores_support import AtOnce, is_refused, log_in, rewrite
from .support import logged, text_of

SECRET = "c2VjcmV0" * 5 + "c2U="


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "passwords"


def opened(path: Path, **options: Any) -> PasswordFile:
    return PasswordFile(path, hashing=CHEAP, executor=AtOnce(), **options)


def made(path: Path, keep: Any = "argon2id+scram") -> PasswordFile:
    store = opened(path, create=True, keep=keep)
    store.set_password("alice", "sesame")
    return store


def test_file_has_the_documented_format(path: Path) -> None:
    made(path)
    head, alice = path.read_text().splitlines()
    magic, version, keep, secret = head.split(":")
    assert (magic, version, keep) == ("pb-passwords", "1", "argon2id+scram")
    assert len(secret) == 44
    name, hashed, verifier = alice.split(":", 2)
    assert name == "alice"
    assert hashed.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert verifier.startswith("SCRAM-SHA-256$4096:")


def test_file_is_private_to_its_owner(path: Path) -> None:
    made(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["passwords"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_file_readable_by_others_is_refused(path: Path, mode: int) -> None:
    made(path)
    path.chmod(mode)
    with pytest.raises(PasswordStoreError, match=f"mode 0{mode:o}.*chmod 600"):
        opened(path)
    store = opened(path, allow_readable=True)
    store.set_password("bob", "sesame")
    assert path.stat().st_mode & 0o777 == mode


def test_file_made_readable_later_is_refused(path: Path) -> None:
    store = made(path)
    path.chmod(0o644)
    with pytest.raises(PasswordStoreError, match="0644"):
        store.verify("alice", "sesame")


def test_changed_file_is_read_again(path: Path) -> None:
    store = made(path)
    opened(path).set_password("alice", "pencil")
    assert log_in(store, b"alice", b"pencil") == b"alice"
    opened(path).remove("alice")
    assert is_refused(log_in(store, b"alice", b"pencil"))


def test_unchanged_file_is_read_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(path)
    assert store.verify("alice", "sesame")
    monkeypatch.setattr(store, "_parse", None)
    assert store.verify("alice", "sesame")


def test_comments_and_order_are_kept(path: Path) -> None:
    store = made(path)
    head, alice = path.read_text().splitlines()
    rewrite(path, f"{head}\n# the first\n{alice}\n\n# the rest\n")
    store.set_password("bob", "sesame")
    store.set_password("alice", "pencil")
    lines = [line.split(":")[0] for line in path.read_text().splitlines()[1:]]
    assert lines == ["# the first", "alice", "", "# the rest", "bob"]


def test_error_for_a_missing_file(path: Path) -> None:
    with pytest.raises(PasswordStoreError, match="passwords: No such file"):
        opened(path)
    with pytest.raises(PasswordStoreError, match="No such file"):
        opened(path / "deeper", create=True)


def test_existing_file_is_kept_by_create(path: Path) -> None:
    made(path)
    assert opened(path, create=True).usernames() == ["alice"]


def test_kinds_of_hashes_are_those_of_the_file(path: Path) -> None:
    made(path, "scram")
    assert opened(path).keep == "scram"
    assert opened(path, keep="scram").keep == "scram"
    with pytest.raises(PasswordStoreError, match="keeps scram, not argon2id"):
        opened(path, keep="argon2id")


def test_simultaneous_creators_share_one_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second finds the file of the first."""
    link = os.link

    def slower(name: str, target: Path) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "link", link)
            made(path)
        link(name, target)

    monkeypatch.setattr(os, "link", slower)
    assert opened(path, create=True).usernames() == ["alice"]
    assert os.listdir(path.parent) == ["passwords"]


HEAD = f"pb-passwords:1:argon2id:{SECRET}\n"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "this is not a password file"),
        ("alice:planted\n", 1, "this is not a password file"),
        (f"pb-passwords:2:argon2id:{SECRET}\n", 1, "of another version"),
        (f"pb-passwords:1:planted:{SECRET}\n", 1, "keeps one of argon2id"),
        ("pb-passwords:1:argon2id:planted\n", 1, "the secret is damaged"),
        ("pb-passwords:1:argon2id:\n", 1, "the secret is damaged"),
        (HEAD + "alice\n", 2, "name:hash:verifier"),
        (HEAD + "alice:planted\n", 2, "name:hash:verifier"),
        (HEAD + "alice::\n", 2, "name:hash:verifier"),
        (HEAD + ":planted:\n", 2, "a user name has"),
        (HEAD + "alice:planted:\n", 2, "plain text"),
        (HEAD + "# one\n\nalice:$6$planted:\n", 4, "SHA-512-crypt"),
        (HEAD + "alice::planted\n", 2, "a SCRAM verifier is damaged"),
        (HEAD + "alice::SCRAM-SHA-256$1:eA==$planted:eA==\n", 2, "is damaged"),
        (HEAD + "alice::SCRAM-SHA-256$4096:eA==$eA==:eA==\n", 2, "is damaged"),
        (HEAD + "a:$2y$planted:\nb:$2y$planted:\na:$2y$planted:\n", 4, "already"),
    ],
)
def test_errors_name_the_line_and_quote_no_content(
    path: Path, text: str, line: int, reason: str
) -> None:
    rewrite(path, text)
    with pytest.raises(PasswordStoreError, match=f"passwords, line {line}:") as caught:
        opened(path)
    told = "".join(traceback.format_exception(caught.value))
    assert reason in str(caught.value)
    assert "planted" not in told.replace(str(Path(__file__)), "")
    assert caught.value.__context__ is None


def test_refusal_of_a_binary_file(path: Path) -> None:
    path.write_bytes(b"\xff")
    path.chmod(0o600)
    with pytest.raises(PasswordStoreError, match="not UTF-8"):
        opened(path)


def test_failed_write_leaves_the_file_unchanged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(path)
    before = path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    for place in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, place, full)
            with pytest.raises(PasswordStoreError, match="No space left"):
                store.set_password("bob", "sesame")
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == ["passwords"]


def test_file_is_synced_before_it_is_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(path)
    done: list[str] = []

    def noting(name: str) -> None:
        really = getattr(os, name)

        def noted(*args: Any) -> Any:
            done.append(name)
            return really(*args)

        monkeypatch.setattr(os, name, noted)

    noting("fsync")
    noting("replace")
    store.set_password("bob", "sesame")
    assert done == ["fsync", "replace", "fsync"]


def test_symbolic_link_is_kept(path: Path) -> None:
    made(path)
    link = path.with_name("link")
    link.symlink_to(path)
    opened(link).set_password("bob", "sesame")
    assert link.is_symlink()
    assert opened(path).usernames() == ["alice", "bob"]


def test_simultaneous_writers_keep_each_others_users(path: Path) -> None:
    made(path)

    def add(number: int) -> None:
        store = opened(path)
        for one in range(5):
            store.set_password(f"user-{number}-{one}", "sesame")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened(path).usernames()) == 21


def test_login_does_not_wait_for_a_writer(path: Path) -> None:
    """The login succeeds, and its new hash is left for the next one."""
    store = made(path)
    store._hashing = _raised()
    before = path.read_bytes()
    with opened(path)._locked(), logged() as events:
        assert log_in(store, b"alice", b"sesame") == b"alice"
    assert "is being written" in text_of(events)
    assert path.read_bytes() == before
    assert log_in(store, b"alice", b"sesame") == b"alice"
    assert path.read_bytes() != before


def _raised() -> Any:
    from dataclasses import replace

    return replace(CHEAP, time_cost=2)


def test_waiting_writer_locks_the_new_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(path)
    other = opened(path)
    flock = file_store.fcntl.flock
    late = [lambda: other.set_password("bob", "sesame")]

    def slow(file: int, how: int) -> None:
        # Another writer comes between opening the file and locking it.
        if late:
            late.pop()()
        flock(file, how)

    monkeypatch.setattr(file_store.fcntl, "flock", slow)
    store.set_password("carol", "sesame")
    assert store.usernames() == ["alice", "bob", "carol"]


def test_error_for_an_unavailable_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(path)

    def none(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(file_store.fcntl, "flock", none)
    with pytest.raises(PasswordStoreError, match="No locks available"):
        store.remove("alice")
    assert store.usernames() == ["alice"]


def test_owner_of_the_file_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change by an administrator leaves the owner of the file unchanged."""
    store = made(path)
    given: list[Any] = []
    fstat = os.fstat

    def another(file: int) -> os.stat_result:
        about = list(fstat(file))
        about[4] += 1
        return os.stat_result(about)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", another)
        patched.setattr(os, "fchown", lambda *a: given.append(a[1:]))
        patched.setattr(os.path, "samestat", lambda *_: True)
        store.set_password("bob", "sesame")
    about = path.stat()
    assert given == [(about.st_uid, about.st_gid)]


def test_file_is_written_on_systems_without_locks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_store, "fcntl", None)
    assert made(path).usernames() == ["alice"]


def test_repr_has_the_path_and_no_secret(path: Path) -> None:
    assert repr(made(path)) == f"<PasswordFile {str(path)!r}>"
    content = made(path)._content()
    assert "secret" not in repr(content)
    assert "$argon2id$" not in repr(content)
