from __future__ import annotations

from pb_banana._list_path import path_of


def test_paths_read_as_python_would_index() -> None:
    assert path_of([]) == ""
    assert path_of([3, 0]) == "[3][0]"


def test_sixteen_indices_are_all_shown() -> None:
    assert path_of(range(16)) == "".join(f"[{index}]" for index in range(16))


def test_longer_paths_keep_their_ends() -> None:
    path = path_of(range(1000))
    assert path.startswith("[0][1]")
    assert path.endswith("[998][999]")
    assert "...984 more..." in path
    assert len(path) < 100
