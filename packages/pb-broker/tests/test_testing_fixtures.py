"""Fixtures for other programs' tests, with pytest alone."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

import pb_broker as pb
from pb_broker.testing import PairMaker, SimulatedNetwork

from .support import Echo, result_of, root_of

pytest_plugins = ["pytester", "pb_broker.testing.fixtures"]


def test_fixture_of_a_network(pb_network: SimulatedNetwork) -> None:
    client = pb.PBClientFactory()
    link = pb_network.connect(client, pb.PBServerFactory(Echo()), latency=(0, 1))
    outcomes: list[object] = []
    root = client.getRootObject()
    root.addCallback(lambda root: root.callRemote("echo", 1)).addBoth(outcomes.append)
    pb_network.run()
    assert outcomes == [(1,)]
    assert link.is_connected


def test_fixture_of_pairs(pb_pair: PairMaker) -> None:
    pair = pb_pair(Echo())
    assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
    factory = pb.PBClientFactory(call_timeout=1)
    other = pb_pair(server_factory=pb.PBServerFactory(Echo()), client_factory=factory)
    assert other.client.factory is factory


class TestSeeds:
    @pytest.fixture
    def pb_seed(self) -> int:
        return 17

    def test_overridden_seed(self, pb_network: SimulatedNetwork) -> None:
        assert pb_network.random.random() == SimulatedNetwork(17).random.random()

    def test_default_seed(self) -> None:
        seeds = [SimulatedNetwork(seed).random.random() for seed in (0, 17)]
        assert seeds[0] != seeds[1]


FORGETFUL = """
import pb_broker as pb

pytest_plugins = ["pb_broker.testing.fixtures"]

class Root(pb.Root):
    def remote_wait(self):
        return None

def forget(broker):
    broker.notifyOnDisconnect(lambda: broker.registerReference(Root()))

def test_fixture_of_a_network(pb_network):
    link = pb_network.connect(pb.PBClientFactory(), pb.PBServerFactory(Root()))
    pb_network.run()
    forget(link.client)

def test_fixture_of_a_networks_clock(pb_network):
    pb_network.clock.callLater(100, forget)

def test_fixture_of_a_pair(pb_pair):
    pb_pair(Root())
    pair = pb_pair(Root())
    forget(pair.server)
    pair.clock.callLater(100, forget)
"""


def test_leftovers_fail_a_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FORGETFUL)
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    ran.assert_outcomes(passed=3, errors=3)
    text = ran.stdout.str()
    for line in (
        "left behind (seed 0):",
        "client of link 0: objects that the peer can call (1): Root",
        "a call that is due in 40 s: forget",
        "pair 1, server: objects that the peer can call (1): Root",
        "pair 1, a call that is due in 40 s: forget",
    ):
        assert line in text
    # It is said at the end of what the test itself did.
    assert "_leftovers.py" not in text


SOCKETS = """
pytest_plugins = ["pb_broker.testing.fixtures_asyncio"]

def test_missing_root_fixture_is_reported(pb_root):
    pass

def test_missing_plugin_is_reported(pb_client):
    pass
"""


def test_missing_root_and_plugin_are_reported(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SOCKETS)
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    ran.assert_outcomes(errors=2)
    ran.stdout.fnmatch_lines(
        [
            "there is no root object to be served: define a fixture pb_root *",
            "pb_client needs pytest-asyncio, or a test that is marked with anyio",
        ]
    )


@pytest.mark.parametrize("name", ["fixtures", "fixtures_asyncio"])
def test_every_fixture_is_documented(name: str) -> None:
    # Not before pytest has had its chance to rewrite the module.
    module = import_module(f"pb_broker.testing.{name}")
    assert module.__doc__
    for fixture in module.__all__:
        assert inspect.getdoc(getattr(module, fixture))
