"""The import of pb-banana, which loads no event loop and no socket."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = {"twisted", "zope", "asyncio", "socket", "select", "selectors", "ssl"}

# What import adds, not what is loaded: .pth files in the test environment load
# modules of their own at start-up.
PROGRAM = """
import sys
before = set(sys.modules)
import pb_banana
import pb_banana.errors
[getattr(pb_banana, name) for name in pb_banana.__all__]
pb_banana.loads(pb_banana.dumps([1, "two"]))
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""


def test_import_is_free_of_io() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )
    assert "pb_banana" in ran.stdout.split()
    assert not FORBIDDEN & set(ran.stdout.split())
