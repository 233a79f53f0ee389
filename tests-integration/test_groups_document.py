"""The program of the document on groups."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from pb_cred import pb

TEXT = (Path(__file__).parents[1] / "docs" / "groups.md").read_text("utf-8")


class Listener(pb.Referenceable):
    def __init__(self, number: int) -> None:
        self.number = number
        self.heard: list[str] = []

    def remote_hear(self, text: str) -> None:
        self.heard.append(text)

    def remote_answer(self, question: str) -> str:
        if not self.number:
            raise pb.Error("no answer")
        return f"{question} {self.number}"


def test_room_of_the_document() -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    names: dict[str, Any] = {}
    exec(program, names)
    listeners = [Listener(number) for number in range(3)]

    async def main() -> None:
        async with AsyncExitStack() as stack:
            serving = pb.serve("tcp:0:interface=127.0.0.1", names["Room"](), grace=0)
            server = await stack.enter_async_context(serving)
            for listener in listeners:
                client = pb.client(f"tcp:127.0.0.1:{server.port}")
                root = await stack.enter_async_context(client)
                await root.callRemote("join", listener)
            assert await root.callRemote("say", "hello") == 3
            results, failures = await root.callRemote("ask", "what?")
            assert sorted(results) == ["what? 1", "what? 2"]
            assert failures == 1
        assert [listener.heard for listener in listeners] == [["hello"]] * 3

    asyncio.run(main())
