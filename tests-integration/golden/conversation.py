"""This module records a conversation between two brokers, and replays one side of it.

Theory of operation
-------------------

A *scene* is a server factory, a client factory and a list of steps; each step is one
thing that one side does of its own accord.
All else that is said in the conversation follows from it.

To record, two brokers are joined by two pipes in memory.
Whatever is written goes to the end of one queue, and the queue is handed over write by
write, so that there is exactly one order in which things happen.

To replay, one broker stands alone.
It is given the steps of its own side and the recorded bytes of the other side, in the
recorded order, and what it says is compared step by step.
"""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

Side = Literal["client", "server"]

#: How a recording marks who wrote a line.
LETTER: dict[Side, str] = {"client": "C", "server": "S"}
SIDE: dict[str, Side] = {"C": "client", "S": "server"}

#: Bytes shown on one line of a recording.
WIDTH = 36


@dataclass
class Scene:
    """One conversation that can be had with any implementation of PB.

    Attributes:
        about: What the conversation shows, in one line.
        server: Builds the server's broker.
        client: Builds the client's broker.
        steps: Who does what, in order.
        seen: What each side says it saw, as text; part of the recording.
    """

    about: str
    server: Any
    client: Any
    steps: list[tuple[Side, str, Callable[[Any], None]]] = field(default_factory=list)
    seen: list[tuple[Side, str]] = field(default_factory=list)

    def step(self, side: Side, name: str, act: Callable[[Any], None]) -> None:
        """Add a step.

        Args:
            side: Who takes it.
            name: What it is, for the reader of the recording.
            act: Takes the broker of that side.
        """
        self.steps.append((side, name, act))

    def note(self, side: Side, text: str) -> None:
        """Say what a side saw."""
        self.seen.append((side, text))

    def call(self, name: str, method: str, *args: Any, **kw: Any) -> None:
        """Add a step in which the client calls its root and says what came back."""

        def act(broker: Any) -> None:
            self.report(broker.remoteForName("root").callRemote(method, *args, **kw))

        self.step("client", name, act)

    def report(self, answer: Any) -> None:
        """Have the client say what `answer` gives."""
        answer.addCallbacks(
            lambda value: self.note("client", f"answer {value!r}"),
            lambda failure: self.note("client", f"failure {name_of(failure.type)}"),
        )


def name_of(remote_type: Any) -> str:
    """Return the name of an exception type, which a failure may hold as bytes."""
    if isinstance(remote_type, bytes):
        return remote_type.decode()
    return str(remote_type)


@dataclass(frozen=True)
class Line:
    """What one side wrote at once."""

    side: Side
    data: bytes


@dataclass(frozen=True)
class Step:
    """One recorded step: who took it, what was then written, and what was seen."""

    side: Side
    name: str
    lines: tuple[Line, ...]
    seen: tuple[tuple[Side, str], ...]


class Pipe(StringTransport):
    """The transport of one broker: hands on what it is given to write."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        super().__init__()
        self._write = write

    def write(self, data: bytes) -> None:
        self._write(bytes(data))

    def writeSequence(self, data: Any) -> None:
        for chunk in data:
            self.write(chunk)

    def produce(self) -> bool:
        """Ask a registered producer for more, and say whether there was one."""
        producer: Any = self.producer
        if producer is None:
            return False
        producer.resumeProducing()
        return True


def build(factory: Any, pipe: Pipe) -> Any:
    """Return a broker of `factory` whose output goes to `pipe`, not yet connected."""
    broker = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 8787))
    return broker


def record(scene: Scene) -> list[Step]:
    """Have the conversation of `scene`, and return what was said in each step."""
    queue: deque[Line] = deque()
    lines: list[Line] = []

    def pipe(side: Side) -> Pipe:
        def write(data: bytes) -> None:
            line = Line(side, data)
            lines.append(line)
            queue.append(line)

        return Pipe(write)

    pipes = {"client": pipe("client"), "server": pipe("server")}
    brokers = {
        "client": build(scene.client, pipes["client"]),
        "server": build(scene.server, pipes["server"]),
    }

    def settle() -> None:
        while True:
            while queue:
                line = queue.popleft()
                peer = "server" if line.side == "client" else "client"
                brokers[peer].dataReceived(line.data)
            if not sum(each.produce() for each in pipes.values()):
                return

    def connect(_: Any) -> None:
        brokers["server"].makeConnection(pipes["server"])
        brokers["client"].makeConnection(pipes["client"])

    recorded = []
    opening: tuple[Side, str, Callable[[Any], None]] = ("server", "connection", connect)
    for side, name, act in [opening, *scene.steps]:
        lines.clear()
        scene.seen.clear()
        act(brokers[side])
        settle()
        recorded.append(Step(side, name, tuple(lines), tuple(scene.seen)))
    for broker in brokers.values():
        broker.connectionLost(Failure(ConnectionDone()))
    return recorded


def replay(scene: Scene, side: Side, recording: list[Step]) -> list[Step]:
    """Have one side of a recorded conversation, and return what that side said.

    Args:
        scene: The conversation, for the implementation that is tried.
        side: The side that is played; the other side's bytes come from the recording.
        recording: What was recorded.

    Returns:
        For each recorded step the bytes written and the things seen by `side` alone.
    """
    lines: list[Line] = []
    pipe = Pipe(lambda data: lines.append(Line(side, data)))
    broker = build(scene.server if side == "server" else scene.client, pipe)

    def connect(_: Any) -> None:
        broker.makeConnection(pipe)

    replayed = []
    acts = [connect, *(act for _, _, act in scene.steps)]
    for step, act in zip(recording, acts, strict=True):
        lines.clear()
        scene.seen.clear()
        if step.name == "connection" or step.side == side:
            act(broker)
        for line in step.lines:
            while pipe.produce():
                pass
            if line.side != side:
                broker.dataReceived(line.data)
        while pipe.produce():
            pass
        replayed.append(Step(step.side, step.name, tuple(lines), tuple(scene.seen)))
    broker.connectionLost(Failure(ConnectionDone()))
    return replayed


def dump(about: str, steps: list[Step], describe: Callable[[bytes], str]) -> str:
    """Return a recording as text.

    Args:
        about: What the conversation shows.
        steps: What was said.
        describe: Gives the comment for what was written at once.
    """
    out = [f"# {about}", ""]
    for step in steps:
        out.append(f"== {step.side}: {step.name}")
        for line in step.lines:
            out.append(
                textwrap.fill(
                    describe(line.data),
                    100,
                    initial_indent="   ; ",
                    subsequent_indent="   ;   ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
            for start in range(0, len(line.data), WIDTH):
                mark = " " if start else LETTER[line.side]
                out.append(f"{mark}  {line.data[start : start + WIDTH].hex(' ')}")
        out.extend(f"-- {side} saw: {text}" for side, text in step.seen)
        out.append("")
    return "\n".join(out)


def load(path: Path) -> list[Step]:
    """Return the recording in the file at `path`.

    Raises:
        ValueError: A line is in no known form.
    """
    return list(_steps(path.read_text(encoding="utf-8").splitlines()))


def _steps(text: list[str]) -> Iterator[Step]:
    step: tuple[Side, str] | None = None
    lines: list[Line] = []
    seen: list[tuple[Side, str]] = []
    for line in [*text, "== client: end"]:
        body = line[3:]
        if not line.strip() or line.startswith(("#", "   ;")):
            continue
        if line.startswith("== "):
            if step is not None:
                yield Step(*step, tuple(lines), tuple(seen))
            lines, seen = [], []
            side, _, name = body.partition(": ")
            step = (SIDE[side[0].upper()], name)
        elif line.startswith("-- "):
            side, _, what = body.partition(" saw: ")
            seen.append((SIDE[side[0].upper()], what))
        elif line[0] in SIDE:
            lines.append(Line(SIDE[line[0]], bytes.fromhex(body)))
        elif line.startswith("   "):
            last = lines.pop()
            lines.append(Line(last.side, last.data + bytes.fromhex(body)))
        else:
            raise ValueError(f"not a line of a recording: {line!r}")
