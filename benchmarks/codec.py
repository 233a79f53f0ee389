"""This module measures codecs: values to bytes, and bytes to values.

``python -m benchmarks.codec`` times each system on each payload in interleaved rounds,
garbage collection off, and compares it with `twisted.spread` in the same round.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Final, NamedTuple

from . import _machine, _rows
from ._codecs import BASE, CODECS, Codec, Unable, available
from ._payloads import PAYLOADS, Payload

__all__ = ["OPERATIONS", "main", "tables"]

#: What is measured, and what of it a table's heading says.
OPERATIONS: Final = {
    "send": "Send: value → bytes",
    "receive": "Receive: bytes → value",
    "pieces": "Decode in 4 KiB pieces, without building objects",
}


class _Contender(NamedTuple):
    name: str
    run: Callable[[], object]
    repeats: int


def _sample(run: Callable[[], object], repeats: int) -> float:
    """Return the microseconds that one of ``repeats`` runs takes."""
    gc.collect()
    gc.disable()
    try:
        begun = perf_counter_ns()
        for _ in range(repeats):
            run()
        return (perf_counter_ns() - begun) / repeats / 1000
    finally:
        gc.enable()


def _task(codec: Codec, operation: str, data: bytes) -> Callable[[], object]:
    """Return what to time; check first that it does what it should.

    Raises:
        NotImplementedError: The system has no such operation.
        ValueError: What comes out is not what went in.
    """
    if operation == "send":
        return codec.send
    if operation == "receive":
        if not codec.payload.same(codec.value, codec.receive(data)):
            raise ValueError("what was received is not what was sent")
        return lambda: codec.receive(data)
    size = codec.payload.pieces
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    codec.pieces(pieces)
    return lambda: codec.pieces(pieces)


class _Case:
    """One payload in the forms of all systems that can take it.

    Args:
        payload: The payload.
        names: The systems.

    Attributes:
        codecs: Those that can be made for it.
        wires: What they send.
        errors: Why they cannot be made or cannot send.
    """

    def __init__(self, payload: Payload, names: list[str]) -> None:
        self.payload = payload
        self.codecs: dict[str, Codec] = {}
        self.wires: dict[str, bytes] = {}
        self.errors: dict[str, str] = {}
        for name in names:
            try:
                codec = self.codecs[name] = CODECS[name](payload)
                self.wires[name] = codec.send()
            # Twisted recurses with the depth of P6, and so does pickle.
            except (RecursionError, Unable) as error:
                self.errors[name] = f"{type(error).__name__}: {error}"[:120]
        pb = {self.wires[name] for name in self.wires if self.codecs[name].is_pb}
        if len(pb) > 1:
            raise SystemExit(f"{payload.name}: ours are not the bytes of {BASE}")
        # One that cannot send it can perhaps receive it.
        for wire in pb:
            for name, codec in self.codecs.items():
                if codec.is_pb:
                    self.wires.setdefault(name, wire)

    def contender(self, name: str, operation: str, budget: float) -> _Contender | str:
        """Return a system with its operation, tried and calibrated, or why not.

        Raises:
            NotImplementedError: The system has no such operation.
        """
        if name not in self.wires or (operation == "send" and name in self.errors):
            return self.errors[name]
        try:
            run = _task(self.codecs[name], operation, self.wires[name])
        except RecursionError as error:
            return f"RecursionError: {error}"[:120]
        once = _sample(run, 1) / 1e6
        # The first run is the slowest: it fills caches.
        if once < budget:
            once = _sample(run, max(1, int(budget / 4 / once))) / 1e6
        return _Contender(name, run, max(1, round(budget / max(once, 1e-9))))


def _row(payload: Payload, operation: str, name: str, turn: int) -> _rows.Row:
    return {
        "kind": "codec",
        "payload": payload.name,
        "operation": operation,
        "system": name,
        "round": turn,
        "unit": "µs",
    }


def measure(
    payloads: list[str],
    operations: list[str],
    names: list[str],
    rounds: int,
    budget: float,
    writer: _rows.Writer,
) -> None:
    """Measure, and write a row for each system, payload, operation and round.

    Args:
        payloads: Their names.
        operations: Keys of `OPERATIONS`.
        names: The systems.
        rounds: How often each is measured.
        budget: Seconds for one measurement, in which it is repeated.
        writer: Takes the rows.
    """
    for payload in (PAYLOADS[name] for name in payloads):
        case = _Case(payload, names)
        for operation in operations:
            if operation == "pieces" and not payload.pieces:
                continue
            contenders = []
            for name in names:
                try:
                    found = case.contender(name, operation, budget)
                except NotImplementedError:
                    continue
                if isinstance(found, str):
                    row = _row(payload, operation, name, 0)
                    writer.add(row | {"error": found})
                else:
                    contenders.append(found)
            for turn in range(rounds):
                for name, run, repeats in contenders[:: 1 if turn % 2 == 0 else -1]:
                    writer.add(
                        _row(payload, operation, name, turn)
                        | {"value": _sample(run, repeats), "repeats": repeats}
                    )
            print(payload.name, operation, "done", file=sys.stderr)


def tables(rows: list[_rows.Row], form: str) -> str:
    """Return the tables of a run as Markdown.

    Args:
        rows: The measurements.
        form: The form of our codec, for the names.
    """
    text = []
    names = list(dict.fromkeys(row["system"] for row in rows))
    payloads = list(dict.fromkeys(row["payload"] for row in rows))
    for operation, title in OPERATIONS.items():
        body = []
        for name in names:
            cells = [_cell(rows, payload, operation, name) for payload in payloads]
            if any(cells):
                body.append([_label(name, form), *cells])
        if body:
            text.append(f"### {title}\n\n{_rows.table(['µs', *payloads], body)}")
    reasons = [
        f"- {row['payload']}, {row['operation']}, {row['system']}: {row['error']}.\n"
        for row in rows
        if "error" in row
    ]
    return "\n".join([*text, "".join(reasons)] if reasons else text)


def _label(name: str, form: str) -> str:
    return f"{name} ({form})" if name.startswith("ours") else name


def _cell(rows: list[_rows.Row], payload: str, operation: str, name: str) -> str:
    def of(system: str) -> list[_rows.Row]:
        return [
            row
            for row in rows
            if (row["payload"], row["operation"], row["system"])
            == (payload, operation, system)
        ]

    mine = of(name)
    if not mine:
        return ""
    summary = _rows.summarize(mine, of(BASE), more_is_better=False)
    if summary is None:
        return "cannot"
    cell = f"{_rows.number(summary.value)} {summary.around()}".strip()
    if summary.ratio is not None and name != BASE:
        cell += f" **{_rows.number(summary.ratio)}{_rows.TIMES}**"
    return cell


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark as the command line says.

    Args:
        arguments: The command line's; None for the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="benchmarks.codec", description="Measure codecs, side by side."
    )
    names = available()
    parser.add_argument("--payloads", default=",".join(PAYLOADS), help="which, by name")
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    parser.add_argument(
        "--systems", default=";".join(names), help="which; semicolons between them"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--budget", type=float, default=0.05, help="seconds for one measurement"
    )
    parser.add_argument(
        "--out", type=Path, default=_rows.DEFAULT_FOLDER / "codec.jsonl"
    )
    parser.add_argument("--append", action="store_true", help="keep what --out holds")
    chosen = parser.parse_args(arguments)
    with _rows.Writer(
        chosen.out,
        "codec",
        append=chosen.append,
        rounds=chosen.rounds,
        budget=chosen.budget,
    ) as writer:
        measure(
            chosen.payloads.split(","),
            chosen.operations.split(","),
            chosen.systems.split(";"),
            chosen.rounds,
            chosen.budget,
            writer,
        )
    print(tables(writer.rows, _machine.form()))


if __name__ == "__main__":
    main()
