"""The states of a connection: each transition of the table, and its effects."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

import pb_broker as pb
from pb_broker._connection.lifecycle import TRANSITIONS, Event, Lifecycle, State
from pb_broker.testing import Pair, connected_pair

from .support import Echo, failure_of, result_of, root_of

#: The table at the head of the module: the state after an event, for those that change.
TABLE = """
NEGOTIATING  AGREED   GREETING
NEGOTIATING  HUNG_UP  HANGING_UP
NEGOTIATING  LOST     LOST
GREETING     GREETED  READY
GREETING     HUNG_UP  HANGING_UP
GREETING     LOST     LOST
READY        DRAINED  DRAINING
READY        HUNG_UP  HANGING_UP
READY        LOST     LOST
DRAINING     HUNG_UP  HANGING_UP
DRAINING     LOST     LOST
HANGING_UP   LOST     LOST
"""

CHANGES = {
    (State[before], Event[event]): State[after]
    for before, event, after in map(str.split, TABLE.strip().splitlines())
}


def in_state(state: State) -> Lifecycle:
    lifecycle = Lifecycle()
    lifecycle.state = state
    return lifecycle


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_state_after_each_event(state: State, event: Event) -> None:
    lifecycle = in_state(state)
    after = CHANGES.get((state, event), state)
    assert lifecycle.enter(event) is (after is not state)
    assert lifecycle.state is after


def test_transitions_lead_on_and_end_in_the_loss() -> None:
    order = list(State)
    for (before, _), after in TRANSITIONS.items():
        assert order.index(after) >= order.index(before)
    assert all((state, Event.LOST) in TRANSITIONS for state in State)


def state_of(end: Any) -> State:
    state: State = end.lifecycle.state
    return state


def states(pair: Pair) -> tuple[State, State]:
    return state_of(pair.client), state_of(pair.server)


def test_states_of_a_connection_from_its_beginning_to_its_loss() -> None:
    server, client = pb.PBServerFactory(Echo()), pb.PBClientFactory()
    pair = Pair(client.buildProtocol(None), server.buildProtocol(None))
    assert states(pair) == (State.NEGOTIATING, State.NEGOTIATING)
    seen: list[State] = []
    pair.server.notifyOnConnect(lambda: seen.append(state_of(pair.server)))
    pair.flush()
    assert seen == [State.READY]
    assert states(pair) == (State.READY, State.READY)
    pair.close()
    assert states(pair) == (State.LOST, State.LOST)


def test_drain_of_a_connection_that_is_ready() -> None:
    pair = connected_pair(server_factory=pb.PBServerFactory(Echo()))
    waits = root_of(pair).callRemote("wait")
    waits.addErrback(lambda _: None)
    pair.flush()
    pair.server.drain()
    assert state_of(pair.server) is State.DRAINING
    refused = failure_of(root_of(pair).callRemote("echo", 1), pair)
    assert refused.check(pb.ClosingDown)
    pair.close()


def test_drain_that_is_asked_for_before_the_connection_is_ready() -> None:
    server, client = pb.PBServerFactory(Echo()), pb.PBClientFactory()
    pair = Pair(client.buildProtocol(None), server.buildProtocol(None))
    pair.server.drain()
    assert state_of(pair.server) is State.NEGOTIATING
    pair.flush()
    assert state_of(pair.server) is State.DRAINING
    pair.close()


def test_connection_that_is_given_up_looks_at_nothing_more() -> None:
    pair = connected_pair(server_factory=pb.PBServerFactory(Echo()))
    assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
    pair.server.give_up(pb.Error("enough"))
    assert state_of(pair.server) is State.HANGING_UP
    assert pair.server.is_hung_up
    pair.server.dataReceived(b"\xff" * 100)
    pair.close()
    assert state_of(pair.server) is State.LOST


def test_callbacks_of_an_early_loss() -> None:
    lifecycle = Lifecycle()
    lifecycle.failure_callbacks().append(list)
    lifecycle.disconnect_notices().append(dict)
    assert lifecycle.take_loss_callbacks() == [dict, list]
    assert lifecycle.connects is None


def test_callbacks_of_the_loss_of_a_connection_that_was_ready() -> None:
    lifecycle = in_state(State.GREETING)
    lifecycle.failure_callbacks().append(list)
    lifecycle.disconnect_notices().append(dict)
    assert lifecycle.greeted() == []
    assert lifecycle.take_loss_callbacks() == [dict]
