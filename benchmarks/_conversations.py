"""This module cuts conversations between two brokers at every byte.

They run on a simulated network, which a seed makes the same each time. Whatever is cut,
each call is to end once, and nothing may be left of the connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from time import perf_counter
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker.testing import SimulatedNetwork

from ._attacks import Figure

__all__ = ["conversations"]

_SHARED: Final = "benchmark.conversation.Board"
_CALLS: Final = [
    "echo",
    "child",
    "board",
    "show",
    "ask",
    "raise",
    "unsendable",
    "wait",
    "cancel",
    "cast",
    "no",
]
_CALLS_EACH: Final = 5


#: How a call may end that was made.
_ENDS: Final = (pb.RemoteError, pb.CallTimeout, pb.PBConnectionLost, CancelledError)


class _Board(pb.Cacheable):
    def __init__(self) -> None:
        self.observers: list[Any] = []

    def getTypeToCopy(self) -> str:
        return _SHARED

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"seen": 0}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)


class _BoardCopy(pb.RemoteCache):
    def observe_show(self, number: int) -> int:
        return number


pb.setUnjellyableForClass(_SHARED, _BoardCopy)


class _Item(pb.Referenceable):
    def remote_called_back(self, value: Any) -> Any:
        return value


class _Server(pb.Root):
    """Does whatever a conversation may consist of."""

    def __init__(self) -> None:
        self.board = _Board()
        self.item = _Item()
        self.waiting: list[Deferred[Any]] = []
        self.outcomes: list[list[Any]] = []

    def remote_echo(self, *args: Any) -> Any:
        return args

    def remote_child(self) -> Any:
        return self.item

    def remote_board(self) -> Any:
        return self.board

    def remote_show(self) -> None:
        for answer in pb.call_observers(self.board.observers, "show", 1):
            _note(answer, self.outcomes).addErrback(lambda _: None)

    def remote_ask(self, other: Any) -> Any:
        return _note(other.callRemote("called_back", 1), self.outcomes)

    def remote_raise(self) -> None:
        raise ValueError("on purpose")

    def remote_unsendable(self) -> Any:
        return [0, {"x": object()}]

    def remote_wait(self) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        return waiting


def _note(call: Any, outcomes: list[list[Any]]) -> Any:
    """Keep what a call ends with, each time that it does."""
    outcome: list[Any] = []
    outcomes.append(outcome)

    def noted(result: Any) -> Any:
        outcome.append(result)
        return result

    return call.addBoth(noted)


class _Conversation:
    """A client says a few things to a server.

    Args:
        seed: Says which, and when.
        cut_after: After how many bytes the connection is lost; None for at the end.
    """

    def __init__(self, seed: int, cut_after: int | None = None) -> None:
        self.network = SimulatedNetwork(seed)
        self.server = _Server()
        self.outcomes: list[list[Any]] = []
        self.notices = 0
        random = Random(seed)
        client = pb.PBClientFactory(call_timeout=4)
        self.link = self.network.connect(
            client,
            pb.PBServerFactory(self.server),
            latency=(0, 0.1),
            chunk=(1, 200),
            cut_after=cut_after,
        )
        for broker in (self.link.client, self.link.server):
            broker.notifyOnDisconnect(self._noticed)
        self._root: list[Any] = []
        self._waiting: list[Deferred[Any]] = []
        client.getRootObject().addBoth(self._got_root)
        for _ in range(_CALLS_EACH):
            self._say(random.choice(_CALLS), 2 * random.random())

    def _noticed(self) -> None:
        self.notices += 1

    def _got_root(self, root: Any) -> None:
        self._root.append(root)
        for waiting in self._waiting:
            waiting.callback(root)

    def _begin(self) -> Deferred[Any]:
        """Return a Deferred of the root object, or of why there is none."""
        begun: Deferred[Any] = Deferred()
        if self._root:
            begun.callback(self._root[0])
        else:
            self._waiting.append(begun)
        return begun

    def _say(self, name: str, when: float) -> None:
        args: tuple[Any, ...] = ()
        if name == "ask":
            args = (_Item(),)
        elif name in ("echo", "cast"):
            args = ([1, "two"],)
        clock = self.network.clock

        def made(root: Any) -> Any:
            if name == "cast":
                return root.callRemote("echo", *args, pbanswer=0)
            call = root.callRemote("wait" if name == "cancel" else name, *args)
            if name == "cancel":
                clock.callLater(0.05, call.cancel)
            return call

        def call() -> None:
            _note(self._begin().addCallback(made), self.outcomes).addErrback(
                lambda _: None
            )

        clock.callLater(when, call)

    def run(self) -> None:
        """Let it happen, and the time pass that anything could still wait for."""
        self.network.run(5)
        self.link.cut()
        self.network.run(1)
        self.network.run()

    def complaints(self, cut_after: int | None) -> list[str]:
        """Return what is not as it should be."""
        found = []
        outcomes = [*self.outcomes, *self.server.outcomes]
        if any(len(outcome) != 1 for outcome in outcomes):
            found.append("a call that did not end once")
        if cut_after is None:
            ends = [each[0] for each in outcomes if isinstance(each[0], Failure)]
            found += [
                f"a call not made: {end}" for end in ends if not end.check(*_ENDS)
            ]
        elif self.link.carried != cut_after:
            found.append("another conversation than before")
        if self.notices != 2:
            found.append(f"{self.notices} notices of the end")
        if self.server.board.observers:
            found.append("an observer")
        for name in ("client", "server"):
            found += _left_at(name, getattr(self.link, name))
        # An outcome may be a reference.
        self.outcomes.clear()
        self._root.clear()
        if self.network.clock.getDelayedCalls():
            found.append("a timer")
        return found


def _left_at(name: str, broker: Any) -> list[str]:
    tables = {
        "waitingForAnswers": broker.waitingForAnswers,
        "localObjects": broker.localObjects,
        "remotelyCachedObjects": broker.remotelyCachedObjects,
        "locallyCachedObjects": broker.locallyCachedObjects,
        "releases": broker.session.releases.queue,
    }
    return [f"{table} of the {name}" for table, kept in tables.items() if kept]


def conversations(number: int, step: int = 1) -> Iterator[Figure]:
    """Cut conversations.

    Args:
        number: How many.
        step: How many bytes there are between two cuts.

    Yields:
        In how many cuts anything was wrong.
    """
    begun = perf_counter()
    cuts = calls = 0
    wrong: list[str] = []
    for seed in range(number):
        whole = _Conversation(seed)
        whole.run()
        complaints: dict[int | None, list[str]] = {None: whole.complaints(None)}
        for position in range(0, whole.link.carried, step):
            cut = _Conversation(seed, position)
            cut.run()
            cuts += 1
            calls += _CALLS_EACH + len(cut.server.outcomes)
            complaints[position] = cut.complaints(position)
        wrong += [
            f"seed {seed}, cut after {position}: {', '.join(found)}"
            for position, found in complaints.items()
            if found
        ]
    bytes_each = "byte" if step == 1 else f"{step} bytes"
    yield Figure(
        "cut conversations",
        f"{number:,} conversations, cut at every {bytes_each}",
        len(wrong),
        "cuts that leave something",
        0,
        {
            "cuts": cuts,
            "calls": calls,
            "seconds": perf_counter() - begun,
            "wrong": wrong[:10],
        },
    )
