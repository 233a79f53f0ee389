"""This module holds what is declared against the known advisories.

For each package, with all its extras, and for each group of dependencies, both the
oldest and the newest versions that are allowed are resolved and handed to pip-audit.
An advisory in KNOWN does not concern this project, for the reason beside it.

It ends with

    0   everything was looked at, and nothing was found
    1   there are advisories that are not in KNOWN
    2   something could not be looked at, for want of the index or of the advisories
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Final

# Python 3.10 has none of its own.
tomllib: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

ROOT: Final = Path(__file__).parents[1]
RESOLUTIONS: Final = ("lowest-direct", "highest")
PACKAGES: Final = ("pb-jelly", "pb-banana", "pb-broker", "pb-cred")

#: Advisories that do not concern this project, by their numbers.
KNOWN: Final = {
    # Of Twisted 24.3, which is the oldest that is supported.
    "CVE-2024-41671": "twisted.web answers pipelined requests: PB has no HTTP",
    "CVE-2024-41810": "twisted.web.util.redirectTo: PB has no HTTP",
    "CVE-2026-42304": "twisted.names decompresses names: PB is no DNS, and looks names"
    " up through the system's resolver",
    # Of cryptography, above the floor that concerns us.
    "CVE-2026-69247": "decryption of PKCS #7: nothing here is in it",
    "CVE-2026-69248": "x509.verification is not used: a module of pb-cred's verifies"
    " chains of certificates",
    "CVE-2026-69249": "x509.verification, likewise",
}


def requirements() -> dict[str, list[str]]:
    """Return what each package and each group declares, without our own packages."""
    declared: dict[str, list[str]] = {}
    for package in PACKAGES:
        path = ROOT / "packages" / package / "pyproject.toml"
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        declared[package] = [
            *project["dependencies"],
            *(requirement for extra in extras for requirement in extra),
        ]
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for group in groups["dependency-groups"]:
        declared[f"group {group}"] = _of_group(groups["dependency-groups"], group)
    return {
        name: [each for each in every if re.match(r"pb-\w+", each) is None]
        for name, every in declared.items()
    }


def _of_group(groups: dict[str, list[Any]], name: str) -> list[str]:
    found: list[str] = []
    for each in groups[name]:
        if isinstance(each, dict):
            found += _of_group(groups, each["include-group"])
        else:
            found.append(each)
    return found


def judged(report: Any) -> tuple[list[str], list[str]]:
    """Return what a report of pip-audit has found, and what it has left out.

    Args:
        report: The report, as its format ``json`` is.
    """
    found: list[str] = []
    left_out: list[str] = []
    for each in report["dependencies"]:
        if "skip_reason" in each:
            left_out.append(each["skip_reason"])
        for advisory in each.get("vulns", ()):
            names = {advisory["id"], *advisory["aliases"]}
            if not names & KNOWN.keys():
                fixed = ", ".join(advisory["fix_versions"]) or "no version"
                shown = ", ".join(sorted(names))
                found.append(
                    f"{each['name']} {each['version']}: {shown}, fixed in {fixed}"
                )
    return found, left_out


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "without a word"


def pinned(wanted: list[str], resolution: str) -> list[str]:
    """Return the versions, as ``name==version``, that requirements resolve to.

    Raises:
        RuntimeError: They do not, or there is no index.
    """
    with tempfile.TemporaryDirectory() as directory:
        given = Path(directory, "in.txt")
        given.write_text("\n".join(wanted))
        uv = os.environ.get("UV", "uv")
        resolved = _run(
            *(uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            *("--resolution", resolution, str(given)),
        )
    if resolved.returncode:
        raise RuntimeError(f"not resolved: {_last_line(resolved.stderr)}")
    lines = [line.partition(";")[0].strip() for line in resolved.stdout.splitlines()]
    return [line for line in lines if "==" in line]


def audited(pins: list[str]) -> tuple[list[str], list[str]]:
    """Return what is found of some versions, and what could not be looked at."""
    with tempfile.TemporaryDirectory() as directory:
        given = Path(directory, "pins.txt")
        given.write_text("\n".join(pins))
        audit = _run(
            *(sys.executable, "-m", "pip_audit", "--progress-spinner", "off"),
            *("--no-deps", "--disable-pip", "--format", "json", "-r", str(given)),
        )
    try:
        report = json.loads(audit.stdout)
    except ValueError:
        return [], [f"pip-audit failed: {_last_line(audit.stderr)}"]
    return judged(report)


def audit_all() -> tuple[bool, bool]:
    """Look at everything, and say what was found.

    Returns:
        Whether there are advisories, and whether something could not be looked at.
    """
    has_found = has_left_out = False
    # Most versions are those of several groups.
    seen: set[str] = set()
    for name, wanted in requirements().items():
        for resolution in RESOLUTIONS:
            found: list[str] = []
            left_out: list[str] = []
            new: list[str] = []
            try:
                new = [pin for pin in pinned(wanted, resolution) if pin not in seen]
            except RuntimeError as error:
                left_out = [str(error)]
            if new:
                found, left_out = audited(new)
                seen.update(new)
            what = f"{name}, {resolution}, {len(new)} new versions"
            if left_out:
                print(f"{what}: {len(left_out)} could not be looked at: {left_out[0]}")
            for line in found or ([] if left_out else ["nothing"]):
                print(f"{what}: {line}")
            has_found |= bool(found)
            has_left_out |= bool(left_out)
    return has_found, has_left_out


def main() -> int:
    """Look at everything, say how it ended, and return that as a number."""
    has_found, has_left_out = audit_all()
    if has_left_out:
        print("For what is left out above, the advisories or the index cannot be had.")
    if has_found:
        print("There are advisories: raise a floor, or say in KNOWN why not.")
        return 1
    if has_left_out:
        return 2
    print("No advisory that concerns us.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
