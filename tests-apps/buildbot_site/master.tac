"""This file is the buildbot.tac of a master that logs to its standard output."""

from __future__ import annotations

import sys
from pathlib import Path

from buildbot.master import BuildMaster
from twisted.application import service
from twisted.python.log import FileLogObserver, ILogObserver, msg
from twisted.spread import pb

msg(f"perspective broker: {pb.Broker.__module__}")
# Buildbot looks for this line, and for these quotes.
application = service.Application('buildmaster')
application.setComponent(ILogObserver, FileLogObserver(sys.stdout).emit)
master = BuildMaster(str(Path(__file__).resolve().parent), "master.cfg")
master.setServiceParent(application)
