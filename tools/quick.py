"""This module runs the packages' tests in two processes at once: `make quick`.

Arguments are for both.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Final

#: Folders of tests, divided into two parts of about equal length.
PARTS: Final = (
    ("packages/pb-cred", "packages/pb-jelly"),
    ("packages/pb-broker", "packages/pb-banana"),
)


def main(arguments: list[str]) -> int:
    """Run both parts and print their output, one after the other."""
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "pytest", "-q"]
        second = subprocess.Popen(
            [*command, "-p", "no:cacheprovider", *PARTS[1], *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            first = subprocess.run([*command, *PARTS[0], *arguments], check=False)
            second.wait()
        finally:
            second.kill()
            second.wait()
        output.seek(0)
        print(output.read())
    # 5: no test was selected in that part.
    codes = {first.returncode, second.returncode}
    return 0 if codes <= {0, 5} and codes != {5} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
