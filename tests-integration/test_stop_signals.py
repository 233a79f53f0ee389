"""Signals to the servers of the documents, under load: no call is lost."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from documented_servers import served
from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from programs import run_program, started

ROOT = Path(__file__).parents[1]

#: Number of clients, and of their answers before the signal.
CLIENTS = 8
ANSWERS = 200


def readme_server(loop: str, has_tls: bool, body: str) -> str:
    """Return README's server, on a loop, with or without TLS.

    Args:
        loop: The name of the loop.
        has_tls: True for the endpoint as it is shown, False for one without TLS.
        body: The line in the block.
    """
    text = (ROOT / "README.md").read_text("utf-8")
    program: str
    (program,) = re.findall(r"^```python\n# server\.py\n(.*?)^```$", text, re.M | re.S)
    shown = "        await server.serve_forever()\n"
    assert shown in program
    program = program.replace(shown, f"        await {body}\n")
    if not has_tls:
        program, count = re.subn(r'"ssl:8787:[^"]*"', '"tcp:8787"', program)
        assert count == 1
    if loop == "reactor":
        return "from twisted.internet.defer import Deferred\n" + program
    program = program.replace("from twisted.internet.task import react\n", "")
    program = program.replace("async def main(reactor):", "async def main():")
    run = "uvloop.run(main())" if loop == "uvloop" else "asyncio.run(main())"
    return "import asyncio\nimport uvloop\n" + program.replace("react(main)", run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with certificates, made as README says."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "certificates").mkdir()
    command = ("-m", "trustme", "-d", "certificates")
    made = run_program(*command, cwd=folder, warnings=["error"])
    assert made.returncode == 0, made.stderr
    return folder


class Listener(pb.Referenceable):
    """A listener that answers when it is told to."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.released = asyncio.Event()

    async def remote_hear(self, text: str) -> str:
        self.heard.set()
        await self.released.wait()
        return f"I heard {text}"


class Load:
    """Clients that call one call after another, until one is refused.

    Attributes:
        answers: Number of answers.
        refusals: The errors of the calls that were not begun.
    """

    def __init__(self) -> None:
        self.answers = 0
        self.refusals: list[pb.NotExecuted] = []

    async def call(self, root: Any) -> None:
        """Call until the server takes no more calls; no other error may come."""
        number = 0
        while True:
            number += 1
            try:
                assert await root.callRemote("add", number, 1) == number + 1
            except pb.NotExecuted as error:
                self.refusals.append(error)
                return
            self.answers += 1


async def stop_under_load(
    where: str, context: ssl.SSLContext | None, send: Any
) -> tuple[str, Load]:
    """Have calls in flight at a signal.

    Args:
        where: The server's endpoint.
        context: The TLS context of the clients; None for no TLS.
        send: Sends the signal.

    Returns:
        The answer to the call that was in flight, and the load.
    """
    load, listener = Load(), Listener()
    async with AsyncExitStack() as stack:
        clients = [pb_asyncio.client(where, ssl=context) for _ in range(CLIENTS)]
        roots = [await stack.enter_async_context(client) for client in clients]
        call: Any = roots[0].callRemote("tell", listener, "hello")
        calling = [asyncio.ensure_future(load.call(root)) for root in roots]
        await listener.heard.wait()
        while load.answers < ANSWERS:
            await asyncio.sleep(0)
        send()
        # The clients learn of the end while the call in flight still waits.
        await asyncio.gather(*calling)
        assert not call.done()
        listener.released.set()
        answer: str = await call
    return answer, load


BODIES = {
    "reactor": ["server.serve_forever()", "Deferred()"],
    "asyncio": ["server.serve_forever()", "asyncio.Event().wait()"],
    "uvloop": ["server.serve_forever()", "asyncio.Event().wait()"],
}
CASES = [
    pytest.param(
        loop, body, has_tls, id=f"{loop}-{body[:6]}-{'tls' if has_tls else ''}"
    )
    for loop, bodies in BODIES.items()
    for body in bodies
    for has_tls in (True, False)
]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("loop", "body", "has_tls"), CASES)
def test_no_call_is_lost(
    loop: str, body: str, has_tls: bool, number: signal.Signals, folder: Path
) -> None:
    context = None
    if has_tls:
        trusted = folder / "certificates" / "client.pem"
        context = ssl.create_default_context(cafile=str(trusted))
    program = readme_server(loop, has_tls, body)
    with served(program, folder) as (port, process):
        host = "localhost" if has_tls else "127.0.0.1"
        answer, load = asyncio.run(
            stop_under_load(
                f"tcp:{host}:{port}", context, lambda: process.send_signal(number)
            )
        )
        assert process.wait() == 0
    assert answer == "I heard HELLO"
    assert len(load.refusals) == CLIENTS


@pytest.mark.parametrize("loop", ["reactor", "asyncio", "uvloop"])
def test_second_signal_ends_the_server_at_once(loop: str, folder: Path) -> None:
    async def stop_twice(where: str, send: Any) -> None:
        load, listener = Load(), Listener()
        async with pb_asyncio.client(where) as root:
            call = root.callRemote("tell", listener, "hello")
            await listener.heard.wait()
            send(signal.SIGINT)
            await load.call(root)
            send(signal.SIGTERM)
            with pytest.raises(pb.MaybeExecuted):
                await call

    program = readme_server(loop, False, "server.serve_forever()")
    with served(program, folder) as (port, process):
        asyncio.run(stop_twice(f"tcp:127.0.0.1:{port}", process.send_signal))
        assert process.wait() == -signal.SIGTERM


SERVICE = """
import sys

from pb_cred import pb
from twisted.application.service import Application
from twisted.internet import endpoints, reactor


class Calculator(pb.Root):
    def remote_add(self, a, b):
        return a + b

    async def remote_tell(self, listener, text):
        return await listener.callRemote("hear", text.upper())


class Factory(pb.PBServerFactory):
    def doStart(self):
        super().doStart()
        reactor.callLater(0, tell)


def tell():
    (port,) = [each for each in reactor.getReaders() if hasattr(each, "getHost")]
    # twistd takes `sys.stdout` for its log.
    print(port.getHost().port, file=sys.__stdout__, flush=True)


here = endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
service = pb.PBServerService(here, Factory(Calculator()), grace=None)
application = Application("calculator")
service.setServiceParent(application)
"""

STARTED_BY_HAND = "service.startService()\nreactor.run()\n"


@pytest.mark.parametrize("is_twistd", [True, False])
def test_service_loses_no_call(is_twistd: bool, tmp_path: Path) -> None:
    program = tmp_path / "service.py"
    words: tuple[str, ...]
    if is_twistd:
        program.write_text(SERVICE, "utf-8")
        runner = "from twisted.scripts.twistd import run; run()"
        options = ("--nodaemon", "--pidfile=", "--logfile=log", "--python=service.py")
        words = ("-c", runner, *options)
    else:
        program.write_text(SERVICE + STARTED_BY_HAND, "utf-8")
        words = ("service.py",)
    with started(*words, cwd=tmp_path) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the service has not started"
        where = f"tcp:127.0.0.1:{port}"
        stop = stop_under_load(where, None, process.terminate)
        answer, load = asyncio.run(stop)
        # twistd ends its own process by the signal that has stopped it.
        assert process.wait() == (-signal.SIGTERM if is_twistd else 0)
    assert answer == "I heard HELLO"
    assert len(load.refusals) == CLIENTS
