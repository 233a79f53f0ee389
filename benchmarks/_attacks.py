"""This module attacks a codec and a broker in this process, and measures what it costs.

Each function yields what was found: for every figure the largest value that it may
have. Time is the processor's, of the quickest of a few runs: all that others wait for,
and nothing that others cause.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, product
from time import process_time
from typing import Any, Final

from twisted.internet.task import Clock

import pb_broker as pb
from pb_banana import PB_VOCABULARY, Decoder, Encoder, Limits, encode, int2b128
from pb_broker import BrokerLimits
from pb_broker._limits import LOGIN_LIMITS
from pb_broker.testing import MemoryTransport

__all__ = [
    "LONGEST",
    "Figure",
    "hashing",
    "memory",
    "nesting",
    "numbers",
    "shared",
    "tokens",
]

#: How many milliseconds one message may take others' time.
LONGEST: Final = 50.0

#: By how much the time may grow when there is twice as much.
_GROWTH: Final = 2.3

#: What a message may cost after a login and before, in bytes, and how much more may be
#: in use at the worst moment.
_CHARGES: Final = {"after login": 64 * 2**20, "before login": 256 * 2**10}
_MARGIN: Final = 1.5

_MODULUS: Final = 2**61 - 1
_WIDE: Final = Limits(
    message_bytes=2**30, string_bytes=2**30, list_items=2**24, nodes=2**24
)


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of one attack.

    Args:
        attack: The attack.
        case: Which form of it.
        value: What it came to.
        unit: Of the value.
        most: The largest that it may be.
        more: What else there is to say.
    """

    attack: str
    case: str
    value: float
    unit: str
    most: float
    more: dict[str, Any] = field(default_factory=dict)

    def row(self, slack: float = 1.0) -> dict[str, Any]:
        """Return it as a row.

        Args:
            slack: How many times larger it may be, on a machine that is slow.
        """
        most = self.most * slack
        return {
            "kind": "hostile",
            "attack": self.attack,
            "case": self.case,
            "value": self.value,
            "unit": self.unit,
            "most": most,
            "ok": self.value <= most,
            **self.more,
        }


# What is sent.

_encoder: Final = Encoder(_WIDE, vocabulary=PB_VOCABULARY)


def _list(*parts: bytes) -> bytes:
    """Return the bytes of a list of what has been encoded already."""
    return _header(len(parts)) + b"".join(parts)


def _header(items: int) -> bytes:
    written: list[bytes] = []
    int2b128(items, written.append)
    return b"".join(written) + b"\x80"


def _call(argument: bytes, method: bytes = b"take") -> bytes:
    """Return a call of the root object."""
    head: list[Any] = [b"message", 1, b"root", method, 1]
    return _list(
        *map(_encoder.encode, head),
        _list(_encoder.encode(b"tuple"), argument),
        _encoder.encode([b"dictionary"]),
    )


#: What a client begins with: its choice of a dialect, and a greeting.
_BEGINNING: Final = encode(b"pb") + _encoder.encode([b"version", 6])


class _Root(pb.Root):
    def remote_take(self, value: Any) -> None:
        """Let go of a value."""

    def remote_echo(self, value: Any) -> Any:
        return value


class _Victim:
    """A server's end of a connection, with a peer that is only bytes.

    Args:
        limits: Its limits, if they are not the usual ones.
    """

    def __init__(self, limits: BrokerLimits | None = None) -> None:
        factory: Any = pb.PBServerFactory(_Root(), limits=limits)
        self._clock: Any = Clock()
        factory.clock = self._clock
        self.transport: Any = MemoryTransport()
        self._broker: Any = factory.buildProtocol(None)
        self._broker.makeConnection(self.transport)
        self.receive(_BEGINNING)
        self.transport.take()

    def receive(self, data: bytes, piece: int = 0) -> None:
        """Take bytes, in pieces of some size, and do all that is to be done then.

        Args:
            data: The bytes.
            piece: How many at a time; 0 for all.
        """
        receive, clock = self._broker.dataReceived, self._clock
        for start in range(0, len(data), piece or len(data)):
            receive(data[start : start + piece] if piece else data)
            while clock.getDelayedCalls():
                clock.advance(0)
            if self.transport.aborted:
                break

    def outcome(self) -> str:
        """Return what became of the last call."""
        if self.transport.aborted:
            return "connection ended"
        said: Any = Decoder(_WIDE, vocabulary=PB_VOCABULARY).feed(self.transport.take())
        heads = [each[0] for each in said]
        if b"answer" in heads:
            return "answered"
        return "refused" if b"error" in heads else "unanswered"


def _milliseconds(data: bytes, piece: int, runs: int) -> tuple[float, str]:
    """Return how long a broker needs for a message, and what becomes of it."""
    best = float("inf")
    outcome = ""
    for _ in range(runs):
        victim = _Victim()
        gc.collect()
        begun = process_time()
        victim.receive(data, piece)
        best = min(best, process_time() - begun)
        outcome = victim.outcome()
    return best * 1000, outcome


def _one_message(attack: str, case: str, data: bytes, runs: int) -> Figure:
    """Measure one message, in the two ways in which messages are read."""
    taken = {
        way: _milliseconds(data, piece, runs)
        for way, piece in (("whole", 0), ("pieces of 1,460 bytes", 1460))
    }
    way = max(taken, key=lambda way: taken[way][0])
    value, outcome = taken[way]
    more = {"way": way, "outcome": outcome, "size": len(data)}
    return Figure(attack, case, value, "ms", LONGEST, more)


# Tokens.


def _feed_decoder(limits: Limits) -> Callable[[bytes, int], Callable[[], object]]:
    def prepare(data: bytes, piece: int) -> Callable[[], object]:
        feed = Decoder(limits).feed
        step = piece or len(data)

        def run() -> None:
            for start in range(0, len(data), step):
                feed(data[start : start + step])

        return run

    return prepare


def _feed_victim(data: bytes, piece: int) -> Callable[[], object]:
    victim = _Victim(BrokerLimits(wire=_WIDE))
    return lambda: victim.receive(data, piece)


_ZERO: Final = b"\x81"


def tokens(sizes: list[int], runs: int, budget: float) -> Iterator[Figure]:
    """Send very many tokens of one byte each.

    Args:
        sizes: How many KiB of them, each time twice as many as before.
        runs: How often, at least.
        budget: Seconds for which what is quick is measured again.

    Yields:
        By how much the time grows.
    """
    routes: list[tuple[str, Any, Callable[[int], bytes]]] = [
        ("each by itself", _feed_decoder(Limits()), lambda n: _ZERO * n),
        ("in one list", _feed_decoder(_WIDE), lambda n: _header(n) + _ZERO * n),
        (
            "in the list of a call",
            _feed_victim,
            lambda n: _call(_header(n + 1) + _encoder.encode(b"list") + _ZERO * n),
        ),
    ]
    for name, prepare, make in routes:
        for piece in (1, 7, 1460, 65536, 0):
            messages = [make(size * 1024) for size in sizes]
            taken = _seconds(messages, prepare, piece, runs, budget)
            pace = [after / before for before, after in pairwise(taken)]
            yield Figure(
                "one-byte tokens",
                f"{name}, {f'pieces of {piece:,}' if piece else 'whole'}",
                max(pace, default=0.0),
                "times as long for twice as much",
                _GROWTH,
                {"KiB": sizes, "ms": [each * 1000 for each in taken]},
            )


def _seconds(
    messages: list[bytes],
    prepare: Callable[[bytes, int], Callable[[], object]],
    piece: int,
    runs: int,
    budget: float,
) -> list[float]:
    """Return the processor time of the quickest run with each of some messages."""
    best = [float("inf")] * len(messages)
    spent = 0.0
    # What is quick is repeated more often. In turns, as the pace of a machine wanders.
    while runs > 0 or (runs > -10 and spent < budget):
        for number, data in enumerate(messages):
            run = prepare(data, piece)
            gc.collect()
            begun = process_time()
            run()
            taken = process_time() - begun
            best[number] = min(best[number], taken)
            spent += taken
        runs -= 1
    return best


# Nesting.


def nesting(levels: int, runs: int) -> Iterator[Figure]:
    """Send lists in lists in lists.

    Args:
        levels: How many levels are announced.
        runs: How often to measure the time.

    Yields:
        How many bytes are taken before the rest is refused, and how long that takes.
    """
    raw = b"\x01\x80"
    level = _header(2) + _encoder.encode(b"list")
    start = _call(b"")
    # Where the argument would be: behind it there is only the dictionary.
    start = start[: -len(_encoder.encode([b"dictionary"]))]
    for when, limits in (("after", BrokerLimits()), ("before", LOGIN_LIMITS)):
        depth = limits.wire.depth
        for name, head, item in (("lists", b"", raw), ("a call", start, level)):
            data = head + item * levels
            case = f"{levels:,} levels, {name}, {when} login"
            most = len(head) + len(item) * (depth + 1)
            victim = _Victim(limits)
            taken = 0
            while taken < len(data) and not victim.transport.aborted:
                victim.receive(data[taken : taken + 1])
                taken += 1
            yield Figure("nesting", case, taken, "bytes", most)
            best = float("inf")
            for _ in range(runs):
                victim = _Victim(limits)
                begun = process_time()
                victim.receive(data, 65536)
                best = min(best, process_time() - begun)
            more = {"outcome": victim.outcome(), "size": len(data)}
            yield Figure("nesting", case, best * 1000, "ms", LONGEST, more)
    yield from _deep_and_allowed(levels)


def _deep_and_allowed(levels: int) -> Iterator[Figure]:
    """Decode as many levels as a limit allows: that takes no stack."""
    limits = Limits(message_bytes=2**30, nodes=2**30, depth=levels + 1)
    data = b"\x01\x80" * levels + _ZERO
    begun = process_time()
    (made,) = Decoder(limits).feed(data)
    value = (process_time() - begun) * 1000
    while isinstance(made, list):
        made = made[0]
    case = f"{levels:,} levels, decoded where limits are raised for it"
    # In proportion: twice what as many tokens side by side take would be suspicious.
    yield Figure("nesting", case, value, "ms", max(1.0, levels / 500))


# Hashes.


def _colliding(count: int) -> dict[str, list[Any]]:
    """Return keys that were made to collide, as expressions, by kind."""
    ints: list[Any] = [number * _MODULUS + 5 for number in range(count)]
    floats = [
        float(odd) * 2.0 ** (61 * turn)
        for odd in range(1, count // 16, 2)
        for turn in range(-16, 16)
    ]
    # Of what has many nodes, there need not be as many.
    fewer = max(1, count // 4)
    width = max(1, (fewer - 1).bit_length())
    return {
        "ints, all of one hash": ints,
        "floats, 32 of each hash": floats[:count],
        "tuples of ints, all of one hash": [[b"tuple", each] for each in ints],
        "tuples of -1 and -2, all of one hash": [
            [b"tuple", *each] for each in list(product((-1, -2), repeat=width))[:fewer]
        ],
        "Decimals, all of one hash": [[b"decimal", each, 0] for each in ints[:fewer]],
        "frozensets of ints, all of one hash": [
            [b"frozenset", each] for each in ints[:fewer]
        ],
        "ints whose hashes differ in high bits": [each << 45 for each in range(count)],
        "strings": [[b"unicode", b"key %d" % each] for each in range(count)],
        "bytes": [b"key %d" % each for each in range(count)],
        "tuples of one hash, alike for long": [
            [b"tuple", *([2**70 + 1] * (count // 64)), *each]
            for each in product((-1, -2), repeat=6)
        ],
    }


def hashing(count: int, runs: int) -> Iterator[Figure]:
    """Send keys and members that were made to have the same hash.

    Args:
        count: How many.
        runs: How often.

    Yields:
        How long that takes.
    """
    for kind, keys in _colliding(count).items():
        for shape in (b"dictionary", b"set", b"frozenset"):
            items = [[key, 0] for key in keys] if shape == b"dictionary" else keys
            data = _call(_encoder.encode([shape, *items]))
            case = f"{len(keys):,} {kind}, in a {shape.decode()}"
            yield _one_message("hash flooding", case, data, runs)


# Shared objects.


def _bomb(head: bytes, levels: int, width: int, first: int = 0) -> Any:
    """Return an object that has another so many times, which has another as often."""
    made: Any = [head, 1]
    for number in range(first, first + levels):
        again = [b"dereference", number]
        made = [head, [b"reference", number, made], *[again] * (width - 1)]
    return made


def _twin(levels: int, first: int) -> list[Any]:
    """Return frozensets, each of which is in the next twice, one below the other."""
    made: list[Any] = [[b"reference", first, [b"frozenset", 1, 2]]]
    for number in range(first, first + levels):
        one = [b"dereference", number]
        both = [b"frozenset", one, [b"frozenset", one, 0]]
        made.append([b"reference", number + 1, both])
    return made


def shared(runs: int) -> Iterator[Figure]:
    """Send small messages that stand for very many objects.

    Args:
        runs: How often.

    Yields:
        How long that takes.
    """
    levels = width = 10
    tuples = _bomb(b"tuple", levels, width)
    again = _bomb(b"tuple", levels, width, 100)
    lists = _bomb(b"list", levels, width)
    first, second = [b"dereference", 200], [b"dereference", 500]
    cases: dict[str, Any] = {
        "tuples, as a value": tuples,
        "lists, as a value": lists,
        "tuples, as a key": [b"dictionary", [tuples, 1]],
        "tuples, as a member of a set": [b"set", tuples],
        "tuples, as a member of a frozenset": [b"frozenset", tuples],
        "tuples, two equal ones as values": [b"list", tuples, again],
        "tuples, two equal ones as keys": [b"dictionary", [tuples, 1], [again, 1]],
        "tuples, two equal ones as members": [b"set", tuples, again],
        "frozensets, two equal ones as members": [
            *(b"list", *_twin(200, 0), *_twin(200, 300)),
            [b"set", first, second],
        ],
        "frozensets, two equal ones as keys": [
            *(b"list", *_twin(200, 0), *_twin(200, 300)),
            [b"dictionary", [first, 1], [second, 1]],
        ],
    }
    for case, argument in cases.items():
        data = _call(_encoder.encode(argument))
        yield _one_message("shared objects", case, data, runs)
    for case in ("tuples, as a value", "lists, as a value"):
        data = _call(_encoder.encode(cases[case]), b"echo")
        yield _one_message("shared objects", f"{case}, sent back", data, runs)


# Numbers.


def numbers(count: int, runs: int) -> Iterator[Figure]:
    """Send numbers that take long to calculate with.

    Args:
        count: How many, where there are many.
        runs: How often.

    Yields:
        How long that takes.
    """
    longest = 2**440 - 1
    fewer = max(1, count // 4)
    large = [b"decimal", longest, 10**100]
    digits = b"\x01" * 2**20
    text = b"9" * 600_000
    cases: dict[str, bytes] = {
        "a Decimal with an exponent of 100 digits": _encoder.encode(large),
        "a Decimal of 10**999,999,999, as a key": _encoder.encode(
            [b"dictionary", [[b"decimal", 1, 999_999_999], 1]]
        ),
        "a Decimal of 10**-999,999,999, as a member": _encoder.encode(
            [b"set", [b"decimal", longest, -999_999_999], 1]
        ),
        f"{fewer:,} Decimals of 132 digits, as members": _encoder.encode(
            [b"set", *[[b"decimal", longest - n, -n] for n in range(fewer)]]
        ),
        f"{fewer:,} ints of 440 bits, as members": _encoder.encode(
            [b"set", *[longest - n for n in range(fewer)]]
        ),
        "an int of a million digits": digits + b"\x85",
        "a million digits of no type": digits,
        "a datetime of 600,000 digits": _encoder.encode([b"datetime", text]),
        "a timedelta of 600,000 digits": _encoder.encode([b"timedelta", text]),
        "a timedelta of 440 bits": _encoder.encode([b"timedelta", *[longest] * 3]),
        "a bool of 600,000 digits": _encoder.encode([b"boolean", text]),
        "a float that is none": b"\x84" + b"\xff" * 8,
    }
    for case, argument in cases.items():
        yield _one_message("numbers", case, _call(argument), runs)


# Memory.


@dataclass(frozen=True, slots=True)
class _Kind:
    """Nodes of one kind.

    Args:
        name: What they are.
        make: Makes the expression of one, given its number.
    """

    name: str
    make: Callable[[int], Any]


_KINDS: Final = (
    _Kind("empty sets", lambda n: [b"set"]),
    _Kind("empty dicts", lambda n: [b"dictionary"]),
    _Kind("empty lists", lambda n: [b"list"]),
    _Kind("lists that mean nothing", lambda n: []),
    _Kind("tuples of one item", lambda n: [b"tuple", 0]),
    _Kind("frozensets of one item", lambda n: [b"frozenset", 0]),
    _Kind("sets of five items", lambda n: [b"set", 0, 1, 2, 3, 4]),
    _Kind("dicts of one item", lambda n: [b"dictionary", [0, 0]]),
    _Kind("Decimals", lambda n: [b"decimal", 1, 1]),
    _Kind("datetimes", lambda n: [b"datetime", b"2020 7 1 1 1 1 1"]),
    _Kind("dates", lambda n: [b"date", b"2020 7 1"]),
    _Kind("timedeltas", lambda n: [b"timedelta", b"1 1 1"]),
    _Kind("floats", lambda n: n + 0.5),
    _Kind("large ints", lambda n: 2**100 + n),
    _Kind("short byte strings", lambda n: b"ab"),
    _Kind("short strings", lambda n: [b"unicode", b"\xc3\xa4\xc3\xb6"]),
    _Kind("shared numbers", lambda n: [b"reference", n, n]),
    _Kind("shared sets", lambda n: [b"reference", n, [b"set"]]),
    _Kind("references to objects", lambda n: [b"remote", n + 1]),
    _Kind("methods", lambda n: [b"method", b"x", [b"None"]]),
)


def memory(share: float) -> Iterator[Figure]:
    """Send messages of as many nodes as there may be, of the kinds that cost most.

    Args:
        share: Which part of what is allowed to send.

    Yields:
        How many times what a message is charged with is in use at the worst moment.
    """
    for kind in _KINDS:
        # What is made only once is made now.
        _Victim().receive(_call(_encoder.encode([b"list", kind.make(0)])), 1)
    for when, limits in (
        ("after login", BrokerLimits()),
        ("before login", LOGIN_LIMITS),
    ):
        for kind in _KINDS:
            yield from _peaks(kind, when, limits, share)


def _nodes(expression: Any) -> int:
    if isinstance(expression, list):
        return 1 + sum(map(_nodes, expression))
    return 1


def _peaks(
    kind: _Kind, when: str, limits: BrokerLimits, share: float
) -> Iterator[Figure]:
    wire = limits.wire
    # The call itself, and the list that they are in, are nodes as well.
    number = int((wire.nodes - 16) // _nodes(kind.make(0)) * share)
    number = max(1, min(number, wire.list_items - 1))
    items = [_encoder.encode(kind.make(n)) for n in range(number)]
    # A list of more bytes than a message may have would be refused.
    while len(items) > 1 and sum(map(len, items)) > wire.message_bytes - 64:
        items.pop()
    data = _call(_list(_encoder.encode(b"list"), *items))
    number = len(items)
    charge = _CHARGES[when]
    found = {}
    for way, piece in (("whole", 0), ("pieces of 64 KiB", 65536)):
        victim = _Victim(limits)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            victim.receive(data, piece)
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        # What arrives is in memory once more, where it is given as it is.
        found[way] = (peak + (0 if piece else len(data)), victim.outcome())
    way = max(found, key=lambda way: found[way][0])
    peak, outcome = found[way]
    yield Figure(
        "memory",
        f"{number:,} {kind.name}, {when}",
        peak / charge,
        "times the charge",
        _MARGIN,
        {"way": way, "outcome": outcome, "bytes": peak, "size": len(data)},
    )
