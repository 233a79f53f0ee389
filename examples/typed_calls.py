"""Calls methods through an interface that both ends share, and type checkers know.

Prints:
    2 + 3 = 5
    in all: 10
    a name that is not there: 'CalculatorStub' object has no attribute 'subtract'
    too few arguments: Calculator.add() missing 1 required positional argument: 'b'
    refused over there: argument 'b' of add must be int: str is not an instance of int
"""

from __future__ import annotations

from typing import Any, Protocol

from certificates import client_endpoint, server_endpoint
from twisted.internet.task import react

from pb_cred import pb


class Calculator(Protocol):
    async def add(self, a: int, b: int) -> int: ...

    async def total(self, numbers: list[int], start: int = 0) -> int: ...


@pb.exposes(Calculator, validate=True)
class Server(pb.Root):
    def remote_add(self, a: int, b: int) -> int:
        return a + b

    @pb.remote  # needs no prefix
    async def total(self, numbers: list[int], start: int = 0) -> int:
        return sum(numbers, start)


async def main(reactor: Any) -> None:
    server = pb.serve(server_endpoint(reactor), Server())
    async with server as port, pb.client(client_endpoint(reactor, port)) as root:
        calculator = root.stub(Calculator)
        print("2 + 3 =", await calculator.add(2, 3))  # an int, as type checkers know
        print("in all:", await calculator.total([1, 2, 3], start=4))
        mistaken: Any = calculator  # what follows, they would not let pass
        try:
            mistaken.subtract(3, 2)
        except AttributeError as error:
            print("a name that is not there:", error)
        try:
            mistaken.add(2)
        except TypeError as error:
            print("too few arguments:", error)
        try:
            await mistaken.add(2, "3")
        except pb.InvalidArgument as error:
            print("refused over there:", error)


if __name__ == "__main__":
    react(main)
