"""This module measures what logins cost, whom they hold up, and what guessing gains.

``python -m benchmarks.logins`` has attackers try wrong passwords while honest users
call and log in, counts what a user that there is costs and one that there is not, looks
how long logins hold up an event loop, and tells what one login costs by each mechanism.
With each figure is the largest that it may be, if there is one, and the exit code is 1
if one is larger.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from pb_cred._mechanisms.scram import scram
from pb_cred._passwords import hashing
from pb_cred._server.login_throttle import LoginDelays
from pb_cred.stores import MemoryPasswords

from . import _machine, _rows
from ._attacks import LONGEST
from ._processes import running, said
from .peers import _login_ends as ends
from .peers.logins import LOOPS

__all__ = ["SECTIONS", "main"]

_ROOT: Final = Path(__file__).parents[1]

#: How many milliseconds an honest login may take while others guess, and how many an
#: event loop may let what is due wait.
_LONGEST_LOGIN: Final = 2000.0
_LONGEST_STALL: Final = 20.0

#: The largest share of the machine that others may use.
_QUIET: Final = 0.10

#: What honest users say besides how often something else became of a login.
_OF_THE_HONEST: Final = {"calls", "logins", "attack", "refused"}

#: The ways to log in whose stalls are measured.
_STALLING: Final = (
    "PLAIN, Argon2id",
    "SCRAM-SHA-256, verifiers",
    "SCRAM-SHA-256",
)


def _running(
    role: str, folder: Path, way: str, **options: Any
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run one of the peers for as long as it is needed."""
    arguments = ["--folder", str(folder), "--way", way]
    for name, value in options.items():
        if value is not False:
            arguments.append(f"--{name}")
            arguments += [] if value is True else [str(value)]
    return running("logins", role, *arguments)


def _tell(process: subprocess.Popen[str], what: str) -> str:
    """Tell a peer something, and return what it says to that."""
    assert process.stdin is not None
    process.stdin.write(what + "\n")
    process.stdin.flush()
    return said(process)


def _figure(
    part: str, case: str, value: float, unit: str, most: float | None, **more: Any
) -> _rows.Row:
    """Return what was measured as a row; ``most`` is the largest that it may be."""
    return {
        "kind": "logins",
        "part": part,
        "case": case,
        "value": value,
        "unit": unit,
        "most": most,
        **more,
    }


def _median_of(rows: list[_rows.Row]) -> _rows.Row:
    """Return the row in the middle, of those that nothing else disturbed if there are.

    Args:
        rows: The same figure of some rounds.
    """
    calm = [row for row in rows if row.get("noise", 0.0) <= _QUIET] or rows
    chosen = sorted(calm, key=lambda row: float(row["value"]))[len(calm) // 2]
    values = [row["value"] for row in rows]
    return {**chosen, "rounds": len(rows), "low": min(values), "high": max(values)}


# Tries


def tries(chosen: argparse.Namespace, folder: Path) -> Iterator[_rows.Row]:
    """Have attackers try wrong passwords, while honest users call and log in.

    Args:
        chosen: What the command line says.
        folder: Where the certificates are.

    Yields:
        What became of the honest, and of the tries.
    """
    seconds = chosen.patience
    for delays in (False, True):
        runs = [_besieged(chosen, folder, delays, seconds) for _ in range(chosen.runs)]
        # With delays, few tries are answered: as much time for them as without.
        seconds = max(1.0, min(row["attack"]["seconds"] for row in runs))
        yield from _tried(runs, delays, -(-chosen.attackers // chosen.hosts))


def _besieged(
    chosen: argparse.Namespace, folder: Path, delays: bool, seconds: float
) -> dict[str, Any]:
    """Return what honest users and attackers have to say."""
    way = "PLAIN, cheap Argon2id"
    with _running("server", folder, way, delays=delays) as server:
        port = int(said(server))
        with _running("honest", folder, way, port=port) as honest:
            said(honest)
            with _running(
                "attacker",
                folder,
                way,
                port=port,
                count=chosen.attackers,
                hosts=chosen.hosts,
                tries=chosen.tries,
                seconds=seconds,
            ) as attacker:
                attack = json.loads(said(attacker))
            row: dict[str, Any] = json.loads(_tell(honest, "go"))
    return {**row, "attack": attack}


def _tried(
    runs: list[dict[str, Any]], delays: bool, at_a_time: int
) -> Iterator[_rows.Row]:
    """Return what some runs say together.

    What must never happen is looked for in all; how long something takes is that of the
    run that others disturbed least.
    """
    when = "with delays" if delays else "without delays"
    best = min(runs, key=lambda row: float(row["calls"]["max"]))
    attacks = [row["attack"] for row in runs]
    attack, calls, logins = best["attack"], best["calls"], best["logins"]
    turned_away = {
        name: count for name, count in best.items() if name not in _OF_THE_HONEST
    }
    let_in = max(each.get("let in", 0) for each in attacks)
    yield _figure("tries", f"tries let in, {when}", let_in, "tries", 0, **attack)
    refused = max(row.get("refused", 0) for row in runs)
    case = f"honest logins refused, {when}"
    yield _figure("tries", case, refused, "logins", 0, turned_away=turned_away)
    unit = "ms, the slowest"
    case = f"honest calls, {when}"
    yield _figure("tries", case, calls["max"], unit, LONGEST, **calls)
    case = f"honest logins, {when}"
    yield _figure("tries", case, logins["max"], unit, _LONGEST_LOGIN, **logins)
    if delays:
        longest = max(attacks, key=lambda each: int(each["from one"]))
        yield _figure(
            "tries",
            "tries answered of one address",
            longest["from one"],
            "tries",
            _most_answered(longest["seconds"], at_a_time),
        )


def _most_answered(seconds: float, at_a_time: int) -> int:
    """Return how many tries of one address the default delays let through.

    Args:
        seconds: Within how long.
        at_a_time: How many it makes at a time; all but one of those may be under way
            when the first has to wait.
    """
    delays = LoginDelays()
    answered = delays.free_from_source + at_a_time - 1
    waited = wait = delays.first
    while waited <= seconds:
        answered += 1
        wait = min(wait * 2, delays.longest)
        waited += wait
    return answered


# Enumeration


def enumeration(chosen: argparse.Namespace, folder: Path) -> Iterator[_rows.Row]:
    """Count what a try costs for a user that there is, and for one that there is not.

    Args:
        chosen: What the command line says.
        folder: Nothing is needed from there.

    Yields:
        By how many verifications they differ.
    """
    known, unknown = ends.NAME, b"nobody@example.com"
    for case, attempt in _attempts().items():
        counts: dict[bytes, int] = {known: 0, unknown: 0}
        times: dict[bytes, list[float]] = {known: [], unknown: []}
        for _ in range(chosen.guesses):
            for name in (known, unknown):
                began = perf_counter()
                counts[name] += attempt(name)
                times[name].append((perf_counter() - began) * 1000)
        yield _figure(
            "enumeration",
            case,
            abs(counts[known] - counts[unknown]),
            "verifications more of one than of the other",
            0,
            tries=chosen.guesses,
            verifications=counts[known],
            known=statistics.median(times[known]),
            unknown=statistics.median(times[unknown]),
        )


def _attempts() -> dict[str, Callable[[bytes], int]]:
    """Return what tries once, and counts the verifications."""

    def of_store(keep: hashing.Keep) -> Callable[[bytes], int]:
        store = MemoryPasswords(
            {ends.NAME.decode(): ends.PASSWORD.decode()},
            keep=keep,
            hashing=ends.CHEAP if keep == "argon2id" else None,
        )

        def attempt(name: bytes) -> int:
            with _counting(hashing._VERIFY) as made:
                store._check(name, hashing.Password(b"wrong"))
            return len(made)

        return attempt

    def of_verifiers(name: bytes) -> int:
        store = MemoryPasswords({ends.NAME.decode(): "sesame"}, keep="scram")
        found = store._verifier(name)
        # What the client is told, and so computes; the server computes none.
        return found.iterations

    def of_passwords(name: bytes) -> int:
        """Do what a checker does that has the passwords of those whom it knows."""
        made: list[str] = []
        credentials = scram.ScramCredentials(name, b"salt", 4096, b"said", bytes(32))
        real = credentials.checkPassword

        def counted(password: bytes | str) -> bool:
            made.append("scram")
            return real(password)

        credentials.checkPassword = counted  # type: ignore[method-assign]
        checker = ends.passwords()
        checker.requestAvatarId(credentials).addErrback(lambda _: None)
        credentials.spend()
        return len(made)

    return {
        "PLAIN, Argon2id": of_store("argon2id"),
        "PLAIN, verifiers": of_store("scram"),
        "SCRAM-SHA-256, verifiers": of_verifiers,
        "SCRAM-SHA-256, passwords": of_passwords,
    }


@contextmanager
def _counting(table: dict[str, Any]) -> Iterator[list[str]]:
    """Count what the functions of a table are called for."""
    made: list[str] = []
    before = dict(table)

    def counted(scheme: str, verify: Any) -> Any:
        def verified(*args: Any) -> Any:
            made.append(scheme)
            return verify(*args)

        return verified

    table.update({scheme: counted(scheme, each) for scheme, each in before.items()})
    try:
        yield made
    finally:
        table.update(before)


# Stalls


def _loops() -> list[str]:
    """Return the event loops that are installed."""
    return [each for each in LOOPS if each != "uvloop" or find_spec("uvloop")]


def stalls(chosen: argparse.Namespace, folder: Path) -> Iterator[_rows.Row]:
    """Have very many users log in at once, and see how long that holds up a loop.

    Args:
        chosen: What the command line says.
        folder: Where the certificates are.

    Yields:
        The longest that something due had to wait: while the users connect, which is as
        long as TLS takes, and while they log in.
    """
    found: dict[tuple[str, str], list[_rows.Row]] = {}
    for _ in range(chosen.rounds):
        for way in chosen.way or _STALLING:
            for loop in chosen.loop or _loops():
                _machine.wait_until_quiet(chosen.patience if chosen.quiet else 0)
                for row in _stalled(folder, way, loop, chosen.users):
                    found.setdefault((row["case"], row["phase"]), []).append(row)
    for rows in found.values():
        yield _median_of(rows)


def _stalled(folder: Path, way: str, loop: str, users: int) -> Iterator[_rows.Row]:
    with _running("server", folder, way, loop=loop, crowded=True) as server:
        port = int(said(server))
        _tell(server, "watch")
        options = {"port": port, "count": users}
        with _running("crowd", folder, way, **options) as crowd:
            for phase, most in [("connecting", None), ("logging in", _LONGEST_STALL)]:
                with _machine.Meter(server.pid) as meter:
                    before = _machine.processor_time_of(crowd.pid)
                    said(crowd) if phase == "connecting" else _tell(crowd, "go")
                    used = _machine.processor_time_of(crowd.pid) - before
                row = json.loads(_tell(server, "tell"))
                _tell(server, "watch")
                longest = row.pop("longest")
                yield _figure(
                    "stalls",
                    f"{way}, on {loop}, {phase}",
                    longest,
                    "ms, the longest stall",
                    most,
                    phase=phase,
                    noise=max(0.0, meter.noise - used / meter.seconds / 2),
                    seconds=meter.seconds,
                    **row,
                )


# Cost


def cost(chosen: argparse.Namespace, folder: Path) -> Iterator[_rows.Row]:
    """Log in by each mechanism, both ends in one process, over TLS.

    Args:
        chosen: What the command line says.
        folder: Where the certificates are.

    Yields:
        The processor time of both ends, of a login alone.
    """
    found: dict[str, list[_rows.Row]] = {}
    for _ in range(chosen.rounds):
        for way in chosen.mechanism or ends.MECHANISMS:
            with _running("cost", folder, way, count=chosen.logins) as both:
                row = json.loads(said(both))
            value = row.pop("value")
            of_way = found.setdefault(way, [])
            of_way.append(
                _figure("cost", way, value, "ms of the processor", None, **row)
            )
    for rows in found.values():
        yield _median_of(rows)


#: What can be measured, by name.
SECTIONS: Final[
    dict[str, Callable[[argparse.Namespace, Path], Iterator[_rows.Row]]]
] = {"tries": tries, "enumeration": enumeration, "stalls": stalls, "cost": cost}


def measure(chosen: argparse.Namespace, writer: _rows.Writer) -> None:
    """Measure, and write a row for each figure.

    Args:
        chosen: What the command line says.
        writer: Takes the rows.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        ends.make_certificates(folder)
        for name in chosen.sections.split(","):
            for row in SECTIONS[name](chosen, folder):
                if row["most"] is not None:
                    row["most"] *= chosen.slack
                row["ok"] = row["most"] is None or row["value"] <= row["most"]
                writer.add(row)
                print(_told(row), file=sys.stderr)


def _told(row: _rows.Row) -> str:
    """Return a figure as a line of text."""
    mark = "ok    " if row["ok"] else "FAILED"
    most = row["most"]
    limit = "" if most is None else f" (at most {_rows.number(most)})"
    value = _rows.number(row["value"])
    return f"{mark} {row['part']}: {row['case']}: {value} {row['unit']}{limit}"


def tables(rows: list[_rows.Row]) -> str:
    """Return the tables of a run as Markdown.

    Args:
        rows: The measurements.
    """
    parts: dict[str, list[_rows.Row]] = {}
    for row in rows:
        parts.setdefault(row["part"], []).append(row)
    text = ""
    for part, of_part in parts.items():
        body = [
            [
                row["case"],
                f"{_rows.number(row['value'])} {row['unit']}",
                _rows.number(row["most"]),
                _notes(row),
            ]
            for row in of_part
        ]
        text += f"\n### {part.capitalize()}\n\n"
        text += _rows.table([part, "found", "may be", "besides"], body)
    return text


def _notes(row: _rows.Row) -> str:
    """Return what else a row says, where it says so."""
    names = [
        *("begun", "refused", "from one", "count", "p50", "p99"),
        *("verifications", "known", "unknown", "ran", "waited", "low", "high"),
    ]
    return ", ".join(
        f"{name} {_rows.number(row[name])}" for name in names if name in row
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says.

    Args:
        arguments: The command line's; None for the process's own.

    Returns:
        The process's exit code: 1 if a figure is larger than it may be.
    """
    parser = argparse.ArgumentParser(
        prog="benchmarks.logins", description="Measure what logins cost, and whom."
    )
    add = parser.add_argument
    add("--sections", default=",".join(SECTIONS), help="which, by name")
    add("--runs", type=int, default=3, help="of tries: the least disturbed counts")
    add("--rounds", type=int, default=5, help="of stalls and costs: the median counts")
    add("--slack", type=float, default=1.0, help="how many times more may be")
    add("--tries", type=int, default=10_000, help="to log in with a wrong password")
    add("--attackers", type=int, default=32, help="connections that try at a time")
    add("--hosts", type=int, default=16, help="addresses that they come from")
    add("--patience", type=float, default=600.0, help="seconds for all tries")
    add("--guesses", type=int, default=100, help="of which verifications are counted")
    add("--way", action="append", choices=_STALLING, help="of which to see stalls")
    add("--loop", action="append", choices=LOOPS, help="on which to see stalls")
    add("--mechanism", action="append", choices=ends.MECHANISMS, help="to cost")
    add("--users", type=int, default=200, help="who log in at once")
    add("--logins", type=int, default=100, help="of which the cost is the mean")
    add(
        "--quiet",
        action="store_true",
        help="begin each round when the machine is quiet",
    )
    add("--out", type=Path, default=_rows.DEFAULT_FOLDER / "logins.jsonl")
    add("--append", action="store_true", help="keep what --out holds")
    chosen = parser.parse_args(arguments)
    settings = {**vars(chosen)}
    del settings["out"], settings["append"]
    with _rows.Writer(chosen.out, "logins", append=chosen.append, **settings) as writer:
        measure(chosen, writer)
    print(tables(writer.rows))
    failed = [row for row in writer.rows if not row["ok"]]
    for row in failed:
        print(_told(row))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
