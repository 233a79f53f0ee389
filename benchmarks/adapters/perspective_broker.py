"""This module enters Perspective Broker into another benchmark of RPC systems.

Copy it into the ``peers`` folder of that benchmark, whose ``common`` module drives all
systems, and add lines to the table of peers in its ``run.py``::

    "perspective-broker": ("perspective_broker.py", ""),
    "perspective-broker-client": ("perspective_broker.py", "to-twisted"),
    "perspective-broker-server": ("perspective_broker.py", "from-twisted"),

The first has us at both ends, the others `twisted.spread` at one. Nothing else of this
repository is needed but its packages.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Of the other benchmark.
import common  # type: ignore[import-not-found]

_Base: Any = common.TwistedPeer

_SHARED = "bench.Shared"

#: No workload should meet a limit.
_REFERENCES = 10_000_000
_BYTES = 2**28


def _implementation(ours: bool) -> tuple[Any, dict[str, Any]]:
    """Return a pb module, and what its factories take to have limits out of the way."""
    if not ours:
        from twisted.spread import banana, pb

        pb.MAX_BROKER_REFS = _REFERENCES
        banana.SIZE_LIMIT = _BYTES
        return pb, {}
    from pb_banana import Limits
    from pb_broker import BrokerLimits
    from pb_cred import pb as our_pb

    limits = BrokerLimits(
        wire=Limits(message_bytes=_BYTES, string_bytes=_BYTES),
        exported_references=_REFERENCES,
        imported_references=_REFERENCES,
    )
    return our_pb, {"limits": limits}


def _item_class(pb: Any) -> Any:
    """Return the class of objects to be called back."""

    class Item(pb.Referenceable):  # type: ignore[misc]
        def remote_ping(self) -> int:
            return 1

    return Item


def _update(pb: Any, observers: list[Any], value: int, answered: bool) -> Any:
    """Tell all observers the value, in the way that the implementation has for it."""
    if hasattr(pb, "call_observers"):
        return gatherResults(
            pb.call_observers(observers, "set", value, pbanswer=answered)
        )
    answers = []
    for each in observers:
        if answered:
            answers.append(each.callRemote("set", value))
        else:
            each.callRemote("set", value, pbanswer=0)
    return gatherResults(answers)


def _shared_class(pb: Any) -> Any:
    """Return the class of the object that all observe."""

    class Shared(pb.Cacheable):  # type: ignore[misc]
        def __init__(self) -> None:
            self.value = 0
            self.observers: dict[Any, Any] = {}

        def getTypeToCopy(self) -> bytes:
            return _SHARED.encode()

        def getStateToCacheAndObserveFor(self, who: Any, observer: Any) -> Any:
            self.observers[observer.broker] = observer
            return {"value": self.value}

        def stoppedObserving(self, who: Any, observer: Any) -> None:
            # By broker, since twisted.spread's observers cannot all be compared.
            del self.observers[observer.broker]

        def change(self, answered: bool) -> Any:
            self.value += 1
            return _update(pb, list(self.observers.values()), self.value, answered)

    class Seen(pb.RemoteCache):  # type: ignore[misc]
        def setCopyableState(self, state: Any) -> None:
            self.value = state["value"]

        def observe_set(self, value: int) -> None:
            self.value = value

    pb.setUnjellyableForClass(_SHARED, Seen)
    return Shared


def _root_class(pb: Any) -> Any:  # noqa: C901 -- a list of methods
    """Return the class of the server's root object."""
    item, shared = _item_class(pb), _shared_class(pb)

    class Root(pb.Root):  # type: ignore[misc]
        def __init__(self) -> None:
            self.shared = shared()

        def remote_add(self, a: int, b: int) -> int:
            return a + b

        def remote_echo(self, value: Any) -> Any:
            return value

        def remote_sink(self, data: bytes) -> int:
            return len(data)

        def remote_callback(self, callback: Any) -> Any:
            return callback.callRemote("ping")

        def remote_refs(self, count: int) -> list[Any]:
            return [item() for _ in range(count)]

        def remote_observe(self) -> Any:
            return self.shared

        async def change(self, count: int, answered: bool) -> None:
            for left in reversed(range(count)):
                # The last is always answered: then all have been seen.
                await common.settle(self.shared.change(answered or not left))

        def remote_update(self, count: int, answered: bool) -> Any:
            return Deferred.fromCoroutine(self.change(count, answered))

    return Root


class _Connection:
    """What the workloads call.

    Args:
        root: A reference to the server's root object.
        item: The class of objects to be called back.
    """

    def __init__(self, root: Any, item: Any) -> None:
        self.call = root.callRemote
        self.item = item
        self.copy: Any = None

    def add(self, a: int, b: int) -> Any:
        return self.call("add", a, b)

    def echo(self, value: Any) -> Any:
        return self.call("echo", value)

    blob = echo

    def sink(self, data: bytes) -> Any:
        return self.call("sink", data)

    def callback(self) -> Any:
        return self.call("callback", self.item())

    def refs(self, count: int) -> Any:
        return self.call("refs", count)

    def poke(self, reference: Any) -> Any:
        return reference.callRemote("ping")

    def observe(self) -> Any:
        return self.call("observe").addCallback(self._keep)

    def _keep(self, copy: Any) -> None:
        self.copy = copy

    def update(self, count: int, answered: bool) -> Any:
        return self.call("update", count, answered)

    def updated(self) -> Any:
        return self.copy.value


class Peer(_Base):  # type: ignore[misc]
    """Perspective Broker, ours at one end or at both."""

    works = frozenset(common.WORKS)

    def __init__(self, args: Any) -> None:
        super().__init__(args)
        theirs = {"to-twisted": "server", "from-twisted": "client"}.get(args.variant)
        self.pb, self.options = _implementation(ours=args.role != theirs)
        self.item = _item_class(self.pb)
        self.root = _root_class(self.pb)

    def serve(self, port: int) -> None:
        """Serve the root object."""
        factory = self.pb.PBServerFactory(self.root(), **self.options)
        self.reactor.listenTCP(port, factory, interface=common.HOST, backlog=1000)

    def connect(self) -> Any:
        """Return a Deferred of a connection with the root object at hand."""
        factory = self.pb.PBClientFactory(**self.options)
        self.reactor.connectTCP(common.HOST, self.port, factory)
        return factory.getRootObject().addCallback(_Connection, self.item)


if __name__ == "__main__":
    common.main(Peer)
