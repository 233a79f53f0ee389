"""This module is the program that all benchmarks of Perspective Broker run.

It runs over either implementation, ours and `twisted.spread`.
"""

from __future__ import annotations

from typing import Any

from ._styles import settled

__all__ = ["Connection", "Program"]

#: What the object is called that all observe.
_SHARED = b"benchmark.Shared"

#: Above W7 and W4b, which else would meet limits. It does not change the others' speed.
_REFERENCES = 10_000_000
_BYTES = 2**28


def _twisted() -> Any:
    """Return twisted.spread.pb with its limits out of the way."""
    from twisted.spread import banana, pb

    pb.MAX_BROKER_REFS = _REFERENCES
    banana.SIZE_LIMIT = _BYTES
    return pb


def _ours() -> tuple[Any, dict[str, Any]]:
    """Return our pb, and what its factories take to have limits out of the way."""
    from pb_banana import Limits
    from pb_broker import BrokerLimits
    from pb_cred import pb

    wire = Limits(message_bytes=_BYTES, string_bytes=_BYTES)
    limits = BrokerLimits(
        wire=wire,
        exported_references=_REFERENCES,
        imported_references=_REFERENCES,
    )
    return pb, {"limits": limits}


class Program:
    """The classes of the program, over one implementation.

    Args:
        variant: Which: "ours", "pb2" (ours, which speaks that dialect) or "twisted".

    Attributes:
        pb: The implementation.
        options: What its factories take to have limits out of the way.
        item: The class of objects to be called back.
        root: The class of the server's root object.
    """

    def __init__(self, variant: str) -> None:
        self.options: dict[str, Any] = {}
        if variant == "ours":
            self.pb, self.options = _ours()
        elif variant == "pb2":
            self.pb, self.options = _ours()
            self.options["dialects"] = ("pb2",)
        else:
            self.pb = _twisted()
        self.item = _item_class(self.pb)
        self.root = _root_class(self.pb, self.item, _shared_class(self.pb))

    def server_factory(self) -> Any:
        """Return a factory that serves a root object of its own."""
        return self.pb.PBServerFactory(self.root(), **self.options)

    def client_factory(self) -> Any:
        """Return a factory for one connection."""
        return self.pb.PBClientFactory(**self.options)


def _item_class(pb: Any) -> Any:
    class Item(pb.Referenceable):  # type: ignore[misc]
        def remote_ping(self) -> int:
            return 1

    return Item


def _update(pb: Any, observers: list[Any], value: int, answered: bool) -> Any:
    """Tell all observers the value, in the way that the implementation has for it."""
    from twisted.internet.defer import gatherResults

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
    class Shared(pb.Cacheable):  # type: ignore[misc]
        def __init__(self) -> None:
            self.value = 0
            self.observers: dict[Any, Any] = {}

        def getTypeToCopy(self) -> bytes:
            return _SHARED

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
            self.updates = 0

        def observe_set(self, value: int) -> None:
            self.value = value
            self.updates += 1

    pb.setUnjellyableForClass(_SHARED.decode(), Seen)
    return Shared


def _root_class(pb: Any, item: Any, shared: Any) -> Any:  # noqa: C901 -- a list
    from twisted.internet.defer import Deferred

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

        def remote_references(self, count: int) -> list[Any]:
            return [item() for _ in range(count)]

        def remote_observe(self) -> Any:
            return self.shared

        async def change(self, count: int, answered: bool) -> None:
            for left in reversed(range(count)):
                # The last is always answered: then all have been seen.
                await settled(self.shared.change(answered or not left))

        def remote_update(self, count: int, answered: bool) -> Any:
            return Deferred.fromCoroutine(self.change(count, answered))

    return Root


class Connection:
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

    def references(self, count: int) -> Any:
        return self.call("references", count)

    def poke(self, reference: Any) -> Any:
        return reference.callRemote("ping")

    def observe(self) -> Any:
        return self.call("observe").addCallback(self._keep)

    def _keep(self, copy: Any) -> None:
        self.copy = copy

    def update(self, count: int, answered: bool) -> Any:
        return self.call("update", count, answered)

    def observed(self) -> Any:
        return self.copy.updates
