"""This module tells what was measured on, how fast it was then, and how busy."""

from __future__ import annotations

import gc
import os
import platform
import time
from importlib import import_module, metadata
from pathlib import Path
from types import TracebackType
from typing import Final

__all__ = [
    "Meter",
    "busy_share",
    "describe",
    "forget_peak",
    "form",
    "pace",
    "peak_bytes",
    "processor_time_of",
    "resident_bytes",
    "wait_until_quiet",
]

#: What a report states the version of, where it is installed.
_DISTRIBUTIONS: Final = (
    "pb-jelly",
    "pb-banana",
    "pb-broker",
    "pb-cred",
    "twisted",
    "msgpack",
    "rpyc",
    "pyro5",
    "pycapnp",
    "grpcio",
    "protobuf",
)

_PACE_STEPS: Final = 600_000


def form() -> str:
    """Return which form of the codec this interpreter loads: compiled or plain."""
    return "compiled" if import_module("pb_banana").is_compiled else "plain"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def describe() -> dict[str, object]:
    """Return the machine and the versions, as a report states them."""
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "form": form(),
        "versions": versions,
    }


def pace() -> float:
    """Return the seconds that a fixed piece of Python takes just now.

    The pace of a shared or virtual machine wanders; a rate times the pace at which
    it was measured can be compared with another, measured a moment later.
    """
    begun = time.perf_counter()
    value = 1
    for step in range(_PACE_STEPS):
        value = value * 69069 + step & 0xFFFFFF
    return time.perf_counter() - begun


def _processor_seconds() -> tuple[float, float]:
    """Return how long all processors together were busy, and idle, since boot."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(each) for each in file.readline().split()[1:9]]
    hertz = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / hertz, idle / hertz


def busy_share(seconds: float = 0.2) -> float:
    """Return the share of the machine that is in use while this waits."""
    busy, idle = _processor_seconds()
    time.sleep(seconds)
    more_busy, more_idle = _processor_seconds()
    busy, idle = more_busy - busy, more_idle - idle
    return busy / (busy + idle) if busy + idle else 0.0


def wait_until_quiet(patience: float, share: float = 0.15) -> bool:
    """Wait until others use little of the machine.

    Args:
        patience: Seconds to wait at most; with 0 nothing is looked at.
        share: What counts as little.

    Returns:
        Whether it is quiet.
    """
    if patience <= 0:
        return True
    end = time.monotonic() + patience
    while busy_share() > share:
        if time.monotonic() > end:
            return False
    return True


def processor_time_of(process: int) -> float:
    """Return the processor seconds of a process, all its threads together.

    /proc/<id>/stat counts in hundredths of a second. The clock behind it counts in
    nanoseconds, and Linux makes its number from the process's in this way.
    """
    return time.clock_gettime(~process << 3 | 2)


def resident_bytes(process: int | None = None) -> int:
    """Return how much memory a process (by default this one) has resident."""
    which = "self" if process is None else str(process)
    with open(f"/proc/{which}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes(process: int | None = None) -> int:
    """Return how much memory a process (by default this one) had at most."""
    which = "self" if process is None else str(process)
    with open(f"/proc/{which}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> None:
    """Have `peak_bytes` of this process begin again."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class Meter:
    """Measures what happens inside ``with``: time, processor time, disturbance.

    Args:
        other: The id of another process that takes part.

    Attributes:
        seconds: How long it took.
        own: Processor seconds of this process.
        others: Processor seconds of the other.
        noise: The share of the machine that neither of the two used, but somebody.
    """

    def __init__(self, other: int) -> None:
        self.seconds = self.own = self.others = self.noise = 0.0
        self._process = other

    def __enter__(self) -> Meter:
        gc.collect()
        self._busy = _processor_seconds()[0]
        self._others = processor_time_of(self._process)
        self._own = time.process_time()
        self._begun = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self._begun
        self.own = time.process_time() - self._own
        self.others = processor_time_of(self._process) - self._others
        elsewhere = _processor_seconds()[0] - self._busy - self.own - self.others
        available = self.seconds * (os.cpu_count() or 1)
        self.noise = min(max(0.0, elsewhere / available), 1.0)
