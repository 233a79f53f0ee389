"""This module sets scenes of any size, of which time and memory are measured.

A scene is made of a system and a number. Making it does what is not to be measured, and
gives what is: a function, whose result is kept alive while its memory is measured. The
scenes with brokers have both ends in this process, with no sockets between them.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from . import _machine
from ._codecs import CODECS
from ._payloads import Payload

__all__ = ["SCENES", "Scene", "memory_of", "resident_memory_of", "seconds_of"]

Run = Callable[[], object]
Make = Callable[[str, int], Run]

_PIECE: Final = 2**16
_BATCH: Final = 1000


def _codec(system: str, make: Callable[[Any], object]) -> Any:
    return CODECS[system](Payload("a scene", "", make, pieces=_PIECE))


def _items(size: int) -> Callable[[Any], object]:
    return lambda node: [n if n % 4 else f"item {n}" for n in range(size)]


def _bytes(size: int) -> Callable[[Any], object]:
    return lambda node: random.Random(size).randbytes(size)


def _send_items(system: str, size: int) -> Run:
    run: Run = _codec(system, _items(size)).send
    return run


def _receive_items(system: str, size: int) -> Run:
    codec = _codec(system, _items(size))
    data = codec.send()
    return lambda: codec.receive(data)


def _send_bytes(system: str, size: int) -> Run:
    run: Run = _codec(system, _bytes(size)).send
    return run


def _arriving(codec: Any) -> Run:
    data = codec.send()
    pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
    return lambda: codec.pieces(pieces)


def _decode_items(system: str, size: int) -> Run:
    return _arriving(_codec(system, _items(size)))


def _decode_bytes(system: str, size: int) -> Run:
    return _arriving(_codec(system, _bytes(size)))


_programs: dict[str, Any] = {}


def _program(system: str) -> Any:
    """Return the program of the RPC benchmarks, made once."""
    if system not in _programs:
        from .peers._pb_program import Program

        _programs[system] = Program("ours" if system == "ours" else "twisted")
    return _programs[system]


class _Link:
    """A client connected to a server.

    Args:
        program: The program that both are of.
        server_factory: Makes the server's end.
    """

    __slots__ = ("calls", "pair")

    def __init__(self, program: Any, server_factory: Any) -> None:
        from pb_broker.testing import connected_pair

        from .peers._pb_program import Connection

        self.pair = connected_pair(
            server_factory=server_factory, client_factory=program.client_factory()
        )
        roots: list[Any] = []
        self.pair.client_factory.getRootObject().addCallback(roots.append)
        self.calls = Connection(roots[0], program.item)

    def result(self, name: str, *args: object) -> Any:
        """Make a call and return its result."""
        results: list[Any] = []
        getattr(self.calls, name)(*args).addBoth(results.append)
        self.pair.flush()
        if not results:
            raise ValueError(f"{name} was not answered")
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]


def _references(system: str, size: int) -> Run:
    program = _program(system)
    link = _Link(program, program.server_factory())
    batch = min(_BATCH, size)

    def run() -> object:
        return [link.result("references", batch) for _ in range(size // batch)]

    return run


def _connections(system: str, size: int) -> Run:
    program = _program(system)
    factory = program.server_factory()

    def run() -> object:
        links = [_Link(program, factory) for _ in range(size)]
        for link in links:
            link.result("add", 1, 1)
        return links

    return run


def _begin_to_observe(system: str, size: int) -> Run:
    links: Any = _connections(system, size)()

    def run() -> object:
        for link in links:
            link.result("observe")
        return links

    return run


def _update_observers(system: str, size: int) -> Run:
    links: Any = _begin_to_observe(system, size)()

    def run() -> object:
        done: list[Any] = []
        links[0].calls.update(1, True).addBoth(done.append)
        links[0].pair.pump()
        for link in links:
            link.pair.flush()
        links[0].pair.flush()
        if done != [None]:
            raise ValueError("the observers have not all answered")
        return links

    return run


def _waiting_calls(system: str, size: int) -> Run:
    program = _program(system)
    link = _Link(program, program.server_factory())

    def run() -> object:
        # Nothing is carried to the server.
        return [link.calls.add(1, 1) for _ in range(size)], link

    return run


@dataclass(frozen=True, slots=True)
class Scene:
    """Something that there can be any number of.

    Args:
        about: What there are many of, and what is done.
        time: Makes what is timed; None if that is of no interest.
        memory: Makes what has its memory measured.
        peak: Whether the most that is used counts, and not what is kept.
        cheap: Whether there can be a hundred million.
    """

    about: str
    time: Make | None
    memory: Make
    peak: bool = False
    cheap: bool = False


SCENES: Final = {
    "items sent": Scene("a list of n items is sent", _send_items, _send_items, True),
    "items received": Scene(
        "a list of n items is received", _receive_items, _receive_items, True
    ),
    "items in pieces": Scene(
        "a list of n items is decoded, in pieces of 64 KiB",
        _decode_items,
        _decode_items,
        True,
    ),
    "bytes sent": Scene("n bytes are sent", _send_bytes, _send_bytes, True, True),
    "bytes in pieces": Scene(
        "n bytes are decoded, in pieces of 64 KiB",
        _decode_bytes,
        _decode_bytes,
        True,
        True,
    ),
    "references": Scene("n live references are passed", _references, _references),
    "connections": Scene(
        "n connections are made, one call on each", _connections, _connections
    ),
    "observers": Scene(
        "n observers are told of a change, and answer",
        _update_observers,
        _begin_to_observe,
    ),
    "waiting calls": Scene("n calls wait for an answer", None, _waiting_calls),
}


def seconds_of(make: Make, system: str, size: int, budget: float) -> list[float]:
    """Time a scene, again and again while there is time.

    Args:
        make: Makes it.
        system: Of what.
        size: How large.
        budget: Seconds after which it is not begun again.

    Returns:
        The seconds that each run took.
    """
    begun = perf_counter()
    taken: list[float] = []
    while not taken or perf_counter() - begun < budget:
        run = make(system, size)
        gc.collect()
        gc.disable()
        try:
            before = perf_counter()
            kept = run()
            taken.append(perf_counter() - before)
        finally:
            gc.enable()
        del kept, run
    return taken


def memory_of(scene: Scene, system: str, size: int) -> int:
    """Return the bytes that a scene keeps, or needs at most, by Python's own count.

    Args:
        scene: The scene.
        system: Of what.
        size: How large.
    """
    _warm_up(scene, system)
    tracemalloc.start()
    try:
        run = scene.memory(system, size)
        gc.collect()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        kept = run()
        if not scene.peak:
            gc.collect()
        after, peak = tracemalloc.get_traced_memory()
        del kept, run
    finally:
        tracemalloc.stop()
    return (peak if scene.peak else after) - before


def resident_memory_of(scene: Scene, system: str, size: int) -> int:
    """Return the bytes by which a process grows for a scene.

    That takes no longer than the scene itself, while to count each allocation makes it
    more than ten times slower; but it is worth something only if the scene is large,
    and if nothing has been freed in the process that could be used again.

    Args:
        scene: The scene.
        system: Of what.
        size: How large.
    """
    _warm_up(scene, system)
    run = scene.memory(system, size)
    gc.collect()
    if scene.peak:
        _machine.forget_peak()
    before = _machine.resident_bytes()
    kept = run()
    if not scene.peak:
        gc.collect()
    after = _machine.peak_bytes() if scene.peak else _machine.resident_bytes()
    del kept, run
    return after - before


def _warm_up(scene: Scene, system: str) -> None:
    """Have what is made only once made."""
    scene.memory(system, 10)()
    gc.collect()
