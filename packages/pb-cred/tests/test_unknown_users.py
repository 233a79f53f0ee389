"""Unknown names, which cannot be told apart from the users of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.portal import Portal

from pb_cred._mechanisms.scram.scram import ScramServerMechanism
from pb_cred._passwords import hashing, sql_store
from pb_cred._passwords.argon2 import parse
from pb_cred._passwords.hashing import Kept, Record, parse_scram
from pb_cred._passwords.memory_store import CHEAP
from pb_cred._passwords.scram_verifier import ScramCost, Verifier, make_verifier
from pb_cred._passwords.unknown_users import Census, census_of
from pb_cred.mechanisms import LoginContext
from pb_cred.stores import (
    MemoryPasswords,
    PasswordDatabase,
    PasswordFile,
    PasswordHashing,
    PasswordStore,
)

from .stores_support import AtOnce, is_refused, log_in, maker, result_of
from .support import OneRealm

DEAR = PasswordHashing(
    time_cost=2, memory_cost=16, parallelism=1, scram_iterations=8192
)
NAMES = [b"name %d" % number for number in range(400)]
#: As many as a statement about each name takes; shares take all.
FEW = NAMES[:50]
Make = Callable[..., PasswordStore]


@pytest.fixture(params=["memory", "file", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return maker(request.param, tmp_path)


def told(store: PasswordStore, name: bytes) -> tuple[int, int]:
    """Return the cost that a server sends to a client of SCRAM."""
    portal = Portal(OneRealm(), [store])
    exchange = ScramServerMechanism(b"secret").start(portal, LoginContext())
    said = result_of(exchange.step(b"n,,n=%b,r=abc" % name))
    parts = dict(part.split(b"=", 1) for part in said.split(b","))
    return int(parts[b"i"]), len(parts[b"s"])


def shares(store: PasswordStore) -> Counter[int]:
    return Counter(told(store, name)[0] for name in NAMES)


def user(name: str, store: PasswordStore, **costs: Any) -> None:
    """Add a user with a verifier made by another program."""
    salt = b"s" * costs.get("salt_bytes", 16)
    store._put(
        Record(name, None, Verifier(salt, costs["iterations"], *2 * [b"k" * 32]))
    )


def test_unknown_names_have_the_cost_of_users_after_a_rise(
    make: Make,
) -> None:
    store = make("scram")
    store.set_password("alice", "sesame")
    store._hashing = DEAR
    assert told(store, b"alice") == told(store, b"nobody") == (4096, 24)
    assert set(shares(store)) == {4096}
    store.set_password("alice", "sesame")
    assert set(shares(store)) == {8192}


def test_unknown_names_have_the_cost_of_new_verifiers_without_any(make: Make) -> None:
    store = make("argon2id+scram", DEAR)
    assert told(store, b"nobody") == (8192, 24)
    store.import_hash("carol", "{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=")
    assert told(store, b"carol") == told(store, b"nobody")


def test_shares_of_costs_of_unknown_names_equal_those_of_users(make: Make) -> None:
    store = make("scram")
    for number in range(3):
        user(f"user {number}", store, iterations=4096)
    user("user 3", store, iterations=8192)
    found = shares(store)
    assert set(found) == {4096, 8192}
    assert 0.65 < found[4096] / len(NAMES) < 0.85


def test_salts_of_unknown_names_are_as_long_as_those_of_users(make: Make) -> None:
    store = make("scram")
    user("alice", store, iterations=4096, salt_bytes=12)
    assert told(store, b"nobody") == told(store, b"alice") == (4096, 16)
    user("bob", store, iterations=4096, salt_bytes=40)
    assert {told(store, name) for name in NAMES} == {(4096, 16), (4096, 56)}


def test_unknown_name_changes_its_cost_once_with_a_new_salt(
    make: Make,
) -> None:
    store = make("scram")
    for number in range(4):
        user(f"user {number}", store, iterations=4096)
    seen = [{name: result_of(store.scram_verifier(name)) for name in FEW}]
    for number in range(4):
        user(f"user {number}", store, iterations=8192)
        seen.append({name: result_of(store.scram_verifier(name)) for name in FEW})
    for name in FEW:
        history = [each[name] for each in seen]
        costs = [each.iterations for each in history]
        assert costs == sorted(costs)
        assert (costs[0], costs[-1]) == (4096, 8192)
        assert len({each.salt for each in history}) == 2
        assert len({each.salt for each in history if each.iterations == 4096}) == 1


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_same_answers_from_all_servers_with_one_store(
    kind: str, tmp_path: Path
) -> None:
    make = maker(kind, tmp_path)
    first, second = make("scram"), make()
    user("alice", first, iterations=4096)
    user("bob", first, iterations=8192)
    mine = [result_of(first.scram_verifier(name)) for name in FEW]
    assert mine == [result_of(second.scram_verifier(name)) for name in FEW]
    assert mine == [result_of(make().scram_verifier(name)) for name in FEW]


# Refusals of passwords.


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the costs and schemes of the hashes verified against."""
    found: list[Any] = []

    def watching(scheme: str, verify: Any) -> Any:
        def watch(kept: str, password: Any) -> bool:
            found.append((scheme, cost_of(scheme, kept)))
            return bool(verify(kept, password))

        return watch

    for scheme, verify in list(hashing._VERIFY.items()):
        monkeypatch.setitem(hashing._VERIFY, scheme, watching(scheme, verify))
    return found


def cost_of(scheme: str, kept: str) -> Any:
    if scheme == "argon2id":
        hashed = parse(kept)
        sizes = len(hashed.salt), len(hashed.digest)
        return hashed.memory_cost, hashed.time_cost, hashed.parallelism, *sizes
    if scheme == "scram":
        return parse_scram(kept).iterations
    return kept[:7] if scheme == "bcrypt" else None


@pytest.mark.parametrize("keep", ["argon2id", "scram"])
def test_verification_cost_of_unknown_names_after_a_rise(
    make: Make, keep: Any, verified: list[Any]
) -> None:
    store = make(keep)
    store.set_password("alice", "sesame")
    store._hashing = DEAR
    work = []
    for name in (b"alice", b"nobody"):
        verified.clear()
        assert is_refused(log_in(store, name, b"wrong"))
        work.append(list(verified))
    assert work[0] == work[1]
    assert log_in(store, b"alice", b"sesame") == b"alice"
    verified.clear()
    assert is_refused(log_in(store, b"nobody", b"wrong"))
    assert verified != work[1]


def test_shares_of_costs_of_imported_hashes(make: Make, verified: list[Any]) -> None:
    import bcrypt

    store = make()
    store.set_password("alice", "sesame")
    for user, rounds in (("bob", 4), ("carol", 5)):
        hashed = bcrypt.hashpw(b"sesame", bcrypt.gensalt(rounds)).decode()
        store.import_hash(user, hashed)
    store.import_hash("dave", "$apr1$abcdefgh$GQVaHFsauSKl0cgw4bVFJ/")
    store.import_hash("erin", "{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=")
    seen = set()
    for name in [*FEW[:40], b"alice", b"dave", b"erin"]:
        verified.clear()
        assert is_refused(log_in(store, name, b"wrong"))
        schemes = [scheme for scheme, _ in verified]
        assert schemes == ["apr1", "argon2id", "bcrypt", "sha1"]
        seen.add(verified[2][1])
    assert seen == {"$2b$04$", "$2b$05$"}


@pytest.mark.parametrize("size", [(8, 16), (16, 64), (64, 8)])
def test_costs_of_hashes_of_other_sizes(
    make: Make, size: Any, verified: list[Any]
) -> None:
    import argon2

    hasher = argon2.PasswordHasher(1, 8, 1, salt_len=size[0], hash_len=size[1])
    store = make()
    store.import_hash("alice", hasher.hash("sesame"))
    verified.clear()
    assert is_refused(log_in(store, b"nobody", b"wrong"))
    assert verified == [("argon2id", (8, 1, 1, *size))]


@pytest.mark.parametrize(
    "damaged", ["$2b$99$" + "." * 53, "$argon2id$v=19$m=8,t=1,p=1$damaged"]
)
def test_damaged_hash_affects_its_user_alone(make: Make, damaged: str) -> None:
    store = make()
    store.set_password("bob", "sesame")
    store._put(Record("alice", Kept(damaged)))
    assert log_in(store, b"bob", b"sesame") == b"bob"
    assert is_refused(log_in(store, b"nobody", b"sesame"))


# The census of a database.


def database(tmp_path: Path) -> PasswordDatabase:
    store: Any = maker("sqlite", tmp_path)("scram")
    return store  # type: ignore[no-any-return]


def test_census_is_reused_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def seconds() -> float:
        # Each look at the clock is a second later, as each census takes one.
        now[0] += 1
        return now[0]

    monkeypatch.setattr(sql_store, "_seconds", seconds)
    taken: list[Any] = []
    take = sql_store._take_census

    def counting(connection: Any) -> Census:
        taken.append(connection)
        return take(connection)

    monkeypatch.setattr(sql_store, "_take_census", counting)
    store, other = database(tmp_path), database(tmp_path)
    user("alice", store, iterations=4096)
    for _ in range(5):
        assert told(store, b"nobody") == (4096, 24)
    assert len(taken) == 1
    # Another process, which this one is not told of until it meets such a user.
    other.remove("alice")
    user("bob", other, iterations=8192)
    assert told(store, b"nobody") == (4096, 24)
    assert told(store, b"bob") == told(store, b"nobody") == (8192, 24)
    assert len(taken) == 2
    user("carol", other, iterations=16384)
    now[0] += 100
    assert {told(store, name)[0] for name in FEW[:20]} == {8192, 16384}
    assert len(taken) == 3


def test_damaged_verifier_is_left_out(tmp_path: Path) -> None:
    store = database(tmp_path)
    user("alice", store, iterations=4096)
    engine = store._database.engine
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO pb_passwords VALUES ('bob', 'scram', NULL, 'damaged'),"
            " ('carol', 'scram', NULL, NULL)"
        )
    store._census = None
    assert set(shares(store)) == {4096}


@given(
    st.dictionaries(
        st.tuples(st.integers(4096, 1_000_000), st.integers(8, 64)),
        st.integers(1, 50),
        min_size=1,
        max_size=5,
    ),
    st.binary(max_size=40),
)
def test_stand_in_has_the_cost_of_a_user(
    costs: dict[tuple[int, int], int], name: bytes
) -> None:
    counted = [
        (Record("", None, Verifier(bytes(size), iterations, b"k" * 32, b"k" * 32)), n)
        for (iterations, size), n in costs.items()
    ]
    census = census_of(counted)
    found = census.verifier(b"secret", name, CHEAP)
    assert (found.iterations, len(found.salt)) in costs
    assert census.verifier(b"secret", name, DEAR) == found


def test_census_of_a_file_is_taken_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    options: Any = {"keep": "scram", "hashing": CHEAP, "executor": AtOnce()}
    store = PasswordFile(path, create=True, **options)
    store.set_password("alice", "sesame")
    census = store._content().census
    assert census.verifiers == ((ScramCost(4096, 16), 1),)
    assert census.hashes == {"scram": ((ScramCost(4096, 16), 1),)}
    assert not census.has(Record("bob", None, make_verifier("x", b"salt", 4096)))


def test_census_of_a_store_in_memory() -> None:
    store = MemoryPasswords({"alice": "sesame"}, executor=AtOnce())
    _, census = store._find("alice")
    assert census.verifiers == ()
    assert list(census.hashes) == ["argon2id"]
