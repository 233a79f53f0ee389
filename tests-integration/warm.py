"""This module is the warm process that `programs` forks programs from.

A short program takes a second to import Twisted and the packages, and little time for
its own work. This process has imported them, without any reactor, and forks for each
request: the copy runs the program as a new interpreter would, with all modules in its
cache already. A request is one byte on standard input, a socket, with open files
attached: the request as JSON, the program's standard streams, and a pipe for its number
and its exit code.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import socket
import sys
import warnings
from typing import Any


def accept(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each request that arrives.

    Returns:
        In the process of a program, its request; in this one None, after the last.
    """
    supervisors = 0
    while True:
        # Supervisors that have ended, so that their processor time is counted as ours.
        while supervisors and os.waitpid(-1, os.WNOHANG)[0]:
            supervisors -= 1
        data, files, _, _ = socket.recv_fds(control, 1, 5)
        if not data:
            for _ in range(supervisors):
                os.wait()
            return None
        asked, *streams, report = files
        if os.fork():
            supervisors += 1
            for file in files:
                os.close(file)
            continue
        # The supervisor of one program, whose number and exit code it reports.
        control.close()
        program = os.fork()
        if program:
            for file in (0, 1, 2, asked, *streams):
                os.close(file)
            os.write(report, b"%d\n" % program)
            _, status = os.waitpid(program, 0)
            os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        os.close(report)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        with open(asked, encoding="utf-8") as request:
            read: dict[str, Any] = json.load(request)
        return read


def run(request: dict[str, Any]) -> None:
    """Run a program: a path, ``-m`` with a module, or ``-c`` with code."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    # As for -W: the last option comes first.
    sys.warnoptions[:] = request["warnings"]
    for option in request["warnings"]:
        action, _, message = option.partition(":")
        warnings.filterwarnings(action, message)
    kind, *arguments = request["arguments"]
    if kind == "-m":
        sys.argv = arguments
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = [kind, *arguments[1:]]
        sys.path.insert(0, "")
        exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [kind, *arguments]
        sys.path.insert(0, os.path.dirname(os.path.abspath(kind)))
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    # Not the folder of this file, which is on the path of no program.
    del sys.path[0]
    import OpenSSL.SSL  # noqa: F401
    import twisted.internet.asyncioreactor
    import twisted.internet.epollreactor
    import twisted.internet.ssl
    import twisted.internet.task  # noqa: F401

    # Each program installs a reactor of its own, and ours in the place of Twisted's.
    assert not {"twisted.internet.reactor", "twisted.spread.pb"} & set(sys.modules)
    # The garbage collector would write to every page, and so copy it in each process.
    gc.freeze()
    asked = accept(socket.socket(fileno=os.dup(0)))
    if asked is not None:
        run(asked)
