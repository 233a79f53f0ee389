"""The event loop that connections and servers run on: the one that runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading

import pytest

from pb_broker._endpoints.running_loop import running_asyncio_loop

#: What a program does in a coroutine: both ends, over one signature.
BOTH_ENDS = """
import asyncio, sys
import pb_broker as pb

class Root(pb.Root):
    def remote_add(self, a, b):
        return a + b

async def main(*reactor):
    async with pb.serve("tcp:0:interface=127.0.0.1", Root(), grace=0) as server:
        where = f"tcp:127.0.0.1:{server.port}"
        async with pb.client(where, call_timeout=30) as root:
            call = root.callRemote("add", 2, 3)
            print(await call, type(call))
        async with pb.reconnecting(where) as service:
            root = await service.when_root()
            print(await service.reference().callRemote("add", 3, 4))
"""

ON_ASYNCIO = """
asyncio.run(main())
print("reactor imported:", "twisted.internet.reactor" in sys.modules)
"""

ON_TWISTED = """
from twisted.internet.task import react
react(main)
"""

OVER_ASYNCIOS_LOOP = """
from twisted.internet import asyncioreactor
asyncioreactor.install(asyncio.new_event_loop())
"""

#: With the reactor running already, where asyncio's loop runs as well.
IN_THE_REACTOR = """
from twisted.internet import reactor
from twisted.internet.defer import Deferred

def begin():
    asyncio.get_running_loop()
    done = Deferred.fromCoroutine(main())
    done.addErrback(lambda failure: failure.printTraceback())
    done.addBoth(lambda _: reactor.stop())

reactor.callLater(0, begin)
reactor.run()
"""

#: A reactor that is over asyncio's loop, and does not run.
BESIDE_THE_REACTOR = """
from twisted.internet import reactor
asyncio.run(main())
"""

#: A task of asyncio's in a program that runs the reactor.
EXPLICIT = """
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from pb_broker import asyncio as pb_asyncio

async def task():
    where = "tcp:0:interface=127.0.0.1"
    async with pb_asyncio.serve(where, Root(), grace=0) as server:
        async with pb_asyncio.client(f"tcp:127.0.0.1:{server.port}") as root:
            call = root.callRemote("add", 2, 3)
            print(await call, type(call))

def begin():
    done = Deferred.fromFuture(asyncio.ensure_future(task()))
    done.addErrback(lambda failure: failure.printTraceback())
    done.addBoth(lambda _: reactor.stop())

reactor.callLater(0, begin)
reactor.run()
"""

TWISTED_CALL = "<class 'pb_broker._event_loops.shell.Call'>"
ASYNCIO_CALL = "<class 'pb_broker._event_loops.asyncio_shell._CallFuture'>"


#: Runs programs, each in a fork of a process that has imported no reactor.
FORKS = """
import asyncio, json, os, sys, tempfile
import pb_broker

def ran(program):
    streams = [tempfile.TemporaryFile() for _ in range(2)]
    child = os.fork()
    if not child:
        for number, stream in enumerate(streams, 1):
            os.dup2(stream.fileno(), number)
        try:
            exec(program, {"__name__": "__main__"})
        except SystemExit as end:
            print(end.code or "", end="", file=sys.stderr)
        except Exception:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    os.waitpid(child, 0)
    for stream in streams:
        stream.seek(0)
    return [stream.read().decode() for stream in streams]

assert "twisted.internet.reactor" not in sys.modules
print(json.dumps([ran(program) for program in json.load(sys.stdin)]))
"""

PROGRAMS = {
    "asyncio": (ON_ASYNCIO, f"5 {ASYNCIO_CALL}\n7\nreactor imported: False\n"),
    "Twisted": (ON_TWISTED, f"5 {TWISTED_CALL}\n7\n"),
    "Twisted over asyncio, before it runs": (
        OVER_ASYNCIOS_LOOP + ON_TWISTED,
        f"5 {TWISTED_CALL}\n7\n",
    ),
    "Twisted over asyncio, running": (
        OVER_ASYNCIOS_LOOP + IN_THE_REACTOR,
        f"5 {TWISTED_CALL}\n7\n",
    ),
    "asyncio beside a reactor that does not run": (
        OVER_ASYNCIOS_LOOP + BESIDE_THE_REACTOR,
        f"5 {ASYNCIO_CALL}\n7\n",
    ),
    "a task of asyncio's while the reactor runs": (
        OVER_ASYNCIOS_LOOP + EXPLICIT,
        f"5 {ASYNCIO_CALL}\n",
    ),
}


@pytest.fixture(scope="module")
def outputs() -> dict[str, list[str]]:
    """Outputs and errors of the programs, by the programs' names."""
    programs = [BOTH_ENDS + program for program, _ in PROGRAMS.values()]
    ran = subprocess.run(
        [sys.executable, "-c", FORKS],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(PROGRAMS, json.loads(ran.stdout), strict=True))


@pytest.mark.parametrize("name", PROGRAMS)
def test_running_loop_is_found(name: str, outputs: dict[str, list[str]]) -> None:
    assert outputs[name] == [PROGRAMS[name][1], ""]


def test_given_reactor_is_used() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert running_asyncio_loop() is loop
        assert running_asyncio_loop(object()) is None

    asyncio.run(main())
    assert running_asyncio_loop() is None


def test_reactor_of_another_thread_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Running:
        running = True

    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", Running())
    found: list[object] = []

    async def main() -> None:
        found.append(running_asyncio_loop() is asyncio.get_running_loop())

    monkeypatch.setattr("twisted.python.threadable.ioThread", threading.get_ident())
    asyncio.run(main())
    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    thread.join()
    assert found == [False, True]
