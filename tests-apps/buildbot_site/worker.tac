"""This file is the buildbot.tac of a worker that logs to its standard output."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from buildbot_worker.bot import Worker
from twisted.application import service
from twisted.python.log import FileLogObserver, ILogObserver, msg
from twisted.spread import pb

msg(f"perspective broker: {pb.Broker.__module__}")
# Buildbot looks for this line, and for these quotes.
application = service.Application('buildbot-worker')
application.setComponent(ILogObserver, FileLogObserver(sys.stdout).emit)
worker = Worker(
    "127.0.0.1",
    int(os.environ["MASTER_PORT"]),
    "alpha",
    os.environ["WORKER_PASSWORD"],
    str(Path(__file__).resolve().parent),
    keepalive=0,
    allow_shutdown="signal",
    maxRetries=1,
)
# What a command says is sent when it says it, not seconds later.
worker.bot.buffer_timeout = 0
worker.setServiceParent(application)
