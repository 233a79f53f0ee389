"""Perspective Broker at work: a server and a client in two processes, over TLS.

    python examples/demo/demo.py

Says, step by step, what happened and what crossed the wire.
Ends with status 0 if all of it went well, and within half a minute in any case.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent

#: Seconds after which whatever still runs is ended.
PATIENCE = 30.0


def main() -> int:
    """Run both processes, and return the status to exit with."""
    python = [sys.executable, "-u"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        # What the server leaves there for the client is no secret.
        authority = Path(folder, "authority.pem")
        server = subprocess.Popen(
            [*python, HERE / "server.py", authority],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert server.stdin is not None
        assert server.stdout is not None
        processes = [server]
        watchdog = threading.Timer(PATIENCE, end, [processes])
        watchdog.start()
        try:
            port = server.stdout.readline().strip()
            if port:
                client = subprocess.Popen(
                    [*python, HERE / "client.py", port, authority], text=True
                )
                processes.append(client)
                client.wait()
            server.stdin.close()
            server.wait()
        finally:
            watchdog.cancel()
            end(processes)
            server.stdout.close()
        if port and not any(process.returncode for process in processes):
            return 0
        log.seek(0)
        sys.stderr.write("The demo failed. What the server said:\n" + log.read())
        return 1


def end(processes: list[subprocess.Popen[str]]) -> None:
    """End what still runs."""
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
