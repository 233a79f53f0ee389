"""The measure of prose: passages found, left out, and the gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import prose

SOURCE = '''"""This module says who may come in."""

# Whether the peer has
# spoken: what it said is kept.
SPOKEN = False  # a comment beside code


def parse():
    """Parse a header.

    What follows the summary is not counted.
    """


class Header:
    """Somebody's header."""
'''

PAGE = """# What is sent

The owner sends a number. What is in the second sentence is not counted.
Nor is what is in the second line.

- Nobody answers: an item.
- `nothing` that is quoted.

```python
# What is code
```

| what | is in a table |
"""


def texts(passages: list[prose.Passage]) -> list[str]:
    return [passage.text for passage in passages]


def test_summaries_and_comment_lines_of_sources(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(SOURCE)
    measured = prose.measure_package(tmp_path)
    assert measured.summaries.passages == 3
    assert texts(measured.summaries.opening) == ["This module says who may come in."]
    assert texts(measured.summaries.wording) == [
        "This module says who may come in.",
        "Somebody's header.",
    ]
    assert measured.comments.passages == 3
    assert texts(measured.comments.opening) == ["Whether the peer has"]
    assert texts(measured.comments.wording) == ["spoken: what it said is kept."]


def test_headings_and_first_sentences_of_pages(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    measured = prose.measure_documents(tmp_path)
    assert texts(measured.summaries.wording) == ["What is sent", "Nobody answers:"]
    assert measured.summaries.passages == 4
    assert measured.comments.passages == 0


def test_gate_above_the_limit() -> None:
    measured = prose.Measured()
    for text in ["A header."] * 96 + ["Something."] * 4:
        measured.summaries.add(prose.Passage(Path(), 1, text))
    assert measured.highest == 4.0
    assert prose.too_high({"name": measured, "other": prose.Measured()}) == ["name"]


def test_files_not_gone_through_are_reported_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(prose, "NOT_YET", (str(tmp_path / "waiting"),))
    for folder in ("waiting", "done"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text(SOURCE)
    passages = {
        waiting: prose.measure_package(tmp_path, waiting=waiting).summaries.passages
        for waiting in (None, True, False)
    }
    assert passages == {None: 6, True: 3, False: 3}
