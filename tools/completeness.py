"""This module checks how much of the public API is annotated, as pyright counts it.

``python tools/completeness.py`` asks pyright for each package, and fails if one is
below its floor.  It has to run in the environment that has pyright and the packages.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

__all__ = ["main"]

#: The least share of public symbols with a known type, in percent.
FLOORS: Final = {"pb_jelly": 98, "pb_banana": 98, "pb_broker": 95, "pb_cred": 98}


def share_of(package: str) -> float:
    """Return the share of the public symbols of a package with a known type.

    Args:
        package: The name by which it is imported.

    Returns:
        The share in percent.
    """
    command = ["pyright", "--verifytypes", package, "--ignoreexternal", "--outputjson"]
    # It fails wherever the share is below 100 %.
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    score: float = json.loads(told.stdout)["typeCompleteness"]["completenessScore"]
    return 100 * score


def main() -> int:
    """Print the share of each package; return 1 if one is below its floor."""
    is_low = False
    for package, floor in FLOORS.items():
        share = share_of(package)
        is_low |= share < floor
        print(f"{package:10} {share:5.1f} % of {floor} %")
    return int(is_low)


if __name__ == "__main__":
    sys.exit(main())
