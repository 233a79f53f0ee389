"""This module has the three ways in which an RPC system lets its callers wait.

A peer derives from one of them: calls return Deferreds (`TwistedPeer`), awaitables
(`AsyncioPeer`), or block (`BlockingPeer`). Each knows how to run a peer's side of a
benchmark, which is one coroutine for all, and how to keep calls outstanding in the way
that costs this kind of caller least.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any, ClassVar

__all__ = ["HOST", "AsyncioPeer", "BlockingPeer", "Peer", "TwistedPeer", "settled"]

HOST = "127.0.0.1"

Work = Callable[[], Coroutine[Any, Any, None]]
Call = Callable[[], Any]


async def settled(value: Any) -> Any:
    """Return a value, or what it fires with if it is a Deferred or an awaitable."""
    return await value if hasattr(value, "__await__") else value


class Peer:
    """One end of an RPC system.

    The object that `connect` gives has, as far as `works` needs them:

    - ``add(a, b)`` returns the sum;
    - ``echo(value)`` returns a dict like the one given, or a form of the system's own;
    - ``blob(data)`` returns the same bytes;
    - ``sink(data)`` returns how many bytes came;
    - ``callback()`` passes an object made for it, which the server calls once;
    - ``references(n)`` returns n references to objects that the server makes for it;
    - ``poke(reference)`` calls one of those;
    - ``observe()`` begins to keep a copy of what the server shares with all;
    - ``update(n, answered)`` has the server change that n times;
    - ``observed()`` returns how often that was seen here.

    Args:
        variant: A peer of which there is more than one kind is told which.

    Attributes:
        works: The names of the workloads that it can do.
        most_connections: With more than so many it is not measured.
    """

    works: ClassVar[frozenset[str]] = frozenset()
    most_connections: ClassVar[int] = 1_000_000

    def __init__(self, variant: str) -> None:
        self.variant = variant

    def serve(self) -> Any:
        """Start to serve, on any port.

        Returns:
            What the other end needs to connect: a word, or a Deferred or an
            awaitable of one.
        """
        raise NotImplementedError

    def connect(self, address: str) -> Any:
        """Connect to what `serve` returned.

        Returns:
            The connection, or a Deferred or an awaitable of it.
        """
        raise NotImplementedError

    def caller(self, connection: Any, name: str, args: tuple[Any, ...]) -> Call:
        """Return what makes one call, for `keep` with a depth of more than one.

        Args:
            connection: On which.
            name: The method of the connection.
            args: Its arguments.
        """
        call: Call = partial(getattr(connection, name), *args)
        return call

    def joiner(self, address: str, then: Callable[[Any], Any]) -> Call:
        """Return what connects and then makes a call, for `keep`.

        Args:
            address: To what.
            then: Makes the call on the connection that it is given.
        """
        raise NotImplementedError

    def run(self, work: Work, *, forever: bool) -> None:
        """Run a coroutine.

        Args:
            work: Makes it.
            forever: Go on when it has ended, as servers do.
        """
        raise NotImplementedError

    def keep(
        self,
        call: Call,
        depth: int,
        more: Callable[[], bool],
        latencies: list[float] | None = None,
    ) -> Any:
        """Keep calls outstanding.

        Args:
            call: Makes one.
            depth: How many to have outstanding at a time.
            more: Says before each whether it is wanted.
            latencies: Where the seconds that each takes go, if that is wanted.

        Returns:
            How many calls were made, or a Deferred or an awaitable of that.
        """
        raise NotImplementedError


class TwistedPeer(Peer):
    """A peer whose calls return Deferreds."""

    def joiner(self, address: str, then: Callable[[Any], Any]) -> Call:
        """Return what connects and then makes a call."""
        return lambda: self.connect(address).addCallback(then)

    def run(self, work: Work, *, forever: bool) -> None:
        """Run a coroutine on the reactor."""
        from twisted.internet import reactor as module
        from twisted.internet.defer import Deferred

        reactor: Any = module
        failures: list[Any] = []

        def ended(result: Any) -> None:
            if result is not None:
                failures.append(result)
            if failures or not forever:
                reactor.stop()

        def begin() -> None:
            Deferred.fromCoroutine(work()).addBoth(ended)

        reactor.callWhenRunning(begin)
        reactor.run()
        for failure in failures:
            failure.raiseException()

    # Closures cost a call least, so that the system's own cost is what is measured.
    def keep(  # noqa: C901
        self,
        call: Call,
        depth: int,
        more: Callable[[], bool],
        latencies: list[float] | None = None,
    ) -> Any:
        """Keep calls outstanding, each begun by the answer to another."""
        from twisted.internet.defer import Deferred

        done: Deferred[int] = Deferred()
        count = outstanding = 0

        def begin() -> None:
            nonlocal count, outstanding
            count += 1
            outstanding += 1
            if latencies is None:
                call().addCallbacks(ended, failed)
            else:
                began = perf_counter()
                call().addCallbacks(timed, failed, callbackArgs=(began,))

        def timed(result: Any, began: float) -> None:
            assert latencies is not None
            latencies.append(perf_counter() - began)
            ended(result)

        def ended(result: Any) -> None:
            nonlocal outstanding
            outstanding -= 1
            if more():
                begin()
            elif not outstanding:
                done.callback(count)

        def failed(failure: Any) -> None:
            if not done.called:
                done.errback(failure)

        for _ in range(depth):
            if more():
                begin()
        if not count:
            done.callback(0)
        return done


class AsyncioPeer(Peer):
    """A peer whose calls return awaitables."""

    def joiner(self, address: str, then: Callable[[Any], Any]) -> Call:
        """Return what connects and then makes a call."""

        async def join() -> Any:
            return await then(await settled(self.connect(address)))

        return join

    def run(self, work: Work, *, forever: bool) -> None:
        """Run a coroutine on an event loop."""

        async def main() -> None:
            await work()
            if forever:
                await asyncio.Event().wait()

        asyncio.run(main())

    async def keep(
        self,
        call: Call,
        depth: int,
        more: Callable[[], bool],
        latencies: list[float] | None = None,
    ) -> int:
        """Keep calls outstanding, each by a task of its own."""
        count = 0

        async def one_after_the_other() -> None:
            nonlocal count
            while more():
                count += 1
                if latencies is None:
                    await call()
                else:
                    began = perf_counter()
                    await call()
                    latencies.append(perf_counter() - began)

        await asyncio.gather(*[one_after_the_other() for _ in range(depth)])
        return count


class BlockingPeer(Peer):
    """A peer whose calls block; one that can pipeline them overrides `keep`."""

    def joiner(self, address: str, then: Callable[[Any], Any]) -> Call:
        """Return what connects and then makes a call."""
        return lambda: then(self.connect(address))

    def run(self, work: Work, *, forever: bool) -> None:
        """Run a coroutine that waits for nothing."""
        try:
            work().send(None)
        except StopIteration:
            pass
        else:
            raise RuntimeError("a peer that blocks has nothing to await")
        if forever:
            self.loop()

    def loop(self) -> None:
        """Serve until the end."""
        raise NotImplementedError

    def keep(
        self,
        call: Call,
        depth: int,
        more: Callable[[], bool],
        latencies: list[float] | None = None,
    ) -> int:
        """Make calls, one at a time whatever the depth."""
        count = 0
        while more():
            count += 1
            began = perf_counter()
            call()
            if latencies is not None:
                latencies.append(perf_counter() - began)
        return count
