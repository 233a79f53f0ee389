"""The import of pb-jelly, which loads no event loop and no socket."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = {"twisted", "zope", "asyncio", "socket", "select", "selectors", "ssl"}
#: Slow to import, and only of use to those who have imported them already.
LATE = {"uuid", "pathlib", "fractions", "zoneinfo", "attr"}

# What import adds, not what is loaded: .pth files in the test environment load
# modules of their own at start-up.
PROGRAM = """
import sys
before = set(sys.modules)
import pb_jelly
import pb_jelly.errors
[getattr(pb_jelly, name) for name in pb_jelly.__all__]
pb_jelly.unjelly(pb_jelly.jelly([1, "two", {3: (4.0, None)}]))
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""


def test_import_is_free_of_io() -> None:
    ran = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert "pb_jelly" in ran.stdout.split()
    assert not FORBIDDEN & set(ran.stdout.split())
    assert not LATE & set(ran.stdout.split())
