"""The audit of declared requirements against known advisories."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tools import audit


def report(*dependencies: dict[str, Any]) -> Any:
    return {"dependencies": list(dependencies), "fixes": []}


def dependency(*advisories: str) -> dict[str, Any]:
    return {
        "name": "twisted",
        "version": "24.3.0",
        "vulns": [
            {"id": f"PYSEC-{number}", "aliases": [number], "fix_versions": ["26.4.0"]}
            for number in advisories
        ],
    }


def test_advisories_that_concern_us_are_found() -> None:
    found, left_out = audit.judged(report(dependency("CVE-1", "CVE-2024-41671")))
    assert found == ["twisted 24.3.0: CVE-1, PYSEC-CVE-1, fixed in 26.4.0"]
    assert left_out == []


def test_package_that_was_not_audited_is_reported() -> None:
    """As pip-audit takes it, which then ends with 0."""
    skipped = {"name": "twisted", "skip_reason": "not found on PyPI"}
    assert audit.judged(report(skipped)) == ([], ["not found on PyPI"])


@pytest.mark.parametrize(
    ("answers", "status", "said"),
    [
        (([], []), 0, "No advisory that concerns us."),
        ((["twisted: CVE-1"], []), 1, "raise a floor"),
        (([], ["unreachable"]), 2, "cannot be had"),
        ((["twisted: CVE-1"], ["unreachable"]), 1, "raise a floor"),
    ],
)
def test_report_ends_with_the_extent_of_the_audit(
    answers: tuple[list[str], list[str]],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(audit, "pinned", lambda *_: ["twisted==24.3.0"])
    monkeypatch.setattr(audit, "audited", lambda _: answers)
    assert audit.main() == status
    assert said in capsys.readouterr().out.splitlines()[-1]


def test_unresolved_requirements_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pinned(wanted: list[str], resolution: str) -> list[str]:
        raise RuntimeError("not resolved: no index")

    monkeypatch.setattr(audit, "pinned", pinned)
    assert audit.main() == 2
    assert "1 could not be looked at: not resolved: no index" in capsys.readouterr().out


def test_all_declared_requirements_are_audited() -> None:
    declared = audit.requirements()
    assert set(audit.PACKAGES) < set(declared)
    assert any(each.startswith("pyjwt") for each in declared["pb-cred"])
    assert any(each.startswith("trustme") for each in declared["group integration"])
    everything = [each for every in declared.values() for each in every]
    assert not any("pb-" in each for each in everything)


def test_floors_of_a_requirement_are_the_same_everywhere() -> None:
    floors: dict[str, set[str]] = {}
    for every in audit.requirements().values():
        for each in every:
            match = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)", each)
            # Those with a floor for each version of Python say so with a marker.
            if match and "python_version" not in each:
                floors.setdefault(match[1], set()).add(match[2])
    assert {name: found for name, found in floors.items() if len(found) > 1} == {}
