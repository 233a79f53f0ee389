"""Conversations with a legacy peer, cut at any byte: each of our calls ends once."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher
from twisted.spread import pb as twisteds

from pb_broker.testing import Link, SimulatedNetwork
from pb_cred import pb as ours


def ends(pb: Any) -> tuple[Any, Any]:
    """Return a root object and one to be called back, of either implementation."""

    class Root(pb.Root):  # type: ignore[misc]
        def remote_echo(self, value: Any) -> Any:
            return value

        def remote_ask(self, other: Any) -> Any:
            return other.callRemote("answer", 5)

        def remote_raise(self) -> None:
            raise ValueError("on purpose")

    class Answers(pb.Referenceable):  # type: ignore[misc]
        def remote_answer(self, value: Any) -> Any:
            return value

    return Root(), Answers()


def converse(our_side: str, seed: int, cut_after: int | None) -> tuple[Link, list[Any]]:
    """Have a short conversation; return the connection and the outcome of each call."""
    network = SimulatedNetwork(seed)
    at_client, at_server = (
        (ours, twisteds) if our_side == "client" else (twisteds, ours)
    )
    client: Any = at_client.PBClientFactory()
    server: Any = at_server.PBServerFactory(ends(at_server)[0])
    answers = ends(at_client)[1]
    link = network.connect(
        client, server, latency=(0, 0.1), chunk=(1, 60), cut_after=cut_after
    )
    outcomes: list[list[Any]] = [[] for _ in range(4)]

    def begin(root: Any) -> None:
        calls = [("echo", [1, "two"]), ("ask", answers), ("raise",), ("echo", None)]
        for outcome, call in zip(outcomes, calls, strict=True):
            root.callRemote(*call).addBoth(outcome.append)

    client.getRootObject().addCallbacks(begin, lambda _: None)
    network.run(5)
    link.cut()
    network.run(1)
    return link, outcomes


@pytest.mark.parametrize("our_side", ["client", "server"])
@pytest.mark.parametrize("seed", range(3))
def test_each_call_ends_once_wherever_the_conversation_is_cut(
    our_side: str, seed: int
) -> None:
    events: list[LogEvent] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        whole, outcomes = converse(our_side, seed, None)
        assert outcomes[0] == [[1, "two"]]
        assert outcomes[1] == [5]
        assert outcomes[2][0].check(ValueError, "builtins.ValueError")
        for position in range(0, whole.carried, 5):
            link, outcomes = converse(our_side, seed, position)
            assert link.carried == position
            broker = getattr(link, our_side)
            assert broker.disconnected
            assert broker.localObjects == {}
            assert broker.waitingForAnswers == {}
            if our_side == "client":
                # None before the root object was there, one for each afterwards.
                assert set(map(len, outcomes)) in ({0}, {1})
    finally:
        globalLogPublisher.removeObserver(observer)
