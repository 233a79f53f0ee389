"""This module has Buildbot, which speaks Perspective Broker, do so through us.

A real master and a real worker work through four builds, that commands of Buildbot
asked for; then both end.  Each has Twisted's broker or ours in all combinations:
what must come out is the same, whoever is at which end.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from running import Program

SITE = Path(__file__).with_name("buildbot_site")

#: More than fits into one message of Perspective Broker.
BIG = bytes(range(256)) * 3000

PATCH = b"--- a\n+++ b\n" + bytes(range(256))

BUILDERS = {"transfer", "endless", "wrong", "tried"}

OURS = "pb_cred.drop_in._pb"
THEIRS = "twisted.spread.pb"


@dataclass(frozen=True)
class Ends:
    """Whether there is our broker in the master, and in all who connect to it."""

    master: bool
    others: bool


@dataclass
class Story:
    """What happened."""

    ends: Ends
    files: Path
    builds: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)

    def step(self, builder: str, name: str) -> Any:
        return self.builds[builder]["steps"][name]

    def log(self, builder: str, name: str, log: str = "stdio") -> list[str]:
        """Return the lines of a log; the first character tells the stream."""
        lines: list[str] = self.step(builder, name)["logs"][log].splitlines()
        return lines


@pytest.fixture(scope="module")
def new_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a master that was never started."""
    directory = tmp_path_factory.mktemp("new") / "master"
    program = Program(
        "buildbot",
        *("create-master", "--quiet", str(directory)),
        ours=False,
        directory=directory.parent,
        environment={"HOME": str(directory.parent)},
    )
    try:
        assert program.finish() == 0
    finally:
        program.close()
    shutil.copy(SITE / "master.tac", directory / "buildbot.tac")
    shutil.copy(SITE / "master.cfg", directory)
    (directory / "big.bin").write_bytes(BIG)
    return directory


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(Ends(master=False, others=False), id="neither"),
        pytest.param(Ends(master=True, others=False), id="master"),
        pytest.param(Ends(master=False, others=True), id="worker"),
        pytest.param(Ends(master=True, others=True), id="both"),
    ],
)
def story(
    request: pytest.FixtureRequest,
    new_master: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    ends: Ends = request.param
    place = tmp_path_factory.mktemp("buildbot")
    with ExitStack() as stack:
        return play(ends, new_master, place, stack)


def play(ends: Ends, new_master: Path, place: Path, stack: ExitStack) -> Story:
    """Have a master and its worker do all that they are to do, and end."""
    shutil.copytree(new_master, place / "master")
    (place / "patch").write_bytes(PATCH)

    def start(name: str, *arguments: str, ours: bool, **environment: str) -> Program:
        program = Program(
            name,
            *arguments,
            ours=ours,
            directory=place,
            environment={"HOME": str(place), "PYTHONUTF8": "1", **environment},
        )
        stack.callback(program.close)
        return program

    def start_worker(directory: str, password: str) -> Program:
        (place / directory).mkdir()
        shutil.copy(SITE / "worker.tac", place / directory / "buildbot.tac")
        return start(
            *("buildbot-worker", "start", "--nodaemon", directory),
            ours=ends.others,
            MASTER_PORT=port,
            WORKER_PASSWORD=password,
        )

    programs: dict[str, Program] = {}
    master = start(*("buildbot", "start", "--nodaemon", "master"), ours=ends.master)
    programs["master"] = master
    port = master.wait_for(r"PBServerFactory starting on (\d+)")[1]
    programs["worker"] = start_worker("worker", "open sesame")
    programs["impostor"] = start_worker("impostor", "open barley")
    master.wait_for("BuildMaster is running")
    programs["sendchange"] = start(
        *("buildbot", "sendchange", f"--master=127.0.0.1:{port}"),
        *("--auth=ann:change", "--who=Zoë", "--branch=main", "--revision=17"),
        *("--property=size:größer", "--comments=why not", "src/a.c", "src/b.c"),
        ours=ends.others,
    )
    programs["try"] = start(
        *("buildbot", "try", "--connect=pb", f"--master=127.0.0.1:{port}"),
        *(
            "--username=bob",
            "--passwd=please",
            "--diff=patch",
            "--repository=",
            "--property=wish=fast",
        ),
        *("--wait", "--quiet"),
        ours=ends.others,
    )
    story = Story(ends, place / "master" / "uploaded")
    while story.builds.keys() != BUILDERS:
        build = json.loads(master.wait_for(r"report: (\{.*\})$")[1])
        story.builds[build["builder"]] = build
    for name in ("sendchange", "try", "impostor"):
        story.exits[name] = programs[name].finish()
    programs["worker"].send(signal.SIGHUP)
    story.exits["worker"] = programs["worker"].finish()
    master.wait_for(r"Worker.detached\(alpha\)")
    master.send(signal.SIGTERM)
    story.exits["master"] = master.finish()
    story.logs = {name: program.said for name, program in programs.items()}
    return story


def test_each_end_has_the_broker_that_it_is_to_have(story: Story) -> None:
    ends = {
        "master": story.ends.master,
        "worker": story.ends.others,
        "impostor": story.ends.others,
    }
    for name, ours in ends.items():
        assert f"perspective broker: {OURS if ours else THEIRS}" in story.logs[name]


def test_every_build_ends_as_it_should(story: Story) -> None:
    assert {name: build["results"] for name, build in story.builds.items()} == {
        "transfer": "failure",
        "endless": "cancelled",
        "wrong": "failure",
        "tried": "success",
    }


def test_every_step_ends_as_it_should(story: Story) -> None:
    steps = story.builds["transfer"]["steps"]
    assert {name: step["results"] for name, step in steps.items()} == {
        "worker_preparation": "success",
        "make": "success",
        "program": "success",
        "letter": "success",
        "big": "success",
        "work": "success",
        "ask": "success",
        "upload": "success",
        "tree": "success",
        "texts": "success",
        "missing": "failure",
        "fail": "failure",
        "clean": "success",
    }


def test_files_arrive_as_they_left(story: Story) -> None:
    letter = "Grüße aus Köln\n".encode()
    assert {
        str(path.relative_to(story.files)): path.read_bytes()
        for path in story.files.rglob("*")
        if path.is_file()
    } == {
        "reversed.bin": BIG[::-1],
        "made/deep/reversed.bin": BIG[::-1],
        "texts/letter.txt": letter,
        "patch": PATCH,
    }
    assert (story.files / "reversed.bin").stat().st_mtime == 1_000_000_000


def test_what_a_command_says_arrives_in_order(story: Story) -> None:
    lines = story.log("transfer", "work")
    assert [line for line in lines if line.startswith("o")] == [
        f"o{number} grüß dich" for number in range(2000)
    ]
    assert [line for line in lines if line.startswith("e")] == ["ea complaint"]
    assert story.log("transfer", "work", "diary") == ["odear diary"]
    assert "hprogram finished with exit code 3" in story.log("transfer", "fail")


def test_properties_arrive(story: Story) -> None:
    transfer = story.builds["transfer"]
    assert transfer["blame"] == ["Zoë"]
    assert {
        "size": "größer",
        "branch": "main",
        "revision": "17",
        "workername": "alpha",
        "answer": "zweiundvierzig ½",
    }.items() <= transfer["properties"].items()
    assert story.builds["tried"]["properties"]["wish"] == "fast"


def test_a_command_is_interrupted(story: Story) -> None:
    assert story.step("endless", "wait")["results"] == "cancelled"
    assert "owaiting" in story.log("endless", "wait")
    assert "asked to interrupt: reason seen enough" in story.logs["worker"]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        pytest.param(
            "nonsense",
            r"b'buildbot_worker\.base\.UnknownCommand': "
            r"\(command \d+\): unrecognized WorkerCommand 'nonsense'",
            id="in the answer to a call",
        ),
        pytest.param(
            "downloadFile",
            r"b'builtins\.AttributeError': "
            r"'NoneType' object has no attribute 'callRemote'",
            id="as an argument of a call",
        ),
    ],
)
def test_an_error_arrives_with_its_type(story: Story, step: str, error: str) -> None:
    assert re.match(error, story.log("wrong", step, "error")[0])


def test_clients_are_told_what_became_of_what_they_asked(story: Story) -> None:
    assert story.logs["sendchange"].endswith("change sent successfully")
    assert story.logs["try"].endswith(
        "All Builds Complete\ntried: success (build successful)"
    )


def test_only_the_right_password_opens(story: Story) -> None:
    welcome = "Connected to buildmaster; worker is ready"
    refusal = "unauthorized login; check worker name and password"
    assert "invalid login from user 'alpha'" in story.logs["master"]
    assert welcome in story.logs["worker"]
    assert refusal not in story.logs["worker"]
    assert refusal in story.logs["impostor"]
    assert welcome not in story.logs["impostor"]


def test_nothing_else_went_wrong(story: Story) -> None:
    assert story.exits == dict.fromkeys(story.logs, 0)
    assert {name: errors(log) for name, log in story.logs.items()} == {
        "master": ["twisted.cred.error.UnauthorizedLogin"],
        "worker": ["builtins.AttributeError"],
        "impostor": [],
        "sendchange": [],
        "try": [],
    }


def errors(log: str) -> list[str]:
    """Return the types of the errors that somebody logged."""
    types = re.findall(
        r"^\t?([\w.]+(?:Error|Exception|Login|Lost)): ", log, re.MULTILINE
    )
    assert len(types) == log.count("Traceback (most recent call last)")
    return types
