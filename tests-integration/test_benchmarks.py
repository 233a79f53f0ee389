"""Each benchmark at its smallest, and its rows; durations are not checked.

Most of it takes long and is part of the trials.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from programs import run_program

ROOT = Path(__file__).parents[1]

#: Sizes for growth, and no repetition.
SMALL = ["--sizes", "10", "40", "--budget", "0"]

PB_SYSTEMS = ["twisted-pb", "ours", "ours-to-twisted", "twisted-to-ours"]


def run(
    benchmark: str, *arguments: str | Path, expected: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a benchmark as its users do: from the root of the repository."""
    path = os.pathsep.join(each for each in sys.path if each)
    ran = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == expected, ran.stdout + ran.stderr
    return ran


def rows_in(path: Path) -> list[dict[str, Any]]:
    """Check the subjects of the measurements in a file, and return the measurements."""
    about, *rows = map(json.loads, path.read_text("utf-8").splitlines())
    assert about["kind"] == "run"
    assert about["form"] in {"plain", "compiled"}
    assert about["python"].endswith(".".join(map(str, sys.version_info[:3])))
    assert about["versions"]["twisted"]
    return rows


def measure_calls(path: Path, works: list[str], systems: list[str]) -> None:
    run(
        "rpc",
        *("--systems", ",".join(systems), "--works", ",".join(works)),
        *("--rounds", "1", "--calls", "20", "--scale", "0.002"),
        *("--repeat", "0", "--patience", "0", "--together", "--out", path),
    )


@pytest.mark.trial
def test_rows_of_each_codec_and_payload(tmp_path: Path) -> None:
    # All but those on which twisted.spread takes long.
    payloads = ["P1", "P2", "P5", "P6", "P7"]
    out = tmp_path / "codec.jsonl"
    ran = run(
        "codec",
        *("--payloads", ",".join(payloads), "--rounds", "1", "--budget", "0"),
        *("--out", out),
    )
    rows = rows_in(out)
    for operation in ("send", "receive"):
        for system in ("twisted.spread", "ours", "ours, dumps", "pickle 5"):
            found = {
                row["payload"]
                for row in rows
                if (row["system"], row["operation"]) == (system, operation)
                and row.get("value", 0) > 0
            }
            # The original's recursion, and pickle's, may be at its end before P6 is.
            able = set(payloads) if system.startswith("ours") else {*payloads} - {"P6"}
            assert able <= found, (system, operation)
    assert {row["round"] for row in rows} == {0}
    assert "### Send" in ran.stdout
    assert "### Receive" in ran.stdout


def test_rows_of_a_codec_fed_in_pieces(tmp_path: Path) -> None:
    out = tmp_path / "codec.jsonl"
    run(
        "codec",
        *("--payloads", "P8", "--operations", "pieces", "--systems", "ours"),
        *("--rounds", "1", "--budget", "0", "--out", out),
    )
    (row,) = rows_in(out)
    assert row["value"] > 0


@pytest.mark.trial
def test_rows_of_each_workload_between_all_pairs_of_ends(tmp_path: Path) -> None:
    works = ["W1", "W2", "W2k", "W3", "W4", "W4b", "W5", "W6", "W7", "W8", "W8n"]
    out = tmp_path / "rpc.jsonl"
    measure_calls(out, works, [*PB_SYSTEMS, "raw-twisted"])
    rows = rows_in(out)
    assert [row for row in rows if "error" in row] == []
    measured = {(row["system"], row["work"]) for row in rows if row["value"] > 0}
    assert {(name, work) for name in PB_SYSTEMS for work in works} <= measured
    assert {
        ("raw-twisted", work) for work in ("W1", "W2", "W2k", "W4", "W6")
    } <= measured
    latencies = [row["p50 µs"] <= row["p99 µs"] for row in rows if row["work"] == "W1"]
    assert latencies == [True] * 5


@pytest.mark.trial
def test_rows_of_growth(tmp_path: Path) -> None:
    out = tmp_path / "growth.jsonl"
    ran = run("growth", "--here", *SMALL, "--out", out)
    rows = rows_in(out)
    assert [row for row in rows if "error" in row] == []
    scenes = {row["scene"] for row in rows}
    assert {"items sent", "bytes in pieces", "connections", "observers"} <= scenes
    assert len(rows) == len(scenes) * 2 * 2
    assert all(row["value"] > 0 for row in rows)
    assert "time grows as n to the" in ran.stdout


@pytest.mark.trial
def test_growth_stops_at_its_time_limit(tmp_path: Path) -> None:
    out = tmp_path / "growth.jsonl"
    ran = run(
        "growth",
        *("--scenes", "items sent", "--sizes", "10", "1000", "100000"),
        *("--budget", "0", "--patience", "0", "--out", out),
    )
    # The first two points have been measured, each in a process of its own.
    rows = rows_in(out)
    assert [row["size"] for row in rows] == [10, 10, 1000, 1000]
    assert all("it would take" in row["error"] for row in rows[2:])
    assert "no n = 1,000, it would take" in ran.stdout


@pytest.mark.trial
def test_rows_of_memory(tmp_path: Path) -> None:
    out = tmp_path / "memory.jsonl"
    run("memory", "--payloads", "P1,P6", "--count", "20", "--out", out)
    rows = rows_in(out)
    assert {row["scene"] for row in rows if "scene" in row} == {
        "references",
        "connections",
        "observers",
        "waiting calls",
    }
    ours = [row for row in rows if row["system"].startswith("ours")]
    assert all(row["value"] > 0 for row in ours)


#: Everything that `hostile` does, but little of it.
TINY = [
    *("--runs", "1", "--scale", "0.002", "--siege", "0.2", "--seconds", "0"),
    *("--attack", "garbage", "--conversations", "1", "--step", "40", "--stops", "1"),
]


@pytest.mark.trial
def test_rows_of_starting(tmp_path: Path) -> None:
    out = tmp_path / "starting.jsonl"
    # How long it takes is not for a test.
    path = os.pathsep.join(each for each in sys.path if each)
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.starting", "--rounds", "1", "--out", out],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in {0, 1}, ran.stderr
    rows = rows_in(out)
    assert [row["program"] for row in rows][:3] == [
        "pass",
        "from twisted.spread import pb",
        "from pb_cred import pb",
    ]
    assert all(row["value"] > 0 for row in rows)


@pytest.mark.trial
def test_rows_of_attacks(tmp_path: Path) -> None:
    out, document = tmp_path / "hostile.jsonl", tmp_path / "performance.md"
    # Nothing is so slow, or so large.
    run("hostile", *TINY, "--slack", "1e9", "--out", out)
    rows = rows_in(out)
    assert {row["attack"] for row in rows} == {
        *("one-byte tokens", "nesting", "hash flooding", "shared objects", "numbers"),
        *("memory", "fairness", "cut conversations", "soak"),
    }
    assert all(row["ok"] for row in rows)
    for row in rows:
        if row["attack"] == "fairness":
            assert row["calls"] > 1
        elif row["attack"] == "memory":
            # As many nodes as that are allowed; some mean nothing.
            assert row["outcome"] in ("answered", "refused")
    (cut,) = (row for row in rows if row["attack"] == "cut conversations")
    assert (cut["value"], cut["wrong"]) == (0, [])
    assert cut["cuts"] > 5
    tables = [row for row in rows if row["case"].endswith("'s tables")]
    assert [row["value"] for row in tables] == [0, 0]
    run("report", out, "--out", document)
    assert "## Under attack (" in document.read_text("utf-8")


@pytest.mark.trial
def test_successful_attacks_are_reported(tmp_path: Path) -> None:
    out = tmp_path / "hostile.jsonl"
    options = ["--sections", "nesting,conversations", "--slack", "0"]
    ran = run("hostile", *TINY, *options, "--out", out, expected=1)
    rows = rows_in(out)
    failed = [row for row in rows if not row["ok"]]
    # Nothing was left of a conversation, and that is all that there may be.
    assert len(failed) == len(rows) - 1
    assert ran.stdout.count("\nFAILED nesting: ") == len(failed)


#: Everything that `logins` does, but little of it.
FEW = [
    *("--runs", "1", "--rounds", "1", "--guesses", "2", "--users", "3"),
    *("--tries", "20", "--attackers", "4", "--hosts", "2", "--logins", "1"),
]

#: One way to log in on one event loop, and two mechanisms: what every other way, loop
#: and mechanism does is for the tests of logins to say.
ONE_WAY = [
    *("--way", "PLAIN, Argon2id", "--loop", "asyncio"),
    *("--mechanism", "MD5", "--mechanism", "EXTERNAL"),
]


@pytest.mark.trial
def test_rows_of_logins(tmp_path: Path) -> None:
    out = tmp_path / "logins.jsonl"
    # Nothing is so slow.
    run("logins", *FEW, *ONE_WAY, "--slack", "1e9", "--out", out)
    rows = rows_in(out)
    assert all(row["ok"] for row in rows)
    parts = {row["part"] for row in rows}
    assert parts == {"tries", "enumeration", "stalls", "cost"}
    found = {row["case"]: row for row in rows}
    assert found["tries let in, without delays"]["refused"] >= 20
    for when in ("with delays", "without delays"):
        assert found[f"tries let in, {when}"]["value"] == 0
        assert found[f"honest logins refused, {when}"]["value"] == 0
        assert found[f"honest calls, {when}"]["count"] > 0
    same = [row for row in rows if row["part"] == "enumeration"]
    assert [row["value"] for row in same] == [0] * 4
    assert all(row["verifications"] > 0 for row in same)
    assert found["PLAIN, Argon2id, on asyncio, logging in"]["ticks"] > 0
    ways = {row["case"] for row in rows if row["part"] == "cost"}
    assert ways == {"MD5", "EXTERNAL"}


@pytest.mark.trial
def test_slow_logins_are_reported(tmp_path: Path) -> None:
    out = tmp_path / "logins.jsonl"
    options = [*ONE_WAY, "--sections", "enumeration,stalls", "--slack", "0"]
    ran = run("logins", *FEW, *options, "--out", out, expected=1)
    failed = [row for row in rows_in(out) if not row["ok"]]
    assert {row["part"] for row in failed} == {"stalls"}
    assert all(row["case"].endswith("logging in") for row in failed)
    assert failed != []
    assert ran.stdout.count("\nFAILED stalls: ") == len(failed)


@pytest.mark.trial
def test_report_contains_the_measured_rows(tmp_path: Path) -> None:
    calls, codec, grown = (tmp_path / f"{name}.jsonl" for name in ("r", "c", "g"))
    measure_calls(calls, ["W1"], ["twisted-pb", "ours"])
    run(
        "codec", *("--payloads", "P1", "--rounds", "2", "--budget", "0"), "--out", codec
    )
    run("growth", "--here", *SMALL, "--scenes", "references", "--out", grown)
    document = tmp_path / "performance.md"
    run("report", calls, codec, grown, "--out", document)
    text = document.read_text("utf-8")
    (measured,) = (row for row in rows_in(calls) if row["system"] == "ours")
    assert f"| {measured['value']:,.0f} |" in text
    assert "### W1: add(int, int), one call outstanding" in text
    assert "n live references are passed" in text
    plots = sorted((tmp_path / "performance").iterdir())
    assert len(plots) == 4
    for plot in plots:
        assert f"](performance/{plot.name})" in text
        assert ElementTree.fromstring(plot.read_text("utf-8")).tag.endswith("}svg")


@pytest.mark.trial
def test_runs_on_one_machine_are_reported_together(tmp_path: Path) -> None:
    rows = tmp_path / "codec.jsonl"
    for payload in ("P1", "P2"):
        run(
            "codec",
            *("--payloads", payload, "--systems", "twisted.spread;ours"),
            *("--rounds", "1", "--budget", "0", "--append", "--out", rows),
        )
    document = tmp_path / "performance.md"
    run("report", rows, "--out", document)
    assert document.read_text("utf-8").count("\n| µs | P1 | P2 |\n") == 2


def test_small_calls_beside_a_large_one_are_timed(tmp_path: Path) -> None:
    rows = tmp_path / "latency.jsonl"
    run(
        "latency",
        *("--rounds", "1", "--loops", "twisted,asyncio", "--patience", "0"),
        *("--bytes", "300000", "--nodes", "500", "--out", rows),
    )
    found = {(row["work"], row["system"]) for row in rows_in(rows)}
    assert found == {
        (work, f"{dialect}, {loop}")
        for work in ("bytes", "nodes")
        for dialect in ("pb2", "pb")
        for loop in ("twisted", "asyncio")
    }
    document = tmp_path / "performance.md"
    run("report", rows, "--out", document)
    assert "### Small calls beside 300,000 bytes" in document.read_text("utf-8")


def test_no_report_without_rows(tmp_path: Path) -> None:
    rows = tmp_path / "codec.jsonl"
    run("codec", "--payloads", "P1", "--rounds", "0", "--out", rows)
    document = tmp_path / "performance.md"
    ran = run("report", rows, "--out", document, expected=1)
    assert "nothing to report" in ran.stderr
    assert list(tmp_path.iterdir()) == [rows]


@pytest.mark.parametrize(
    "benchmark",
    ["codec", "rpc", "growth", "memory", "latency", "hostile", "logins", "report"],
)
def test_usage_is_printed_on_request(benchmark: str) -> None:
    ran = run_program("-m", f"benchmarks.{benchmark}", "--help", cwd=ROOT)
    assert f"usage: benchmarks.{benchmark}" in ran.stdout
