"""This module makes the eight values that codecs are measured with."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["NODE_NAME", "PAYLOADS", "Payload", "PlainNode", "node_class"]

#: What instances of the class in P7 are called on the wire.
NODE_NAME: Final = "benchmark.Node"


class PlainNode:
    """The class of P7 for codecs that need no more than a class."""


def node_class(*bases: type) -> Any:
    """Return the class of P7 for a codec whose classes have these bases."""
    module, _, name = NODE_NAME.rpartition(".")
    return type(name, bases, {"__module__": module})


def _mapping(node: Any) -> object:
    return {
        "id": 730_215_988,
        "title": "Minutes of the harbour committee",
        "draft": False,
        "public": True,
        "superseded_by": None,
        "weight": 0.4375,
        "balance": -20.75,
        "pages": 31,
        "delta": -9,
        "author": "first.lastname@harbour.example",
        "written": "2021-06-09T14:02:37.250000",
        "keywords": ["harbour", "dredging", "tariffs", "pilots"],
        "revisions": [1, 2, 3, 5, 8, 1300, 2100, 55_000],
        "place": {"hall": "Old Customs House", "floor": 2, "x": 53.541, "y": 9.984},
        "summary": "The committee met, heard the pilots, and adjourned. " * 5,
        "motto": "Schön ist es am Kai — immer",
        "bytes_stored": 2**41 + 77,
        "offset": -(2**36),
        "appendices": [],
        "flags": {"sealed": True, "box": None, "shelf": 4},
    }


def _records(node: Any) -> object:
    pick = random.Random(41).choice
    return [
        {
            "id": f"r{index:05}",
            "name": f"sailor {index}",
            "port": pick(["Hamburg", "Bergen", "Genoa", "Porto"]),
            "rank": pick(["mate", "pilot", "master"]),
            "mail": f"sailor{index}@harbour.example",
        }
        for index in range(1000)
    ]


def _nested(node: Any) -> object:
    value: list[object] = []
    for _ in range(499):
        value = [value]
    return value


def _graph(node: Any) -> object:
    crews = [{"name": f"crew {index}"} for index in range(10)]
    nodes: list[Any] = []
    for index in range(1000):
        each = node()
        each.number = index
        each.name = f"node {index}"
        each.crew = crews[index % 10]
        each.above = nodes[index // 2] if index else None
        each.tags = ["t", index]
        nodes.append(each)
    for index, each in enumerate(nodes):
        # Chains of five; the last of each refers to itself.
        each.next = each if index % 5 == 4 else nodes[index + 1]
    for index, crew in enumerate(crews):
        crew["leader"] = nodes[index]
    return nodes


def _long(node: Any) -> object:
    return [f"item {n}" if n % 4 == 0 else n for n in range(100_000)]


def _same_call(sent: Any, received: Any) -> bool:
    args, kw = received
    # msgpack has no tuples.
    return tuple(args) == sent[0] and bool(kw == sent[1])


def _same_depth(sent: Any, received: Any) -> bool:
    # Comparing them would recurse.
    while sent and received:
        sent, received = sent[0], received[0]
    return bool(sent == received == [])


def _same_graph(sent: Any, received: Any) -> bool:
    # Instances equal nothing but themselves.
    crew = received[0].crew
    return (
        [each.number for each in received] == [each.number for each in sent]
        and received[4].next is received[4]
        and received[10].crew is crew
        and crew["leader"] is received[0]
    )


@dataclass(frozen=True, slots=True)
class Payload:
    """A value to send and to receive.

    Args:
        name: As the tables have it.
        about: What it is.
        make: Makes it; is handed the class for instances.
        pieces: In pieces of how many bytes it also arrives; 0 for only whole.
        instances: Whether it holds instances of a class.
        same: Whether what was received, the second, is what was sent.
    """

    name: str
    about: str
    make: Callable[[Any], object]
    pieces: int = 0
    instances: bool = False
    same: Callable[[Any, Any], bool] = operator.eq


#: In P1 the value is what a small call carries; the codecs of Perspective Broker
#: make a call message of it.
PAYLOADS: Final = {
    payload.name: payload
    for payload in [
        Payload(
            "P1", "a small call: add(5, 3)", lambda node: ((5, 3), {}), same=_same_call
        ),
        Payload("P2", "a dict of 20 mixed values, about 1 KB", _mapping),
        Payload("P3", "10,000 small ints", lambda node: list(range(10_000))),
        Payload("P4", "1,000 dicts of 5 short strings", _records),
        Payload("P5", "1 MiB of bytes", lambda node: random.Random(5).randbytes(2**20)),
        Payload("P6", "500 lists, one in the other", _nested, same=_same_depth),
        Payload(
            "P7",
            "1,000 instances, shared and in cycles",
            _graph,
            instances=True,
            same=_same_graph,
        ),
        Payload("P8", "100,000 ints and strings", _long, pieces=4096),
    ]
}
