"""Hostile bytes cost no more than the limits, and import and reach no object."""

from __future__ import annotations

import builtins
import gc
import importlib
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from pb_banana import (
    PB_VOCABULARY,
    BananaError,
    Connection,
    Decoder,
    Encoder,
    LimitExceeded,
    Limits,
    NegotiationError,
    decode,
    dumps,
    load,
    loads,
    message_shapes,
)
from pb_banana._dumps_loads import FILE_LIMITS, MAGIC
from pb_jelly import ClassRegistry, JellyError, SecurityOptions
from pb_jelly.codec import current_tables

ENCODER = Encoder(FILE_LIMITS, vocabulary=PB_VOCABULARY)
POLICY = SecurityOptions(ClassRegistry())
POLICY.allowBasicTypes()
TABLES = current_tables(POLICY)
SHAPES = message_shapes({b"answer": "int value"})


def agreed(dialect: bytes = b"pb", **arguments: Any) -> Connection:
    """Return a server's connection with a negotiated dialect."""
    connection = Connection(False, **arguments)
    connection.connection_made()
    connection.select(dialect)
    return connection


def take_message(connection: Connection) -> Callable[[bytes], Any]:
    """Return a function that feeds a connection, for messages in one step."""
    return lambda data: connection.receive_message(
        data, TABLES, SHAPES, None, lambda references: None
    )


def fed_until_refused(
    feed: Callable[[bytes], Any], data: bytes, limit: str = "depth"
) -> int:
    """Feed bytes one by one; return their number at the first exceeded limit."""
    for count in range(len(data)):
        try:
            feed(data[count : count + 1])
        except LimitExceeded as error:
            refused_for = error.limit
            break
    assert refused_for == limit
    return count + 1


#: How a list in a list in a list may begin, over and over.
BOMBS = {
    "lists": b"\x01\x80",
    "jelly": b"\x02\x80\x08\x87",
    "tuples": b"\x02\x80\x0b\x87",
    "references": b"\x03\x80\x04\x87\x01\x81",
    "pairs": b"\x02\x80\x05\x87\x02\x80\x01\x81",
    "long ways": b"\x01\x00\x00\x00\x80",
    "full": b"\x05\x80" + b"\x01\x81" * 4,
}


class TestNestingBombs:
    """Only the first few hundred bytes of a nesting bomb are read."""

    @pytest.mark.parametrize("unit", BOMBS.values(), ids=BOMBS)
    @pytest.mark.parametrize("begins", [b"", b"\x03\x80\x1b\x87\x01\x81"])
    def test_nesting_bomb_on_a_connection(self, unit: bytes, begins: bytes) -> None:
        data = begins + unit * 1_000_000
        most = len(begins) + 64 * len(unit) + len(unit)
        assert fed_until_refused(agreed().receive_data, data) <= most
        assert fed_until_refused(take_message(agreed()), data) <= most
        # In one piece as well, which is not looked at to its end.
        for feed in (agreed().receive_data, take_message(agreed())):
            with pytest.raises(LimitExceeded) as caught:
                feed(data)
            assert caught.value.offset is not None
            assert caught.value.offset < most

    @pytest.mark.parametrize(("is_client", "most"), [(False, 2), (True, 6)])
    def test_nesting_bomb_before_a_dialect_is_agreed_on(
        self, is_client: bool, most: int
    ) -> None:
        connection = Connection(is_client)
        connection.connection_made()
        data = b"\x01\x80" * most
        for count in range(most - 1):
            assert connection.receive_data(data[count : count + 1]) == []
        with pytest.raises(NegotiationError):
            connection.receive_data(b"\x80")
        assert connection.dialect is None

    def test_nesting_bomb_in_a_file(self) -> None:
        data = MAGIC + b"\x02\x80\x08\x87" * 1_000_000
        with pytest.raises(LimitExceeded) as caught:
            loads(data)
        assert caught.value.offset is not None
        assert caught.value.offset <= 4 * 1001 + len(MAGIC)
        read: list[int] = []

        class File:
            def read(self, size: int) -> bytes:
                read.append(size)
                return data[sum(read[:-1]) : sum(read)]

        with pytest.raises(LimitExceeded):
            load(File())
        assert sum(read) <= 4 * 1002 + len(MAGIC)

    def test_nesting_bomb_in_a_decoder(self) -> None:
        with pytest.raises(LimitExceeded) as caught:
            decode(b"\x01\x80" * 1_000_000)
        # A thousand levels, as in a file.
        assert caught.value.offset == 2000


def test_full_depth_fits_into_a_small_stack() -> None:
    """Sixty-four levels are written and read by each path on a small stack."""
    program = """
        import sys
        from pb_banana import (
            PB_VOCABULARY, Connection, Decoder, Encoder, Limits, dumps, loads,
            message_shapes,
        )
        from pb_jelly import ClassRegistry, SecurityOptions, jelly, unjelly
        from pb_jelly.codec import current_tables

        def nested(levels):
            value = 5
            for number in range(levels):
                value = ([value], (value,), {number: value})[number % 3]
            return value

        limits = Limits(depth=64)
        policy = SecurityOptions(ClassRegistry())
        policy.allowBasicTypes()
        tables = current_tables(policy)
        shapes = message_shapes({b"answer": "int value"})
        # A dict takes two levels, so these are sixty-three with the message around.
        values = [nested(levels) for levels in (10, 30, 46)]
        encoder = Encoder(limits, vocabulary=PB_VOCABULARY)
        head = (encoder.encode([b"answer", 5])[:0] + b"\\x03\\x80\\x1b\\x87", 7)

        def refuse(*args):
            raise AssertionError("there is no hook")

        sys.setrecursionlimit(200)
        done = []
        for value in values:
            # In two steps.
            data = encoder.encode(jelly(value, limits=limits))
            (sexp,) = Decoder(limits, vocabulary=PB_VOCABULARY).feed(data)
            assert unjelly(sexp, limits=limits) == value
            # In one, or where that runs out of room, in two.
            assert loads(dumps(value, limits=limits), limits=limits) == value
            for dialect in (b"pb", b"none"):
                connection = Connection(False, limits=limits)
                connection.select(dialect)
                parts = connection.write_message(head, (value,), tables, refuse)
                if parts is None:
                    message = [b"answer", 7, jelly(value, limits=limits)]
                    parts = [connection.encode(message)]
                got = connection.receive_message(
                    b"".join(parts), tables, shapes, None, refuse
                )
                made = got[2] if type(got) is tuple else unjelly(got[2], limits=limits)
                assert made == value
                done.append(type(got).__name__)
        sys.setrecursionlimit(1000)
        print(len(done))
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("6\n", "")


# What is only announced.


def peak_of(work: Callable[[], object]) -> int:
    """Return the peak of memory of a function."""
    work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x28\x82",
        b"\x03\x80\x1b\x87\x01\x81\x00\x00\x28\x82" + b"x" * 100,
        b"\x40\x1a\x0c\x80",
        b"\x03\x80\x1b\x87\x01\x81\x40\x1a\x0c\x80\x08\x87",
        b"\x40\x1a\x0c\x80" * 1 + b"\x02\x80" * 60,
    ],
)
def test_announced_sizes_take_no_memory(data: bytes) -> None:
    """The memory of a string is taken as its bytes arrive."""

    def announce() -> None:
        connection = agreed()
        assert connection.receive_data(data) == []
        other = agreed()
        assert take_message(other)(data) is None
        for _ in range(10):
            assert take_message(other)(b"") is None

    assert peak_of(announce) < 50_000


def test_longest_numbers() -> None:
    for sign in (b"\x85", b"\x86", b"\x81", b"\x83"):
        (number,) = agreed().receive_data(b"\x7f" * 64 + sign)
        assert number in (2**448 - 1, 1 - 2**448)
        feed = agreed().receive_data
        assert fed_until_refused(feed, b"\x7f" * 1000, "prefix_bytes") == 65
    # A limit so wide that Python does not write the number: an error does not, either.
    wide = Limits(prefix_bytes=4096)
    connection = agreed(limits=wide)
    with pytest.raises(LimitExceeded) as caught:
        connection.receive_data(b"\x7f" * 4000 + b"\x82")
    assert len(str(caught.value)) < 10_000


# Much out of little.


def bomb(head: bytes, leaf: Any) -> Any:
    """Return ten levels, each of which holds the next one ten times."""
    sexp: Any = [head, leaf]
    for number in range(10):
        parts = [[b"reference", number, sexp], *[[b"dereference", number]] * 9]
        if head == b"dictionary":
            parts = [[key, part] for key, part in enumerate(parts)]
        sexp = [head, *parts]
    return sexp


@pytest.mark.parametrize("head", [b"list", b"tuple", b"dictionary"])
def test_exponential_sharing_costs_linear_time(head: bytes) -> None:
    """A shared object is made and written once, in one step and in two."""
    sexp = bomb(head, [1, 1] if head == b"dictionary" else 1)
    data = MAGIC + ENCODER.encode(sexp)
    assert len(data) < 2000
    value = loads(data, security=POLICY)
    seen: dict[int, Any] = {}
    todo = [value]
    while todo:
        part = todo.pop()
        if isinstance(part, (list, tuple, dict)) and id(part) not in seen:
            seen[id(part)] = part
            todo += part.values() if isinstance(part, dict) else part
    assert len(seen) == 11
    again = dumps(value, security=POLICY)
    assert len(again) < 2000
    assert len(loads(again, security=POLICY)) == 10


# Names.

_NAMES = """
    os.system os.popen subprocess.Popen builtins.eval builtins.exec builtins.open
    builtins.__import__ importlib.import_module pickle.loads marshal.loads
    types.CodeType types.FunctionType functools.partial operator.attrgetter
    ctypes.CDLL pydoc.locate shutil.rmtree socket.socket sys.exit pty.spawn
    pb_banana.loads pb_banana.load pb_banana._dumps_loads.open pb_jelly.unjelly
    pb_jelly.globalSecurity antigravity.x this.x . .. .a a. os. os..system
    list dict tuple object type __class__ __reduce__ _private \u043es.system
"""
NAMES = _NAMES.split()


@pytest.mark.parametrize("name", NAMES)
def test_gadget_names_import_and_reach_no_object(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are read in one step and in two."""
    head = name.encode()
    forms: list[Any] = [
        [head, [b"dictionary"]],
        [head, [b"dictionary", [[b"unicode", b"x"], 1]]],
        [head, 1],
        [b"class", head],
        [b"function", head],
        [b"module", head],
        [b"instance", [b"class", head], [b"dictionary"]],
        [b"method", head, [b"None"], [b"class", head]],
        [b"@object", head, [b"list"], [b"None"]],
        [b"@enum", head, b"x"],
        [b"@exception", head, [b"tuple"], *[[b"None"]] * 3],
        [b"list", [b"reference", 1, [head, [b"dictionary"]]], [b"dereference", 1]],
    ]
    before = set(sys.modules)

    def refuse(imported: str, *args: Any, **kw: Any) -> Any:
        raise AssertionError(f"{imported} was imported")

    original = builtins.__import__

    def known(imported: str, *args: Any, **kw: Any) -> Any:
        assert imported in sys.modules, imported
        return original(imported, *args, **kw)

    monkeypatch.setattr(importlib, "import_module", refuse)
    monkeypatch.setattr(builtins, "__import__", known)
    for form in forms:
        if name in ("list", "dict", "tuple") and form[0] in (head, b"list"):
            # These are no names but words.
            continue
        data = MAGIC + ENCODER.encode(form)
        for policy in (POLICY, SecurityOptions(ClassRegistry()), None):
            with pytest.raises(JellyError) as caught:
                loads(data, security=policy)
            assert len(str(caught.value)) < 1000
        message = ENCODER.encode([b"answer", 1, form])
        # It is left to the unjellier, which refuses it.
        assert type(take_message(agreed())(message)) is list
    assert set(sys.modules) == before


def test_refusal_of_text_that_is_not_utf_8() -> None:
    """The malformed text is put at each place for text."""
    for raw in (
        *(b"\xff", b"\xc0\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xed\xbf\xbf"),
        *(b"\xf4\x90\x80\x80", b"ok\x80", b"\xf8\x88\x80\x80\x80"),
    ):
        text = [b"unicode", raw * 10_000]
        for form in (
            text,
            [b"list", text],
            [b"dictionary", [text, 1]],
            [b"dictionary", [1, text]],
            [b"set", text],
            [b"tuple", [b"reference", 1, text], [b"dereference", 1]],
        ):
            with pytest.raises(JellyError) as caught:
                loads(MAGIC + ENCODER.encode(form), security=POLICY)
            assert len(str(caught.value)) < 1000
            message = ENCODER.encode([b"answer", 1, form])
            assert type(take_message(agreed())(message)) is list


def test_decoder_stays_refusing_after_an_error() -> None:
    """No further bytes are read after one violation."""
    for broken in (b"\x01\x80" * 100, b"\x00\x88", b"\x20\x87", b"\xff", b"\0" * 99):
        for feed in (
            agreed().receive_data,
            take_message(agreed()),
            Decoder().feed,
        ):
            messages = set()
            for data in (broken, b"", b"\x01\x81", ENCODER.encode([b"answer", 1, 2])):
                with pytest.raises(BananaError) as caught:
                    feed(data)
                messages.add(str(caught.value))
            assert len(messages) == 1
