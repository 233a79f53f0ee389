"""Calls the methods of an object at the other end of a connection.

A peer can call the methods whose names begin with `remote_`, and no others.

Prints:
    2 + 3 = 5
    7 / 2 = 3.5
    sum of [1, 2, 3, 4] = 10
    results so far: [5, 3.5, 10]
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.internet.task import react

from pb_cred import pb


class Calculator(pb.Root):
    """The server's root object: where every client begins."""

    def __init__(self) -> None:
        self.results: list[float] = []

    def keep(self, result: float) -> float:
        """No peer can call this one."""
        self.results.append(result)
        return result

    def remote_add(self, a: float, b: float) -> float:
        return self.keep(a + b)

    def remote_divide(self, a: float, b: float) -> float:
        return self.keep(a / b)

    def remote_sum(self, numbers: list[float], start: float = 0) -> float:
        return self.keep(sum(numbers, start))

    def remote_results(self) -> list[float]:
        return self.results


async def main(reactor: Any) -> None:
    server = pb.serve(server_endpoint(reactor), Calculator())
    async with server as port, pb.client(client_endpoint(reactor, port)) as calculator:
        print("2 + 3 =", await calculator.callRemote("add", 2, 3))
        print("7 / 2 =", await calculator.callRemote("divide", 7, 2))
        total = await calculator.callRemote("sum", [1, 2, 3], start=4)
        print("sum of [1, 2, 3, 4] =", total)
        print("results so far:", await calculator.callRemote("results"))


if __name__ == "__main__":
    react(main)
