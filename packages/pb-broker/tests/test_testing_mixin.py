"""Test cases of unittest with the mixin."""

from __future__ import annotations

import unittest
from typing import Any

import pb_broker as pb
from pb_broker.testing import PBTestMixin, SimulatedNetwork

from .support import Child, Echo, result_of, root_of


class MixedTests(PBTestMixin, unittest.TestCase):
    def test_mixin_makes_a_network(self) -> None:
        network = self.network()
        link = network.connect(pb.PBClientFactory(), pb.PBServerFactory(Echo()))
        network.run()
        assert link.is_connected

    def test_mixin_takes_a_seed(self) -> None:
        number = self.network(seed=17).random.random()
        assert number == SimulatedNetwork(17).random.random()
        assert number != self.network().random.random()

    def test_mixin_makes_a_pair(self) -> None:
        pair = self.pair(Echo())
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)

    def test_mixin_takes_factories(self) -> None:
        factory = pb.PBClientFactory()
        server = pb.PBServerFactory(Echo())
        pair = self.pair(client_factory=factory, server_factory=server)
        assert pair.client.factory is factory
        assert pair.server.factory is server


def test_connections_of_the_mixin_are_closed() -> None:
    test = MixedTests("test_mixin_makes_a_network")
    network = test.network()
    link = network.connect(pb.PBClientFactory(), pb.PBServerFactory(Echo()))
    pair = test.pair(Echo())
    network.run()
    test.doCleanups()
    assert not link.is_connected
    assert pair.closed


def forget(broker: Any) -> None:
    broker.notifyOnDisconnect(lambda: broker.registerReference(Child()))


class Forgetful(PBTestMixin, unittest.TestCase):
    """Run by a test, and not by itself: its tests have other names."""

    def network_left(self) -> None:
        network = self.network(3)
        link = network.connect(pb.PBClientFactory(), pb.PBServerFactory(Echo()))
        network.run()
        forget(link.server)

    def pair_left(self) -> None:
        forget(self.pair(Echo()).client)


def problem_of(name: str) -> str:
    result = unittest.TestResult()
    Forgetful(name).run(result)
    ((_, text),) = result.errors + result.failures
    return text


def test_leftovers_of_a_network_fail_the_test() -> None:
    text = problem_of("network_left")
    assert "left behind (seed 3):" in text
    assert "server of link 0: objects that the peer can call (1): Child" in text


def test_leftovers_of_a_pair_fail_the_test() -> None:
    assert "client: objects that the peer can call (1): Child" in problem_of(
        "pair_left"
    )
