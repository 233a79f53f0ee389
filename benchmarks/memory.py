"""This module measures memory, to the byte: of codecs at work, of things that live.

``python -m benchmarks.memory`` counts what Python allocates. What a process has
resident, holes and all, is in the workloads W4b, W6 and W7 of `benchmarks.rpc`.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from . import _machine, _rows
from ._codecs import BASE, CODECS, Unable, available
from ._payloads import PAYLOADS, Payload
from ._scenes import SCENES, memory_of

__all__ = ["main", "tables"]

#: What lives, of which the bytes of each are counted.
_LIVING: Final = ("references", "connections", "observers", "waiting calls")


def _peak_of(run: Callable[[], object]) -> int:
    """Return the most bytes that a run needs, its result included."""
    run()
    gc.collect()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        kept = run()
        peak = tracemalloc.get_traced_memory()[1]
        del kept
    finally:
        tracemalloc.stop()
    return peak - before


def _codec_rows(payload: Payload, system: str) -> Iterator[_rows.Row]:
    row: _rows.Row = {
        "kind": "memory",
        "payload": payload.name,
        "system": system,
        "unit": "B",
    }
    try:
        codec = CODECS[system](payload)
        data = codec.send()
        received = _peak_of(lambda: codec.receive(data))
    # Twisted recurses with the depth of P6, and so does pickle.
    except (RecursionError, Unable) as error:
        yield {**row, "error": f"{type(error).__name__}: {error}"[:120]}
        return
    row["wire"] = len(data)
    yield {**row, "operation": "send", "value": _peak_of(codec.send)}
    yield {**row, "operation": "receive", "value": received}


def measure(payloads: list[str], count: int, writer: _rows.Writer) -> None:
    """Measure, and write a row for each system and each thing.

    Args:
        payloads: The names of those to send and receive.
        count: How many of what lives there should be.
        writer: Takes the rows.
    """
    for name in payloads:
        for system in available():
            for row in _codec_rows(PAYLOADS[name], system):
                writer.add(row)
        print(name, "done", file=sys.stderr)
    for scene in _LIVING:
        for system in (BASE, "ours"):
            writer.add(
                {
                    "kind": "memory",
                    "scene": scene,
                    "system": system,
                    "unit": "B",
                    "value": memory_of(SCENES[scene], system, count) / count,
                }
            )
        print(scene, "done", file=sys.stderr)


def tables(rows: list[_rows.Row], form: str) -> str:
    """Return the tables of a run as Markdown.

    Args:
        rows: The measurements.
        form: The form of our codec, for the names.
    """
    found = {
        (row["system"], row.get("operation"), row.get("payload") or row["scene"]): row
        for row in rows
    }
    systems = list(dict.fromkeys(row["system"] for row in rows))
    payloads = list(dict.fromkeys(row["payload"] for row in rows if "payload" in row))
    text = []
    for operation in ("send", "receive"):
        body = []
        for system in systems:
            cells = []
            for payload in payloads:
                row = found.get((system, operation, payload))
                cells.append(
                    "cannot"
                    if row is None
                    else f"{row['value'] / 1024:,.1f}"
                    f" ({_rows.number(row['value'] / row['wire'])}{_rows.TIMES})"
                )
            body.append([_label(system, form), *cells])
        head = [f"KiB to {operation}", *payloads]
        text.append(_rows.table(head, body))
    body = []
    for system in systems:
        cells = [
            _rows.number(found[system, None, scene]["value"])
            for scene in _LIVING
            if (system, None, scene) in found
        ]
        if cells:
            body.append([_label(system, form), *cells])
    text.append(_rows.table(["B each, both ends", *_LIVING], body))
    return "\n".join(text)


def _label(name: str, form: str) -> str:
    return f"{name} ({form})" if name.startswith("ours") else name


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark as the command line says.

    Args:
        arguments: The command line's; None for the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="benchmarks.memory", description="Measure memory, to the byte."
    )
    parser.add_argument("--payloads", default=",".join(PAYLOADS), help="which, by name")
    parser.add_argument(
        "--count", type=int, default=1000, help="how many of what lives"
    )
    parser.add_argument(
        "--out", type=Path, default=_rows.DEFAULT_FOLDER / "memory.jsonl"
    )
    parser.add_argument("--append", action="store_true", help="keep what --out holds")
    chosen = parser.parse_args(arguments)
    with _rows.Writer(
        chosen.out, "memory", append=chosen.append, count=chosen.count
    ) as writer:
        measure(chosen.payloads.split(","), chosen.count, writer)
    print(tables(writer.rows, _machine.form()))


if __name__ == "__main__":
    main()
