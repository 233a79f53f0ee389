"""Behaviour common to all stores of passwords."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from traceback import TracebackException
from typing import Any

import pytest
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from pb_cred._channel import tls as channel
from pb_cred._passwords import hashing as _hashing
from pb_cred._passwords.memory_store import CHEAP
from pb_cred._passwords.scram_verifier import Verifier, make_verifier
from pb_cred._threads import thread_pool
from pb_cred._threads.thread_pool import Workers
from pb_cred.errors import (
    LoginUnavailable,
    PasswordStoreError,
    UnknownUser,
    UnsuitablePassword,
)
from pb_cred.interfaces import IScramVerifiers
from pb_cred.stores import MemoryPasswords, PasswordHashing, PasswordStore

from . import support
from .stores_support import (
    AtOnce,
    Make,
    counted,
    is_refused,
    log_in,
    maker,
    result_of,
)
from .support import OneRealm, connected, logged, text_of

KINDS = ["memory", "file", "sqlite"]
KEEPS = ["argon2id", "scram", "argon2id+scram"]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return maker(request.param, tmp_path)


@pytest.mark.parametrize("keep", KEEPS)
def test_login_with_the_password_of_the_store(make: Make, keep: Any) -> None:
    store = make(keep)
    store.set_password("alice", "sesame")
    assert log_in(store, b"alice", b"sesame") == b"alice"
    assert is_refused(log_in(store, b"alice", b"Sesame"))
    assert is_refused(log_in(store, b"bob", b"sesame"))


def test_changed_password_replaces_the_earlier(make: Make) -> None:
    store = make()
    store.set_password("alice", "sesame")
    store.set_password("alice", "pencil")
    assert log_in(store, b"alice", b"pencil") == b"alice"
    assert is_refused(log_in(store, b"alice", b"sesame"))
    assert store.usernames() == ["alice"]


def test_users_are_listed_and_removed(make: Make) -> None:
    store = make()
    for name in ("bob", "alice", "zażółć"):
        store.set_password(name, "sesame")
    assert store.usernames() == ["alice", "bob", "zażółć"]
    store.remove("bob")
    assert store.usernames() == ["alice", "zażółć"]
    assert is_refused(log_in(store, b"bob", b"sesame"))
    with pytest.raises(UnknownUser, match="'bob'"):
        store.remove("bob")


def test_verify_distinguishes_right_and_wrong_passwords(make: Make) -> None:
    store = make()
    store.set_password("alice", "sesame")
    assert store.verify("alice", "sesame")
    assert not store.verify("alice", b"else")
    assert not store.verify("bob", "sesame")
    assert not store.verify("", "sesame")


@pytest.mark.parametrize("keep", KEEPS)
def test_store_is_a_checker(make: Make, keep: Any) -> None:
    store = make(keep)
    assert list(store.credentialInterfaces) == [IUsernamePassword]
    assert IScramVerifiers.providedBy(store) is ("scram" in keep)
    if "scram" in keep:
        verifyObject(IScramVerifiers, store)


@pytest.mark.parametrize("keep", ["scram", "argon2id+scram"])
def test_scram_verifiers_are_kept(make: Make, keep: Any) -> None:
    store = make(keep)
    store.set_password("alice", "sesame")
    found = result_of(store.scram_verifier(b"alice"))
    assert found.iterations == 4096
    assert found == make_verifier("sesame", found.salt, 4096)
    assert result_of(store.scram_verifier(b"alice")) == found


@pytest.mark.parametrize("name", [b"bob", b"", b"\xff", b"a:b", b"nul\0"])
def test_unknown_user_has_a_stable_stand_in(make: Make, name: bytes) -> None:
    store = make("scram")
    store.set_password("alice", "sesame")
    alice = result_of(store.scram_verifier(b"alice"))
    found: Verifier = result_of(store.scram_verifier(name))
    assert (len(found.salt), found.iterations) == (len(alice.salt), alice.iterations)
    assert result_of(store.scram_verifier(name)) == found
    assert found != result_of(store.scram_verifier(name + b"x"))


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_stand_in_outlives_the_process(kind: str, tmp_path: Path) -> None:
    make = maker(kind, tmp_path)
    first = result_of(make("scram").scram_verifier(b"bob"))
    assert result_of(make().scram_verifier(b"bob")) == first


@pytest.mark.parametrize("keep", KEEPS)
def test_unknown_user_costs_as_much_as_a_known_one(
    make: Make, keep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(keep)
    store.set_password("alice", "sesame")
    made = counted(monkeypatch)
    scheme = "scram" if keep == "scram" else "argon2id"
    for name, password in [
        (b"alice", b"sesame"),
        (b"alice", b"wrong"),
        (b"alice", b""),
        (b"alice", b"x" * 10_000),
        (b"bob", b"sesame"),
        (b"", b"sesame"),
        (b"\xff", b"sesame"),
        (b"x" * 1000, b"sesame"),
    ]:
        made.clear()
        log_in(store, name, password)
        assert made == [scheme], (name, password)


def test_unknown_user_costs_the_same_beside_imported_hashes(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    store.set_password("alice", "sesame")
    store.import_hash("carol", imported("bcrypt"))
    store.import_hash("dave", imported("sha1"))
    made = counted(monkeypatch)
    for name in (b"alice", b"bob", b"carol", b"dave"):
        made.clear()
        assert is_refused(log_in(store, name, b"wrong"))
        assert made == ["argon2id", "bcrypt", "sha1"], name
    assert log_in(store, b"carol", b"sesame") == b"carol"
    made.clear()
    assert is_refused(log_in(store, b"bob", b"wrong"))
    assert made == ["argon2id", "sha1"]


def test_refusals_of_all_reasons_are_equal(make: Make) -> None:
    store = make()
    store.set_password("alice", "sesame")
    answers = [log_in(store, b"alice", b"wrong"), log_in(store, b"bob", b"wrong")]
    for answer in answers:
        assert answer.type is UnauthorizedLogin
        assert answer.value.args == ()
        assert answer.getTracebackObject() is None


def imported(scheme: str) -> str:
    """Return a hash of "sesame" made by another program."""
    if scheme == "bcrypt":
        import bcrypt

        return bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()
    return {
        # openssl passwd -apr1 -salt abcdefgh sesame
        "apr1": "$apr1$abcdefgh$GQVaHFsauSKl0cgw4bVFJ/",
        # printf sesame | openssl sha1 -binary | base64
        "sha1": "{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=",
    }[scheme]


@pytest.mark.parametrize("scheme", ["apr1", "bcrypt", "sha1"])
def test_imported_hash_is_kept_until_the_next_login(make: Make, scheme: str) -> None:
    store = make("argon2id+scram")
    assert store.import_hash("alice", imported(scheme))
    assert is_refused(log_in(store, b"alice", b"Sesame"))
    assert kept(store).password_hash == imported_as(store)
    assert _hashing.scheme_of(imported_as(store)) == scheme

    assert log_in(store, b"alice", b"sesame") == b"alice"
    assert kept(store).scheme == "argon2id"
    assert kept(store).verifier is not None
    assert log_in(store, b"alice", b"sesame") == b"alice"
    assert is_refused(log_in(store, b"alice", b"Sesame"))


def kept(store: PasswordStore, name: str = "alice") -> _hashing.Record:
    record, _ = store._find(name)
    assert record is not None
    return record


def imported_as(store: PasswordStore) -> str:
    hashed = kept(store).password_hash
    assert hashed is not None
    return hashed


def test_import_keeps_existing_users(make: Make) -> None:
    store = make()
    store.set_password("alice", "pencil")
    assert not store.import_hash("alice", imported("sha1"))
    assert log_in(store, b"alice", b"pencil") == b"alice"


@pytest.mark.parametrize(
    ("hashed", "reason"),
    [
        ("$1$abcdefgh$xxxxxxxxxxxxxxxxxxxxxx", "MD5-crypt cannot"),
        ("$2x$04$abc", r"\$2x\$"),
        ("$5$salt$xxxx", "SHA-256-crypt cannot"),
        ("$6$salt$xxxx", "SHA-512-crypt cannot"),
        ("$argon2i$v=19$m=8,t=1,p=1$xxxx$xxxx", "of another kind than id"),
        ("$y$xxxx", "unknown kind"),
        ("{SSHA}xxxx", "unknown kind"),
        ("xxDyhB4eyQ3Zo", "DES-crypt"),
        ("xxxxxx", "plain text"),
        ("", "empty"),
        ("$apr1$xxxx", "damaged"),
        ("$2y$04$xxxx", "damaged"),
        ("$argon2id$xxxx", "damaged"),
        ("{SHA}xxxx", "damaged"),
    ],
)
def test_refusal_of_unsupported_hashes_names_their_kind(
    hashed: str, reason: str
) -> None:
    store = MemoryPasswords(executor=AtOnce())
    with pytest.raises(PasswordStoreError, match=reason) as caught:
        store.import_hash("alice", hashed)
    assert "xxxx" not in str(caught.value)
    assert store.usernames() == []


def test_hashes_are_strengthened_at_the_next_login(tmp_path: Path, make: Make) -> None:
    store = make("argon2id+scram")
    store.set_password("alice", "sesame")
    before = kept(store)
    assert log_in(store, b"alice", b"sesame") == b"alice"
    assert kept(store) == before

    store._hashing = replace(CHEAP, time_cost=2, scram_iterations=5000)
    assert is_refused(log_in(store, b"alice", b"wrong"))
    assert kept(store) == before
    assert log_in(store, b"alice", b"sesame") == b"alice"
    risen = kept(store)
    assert risen.password_hash is not None
    assert risen.verifier is not None
    assert ",t=2," in risen.password_hash
    assert risen.verifier.iterations == 5000

    store._hashing = CHEAP
    assert log_in(store, b"alice", b"sesame") == b"alice"
    assert kept(store) == risen


def test_hashes_follow_the_kinds_of_the_store() -> None:
    store = MemoryPasswords({"alice": "sesame"}, executor=AtOnce())
    store.keep = "scram"
    assert log_in(store, b"alice", b"sesame") == b"alice"
    assert kept(store).scheme == "scram"
    store.keep = "argon2id"
    assert log_in(store, b"alice", b"sesame") == b"alice"
    assert kept(store).scheme == "argon2id"
    assert kept(store).verifier is None


def test_password_unsuitable_for_scram_keeps_its_hash() -> None:
    store = MemoryPasswords({"alice": "smile \U0001f600"}, executor=AtOnce())
    before = kept(store)
    for keep in ("scram", "argon2id+scram"):
        store.keep = keep
        assert log_in(store, b"alice", "smile \U0001f600".encode()) == b"alice"
        assert kept(store) == before
        with pytest.raises(UnsuitablePassword, match="SCRAM does not take it"):
            store.set_password("bob", "smile \U0001f600")


def test_change_by_another_server_is_not_overwritten(make: Make) -> None:
    store = make()
    store.set_password("alice", "sesame")
    old = kept(store)
    store.set_password("alice", "pencil")
    assert not store._put(_hashing.Record("alice", "$argon2id$x"), instead_of=(old,))
    assert store.verify("alice", "pencil")
    store.remove("alice")
    assert not store._put(old, instead_of=(old,))
    assert store.usernames() == []


def test_passwords_are_prepared(make: Make) -> None:
    store = make("argon2id")
    store.set_password("alice", "cafe\u0301")
    assert log_in(store, b"alice", "caf\u00e9".encode()) == b"alice"
    store.set_password("bob", b"\xff\xfe")
    assert log_in(store, b"bob", b"\xff\xfe") == b"bob"
    assert is_refused(log_in(store, b"bob", b"\xff"))


@pytest.mark.parametrize("password", ["", b"", "x" * 1025])
def test_length_of_passwords_is_bounded(password: Any) -> None:
    store = MemoryPasswords()
    with pytest.raises(UnsuitablePassword):
        store.set_password("alice", password)


def test_beginning_of_a_long_password_is_refused(make: Make) -> None:
    store = make()
    store.set_password("alice", "x" * 1024)
    assert log_in(store, b"alice", b"x" * 1024) == b"alice"
    assert is_refused(log_in(store, b"alice", b"x" * 1025))


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", " a", "a ", "#a", "x" * 256])
def test_length_of_names_is_bounded(make: Make, name: str) -> None:
    store = make()
    with pytest.raises(ValueError, match="user name"):
        store.set_password(name, "sesame")
    with pytest.raises(ValueError, match="user name"):
        store.import_hash(name, imported("sha1"))


def test_refusal_of_unknown_kinds_of_hashes() -> None:
    with pytest.raises(PasswordStoreError, match="keeps one of argon2id"):
        MemoryPasswords(keep="md5")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_cost": 0},
        {"parallelism": 0},
        {"memory_cost": 8, "parallelism": 2},
        {"scram_iterations": 4095},
        {"scram_iterations": 1_000_001},
    ],
)
def test_costs_are_bounded(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"at least|iterations"):
        PasswordHashing(**wrong)


def test_default_costs_are_the_second_recommendation_of_rfc_9106() -> None:
    hashing = PasswordHashing()
    assert (hashing.time_cost, hashing.memory_cost, hashing.parallelism) == (
        3,
        64 * 1024,
        4,
    )
    decoy = hashing.decoy(b"secret")
    assert decoy.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_error_for_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "argon2", None)
    with pytest.raises(PasswordStoreError, match=r"argon2.*pb-cred\[passwords\]"):
        MemoryPasswords()
    MemoryPasswords({"alice": "sesame"}, keep="scram")


def test_memory_passwords_log_that_they_are_for_tests() -> None:
    with logged() as events:
        MemoryPasswords()
    assert "is for tests" in text_of(events)


SECRET = "opensesame-4711"


@pytest.mark.parametrize("keep", KEEPS)
def test_failure_of_a_store_is_logged_and_not_sent(
    make: Make, keep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(keep)
    store.set_password("alice", SECRET)

    def broken(name: str) -> Any:
        raise PasswordStoreError("/secret/path: no such file")

    monkeypatch.setattr(store, "_find", broken)
    with logged() as events:
        answers = [log_in(store, b"alice", SECRET.encode())]
        if "scram" in keep:
            answers.append(result_of(store.scram_verifier(b"alice")))
    assert "no such file" in text_of(events)
    for answer in answers:
        assert answer.type is LoginUnavailable
        assert "/secret/path" not in str(answer.value)
    assert SECRET not in text_of(events) + shown(store, *answers)


def shown(*values: Any) -> str:
    """Return every printable text of values, local variables included."""
    found = []
    for value in values:
        found += [repr(value), str(value)]
        if isinstance(value, Failure):
            for detail in ("default", "brief", "verbose"):
                found.append(value.getTraceback(detail=detail))
            value = value.value
        if isinstance(value, BaseException):
            told = TracebackException.from_exception(value, capture_locals=True)
            found += told.format()
    return "\n".join(found)


def test_outage_of_a_store_is_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stranger can try to log in often."""
    store = MemoryPasswords({"alice": "sesame"}, executor=AtOnce())

    def broken(name: str) -> Any:
        raise PasswordStoreError("gone")

    with logged() as events:
        for _ in range(2):
            with monkeypatch.context() as patched:
                patched.setattr(store, "_find", broken)
                for _ in range(3):
                    assert log_in(store, b"alice", b"sesame").type is LoginUnavailable
            assert log_in(store, b"alice", b"sesame") == b"alice"
    assert text_of(events).count("gone") == 2


def test_peer_gets_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryPasswords({"alice": "sesame"}, keep="scram", executor=AtOnce())

    def broken(name: str) -> Any:
        raise PasswordStoreError("gone")

    monkeypatch.setattr(store, "_find", broken)
    # What the log is told once for a process has been told.
    monkeypatch.setattr(channel, "_warned", {"client", "server"})
    with logged() as events:
        pairs = [connected(Portal(OneRealm(), [store])) for _ in range(3)]
        failures = [support.log_in(pair) for pair in pairs]
    for failure in failures:
        assert failure.check(LoginFailed)
        assert not failure.check(UnauthorizedLogin)
        assert failure.value.remoteType == "twisted.cred.error.LoginFailed"
        assert str(failure.value) == "logging in is not possible at present"
    # Nor is the log told more often.
    assert [event["pb_event"] for event in events] == ["password_store_failed"]


def test_traceback_of_a_defect_shows_no_secret(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    store.set_password("alice", SECRET)
    hashed = kept(store).password_hash
    assert hashed is not None

    def broken(*args: Any) -> Any:
        raise RuntimeError("a defect")

    for place in ("is_password", "required"):
        with monkeypatch.context() as patched:
            patched.setattr(_hashing, place, broken)
            answer = log_in(store, b"alice", SECRET.encode())
        assert answer.type is RuntimeError
        # How much of it there is to see is up to Twisted, which forgets more in 24.3.
        assert "a defect" in shown(answer)
        assert SECRET not in shown(answer, store, kept(store))
        assert hashed not in shown(answer) + repr(kept(store))


@pytest.mark.parametrize("keep", KEEPS)
def test_tracebacks_of_setting_a_password_have_no_password(
    make: Make, keep: Any
) -> None:
    store = make(keep)
    for password in ("x" * 1024 + SECRET, "\u0007" + SECRET, SECRET + "\udc00"):
        if keep == "argon2id" and len(password) <= 1024:
            store.set_password("alice", password)
            continue
        with pytest.raises(UnsuitablePassword) as caught:
            store.set_password("alice", password)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None


def test_failure_of_argon2_makes_logins_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from argon2 import low_level

    store = MemoryPasswords({"alice": SECRET}, executor=AtOnce())
    # ARGON2_MEMORY_ALLOCATION_ERROR.
    monkeypatch.setattr(low_level, "core", lambda *_: -22)
    answer = log_in(store, b"alice", SECRET.encode())
    assert answer.type is LoginUnavailable
    with pytest.raises(PasswordStoreError, match="Memory allocation") as caught:
        MemoryPasswords({"alice": SECRET})
    assert caught.value.__context__ is None


@pytest.mark.parametrize("scheme", ["apr1", "bcrypt", "sha1"])
@pytest.mark.parametrize("password", [b"\0", b"sesame\0", b"sesame\0x", b"", b"\xff"])
def test_imported_hash_refuses_every_other_password(
    scheme: str, password: bytes
) -> None:
    store = MemoryPasswords(executor=AtOnce())
    store.import_hash("alice", imported(scheme))
    assert is_refused(log_in(store, b"alice", password))


@pytest.mark.parametrize("password", [b"\0", b"sesame\0", b"", b"\xff"])
def test_verifier_refuses_every_other_password(password: bytes) -> None:
    store = MemoryPasswords({"alice": "sesame"}, keep="scram", executor=AtOnce())
    assert is_refused(log_in(store, b"alice", password))


def test_damaged_hash_is_logged_without_its_text(make: Make) -> None:
    store = make()
    damaged = "$argon2id$v=19$m=8,t=1,p=1$" + SECRET
    store._put(_hashing.Record("alice", damaged))
    with logged() as events:
        answer = log_in(store, b"alice", SECRET.encode())
    assert answer.type is LoginUnavailable
    assert "damaged" in text_of(events)
    assert SECRET not in text_of(events) + shown(answer)


def test_login_succeeds_despite_an_unwritable_hash(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    store.import_hash("alice", imported("sha1"))

    def read_only(*args: Any, **kw: Any) -> Any:
        raise PasswordStoreError("read only")

    monkeypatch.setattr(store, "_put", read_only)
    with logged() as events:
        assert log_in(store, b"alice", b"sesame") == b"alice"
    assert "read only" in text_of(events)


# Threads and loops.


def test_answer_arrives_in_the_thread_of_asyncio() -> None:
    async def main() -> None:
        store = MemoryPasswords({"alice": "sesame"})
        threads = []

        def note(result: Any) -> Any:
            threads.append(threading.current_thread())
            return result

        waiting = store.requestAvatarId(UsernamePassword(b"alice", b"sesame"))
        waiting.addCallback(note)
        assert await waiting.asFuture(asyncio.get_running_loop()) == b"alice"
        assert threads == [threading.current_thread()]
        store.close()

    asyncio.run(main())


def test_cancelled_login_is_not_begun() -> None:
    executor = ThreadPoolExecutor(1)
    begin = threading.Event()
    begun: list[bool] = []

    async def main() -> None:
        workers = Workers(executor)
        first: Deferred[Any] = workers.run(begin.wait)
        second: Deferred[Any] = workers.run(begun.append, True)
        second.cancel()
        assert result_of(second).type is CancelledError
        begin.set()
        await first.asFuture(asyncio.get_running_loop())

    asyncio.run(main())
    executor.shutdown()
    assert begun == []


def test_waiting_logins_fail_when_the_store_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thread_pool, "default_workers", lambda: 1)
    begin = threading.Event()

    async def main() -> None:
        workers = Workers()
        first = workers.run(begin.wait)
        second = workers.run(begin.wait)
        workers.close()
        begin.set()
        loop = asyncio.get_running_loop()
        assert await first.asFuture(loop)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - of two names
            await second.asFuture(loop)
        assert type(caught.value).__name__ == "CancelledError"

    asyncio.run(main())


def test_executor_of_the_program_stays_open() -> None:
    executor = AtOnce()
    store = MemoryPasswords({"alice": "sesame"}, executor=executor)
    store.close()
    assert log_in(store, b"alice", b"sesame") == b"alice"
    Workers().close()


def test_answer_after_the_end_of_the_loop_is_dropped() -> None:
    executor = ThreadPoolExecutor(1)
    begin = threading.Event()

    async def main() -> None:
        Workers(executor).run(begin.wait)

    asyncio.run(main())
    begin.set()
    executor.shutdown()
    gc.collect()


def test_answer_arrives_in_the_thread_of_the_reactor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    calls: list[Any] = []
    come = threading.Event()

    def call_from_thread(*call: Any) -> None:
        calls.append(call)
        come.set()

    monkeypatch.setattr(reactor, "callFromThread", call_from_thread)
    begin = threading.Event()
    executor = ThreadPoolExecutor(1)
    waiting = Workers(executor).run(begin.wait)
    begin.set()
    come.wait()
    assert not waiting.called
    ((function, *arguments),) = calls
    function(*arguments)
    assert result_of(waiting) is True
    executor.shutdown()
