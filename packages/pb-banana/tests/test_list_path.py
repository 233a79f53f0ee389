from __future__ import annotations

from pb_banana._list_path import path_of


def test_path_in_python_syntax() -> None:
    assert path_of([]) == ""
    assert path_of([3, 0]) == "[3][0]"


def test_path_of_sixteen_indices_is_whole() -> None:
    assert path_of(range(16)) == "".join(f"[{index}]" for index in range(16))


def test_longer_path_is_shortened_in_the_middle() -> None:
    path = path_of(range(1000))
    assert path.startswith("[0][1]")
    assert path.endswith("[998][999]")
    assert "...984 more..." in path
    assert len(path) < 100
