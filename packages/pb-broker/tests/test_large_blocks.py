"""Memory for large strings, from the first of them on."""

from __future__ import annotations

from typing import Any

import pytest

import pb_broker._connection.large_blocks

from .support import Echo, connected, result_of, root_of


@pytest.mark.dialect("pb")
def test_first_large_string_raises_the_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[Any] = []
    monkeypatch.setattr(pb_broker._connection.large_blocks, "_done", done)
    with connected(Echo()) as pair:
        for size, times in ((1000, 0), (200_000, 1), (200_000, 1)):
            call = root_of(pair).callRemote("echo", bytes(size))
            assert result_of(call, pair) == (bytes(size),)
            assert len(done) == times


@pytest.mark.dialect("pb")
def test_first_large_string_in_pieces_raises_the_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with connected(Echo()) as pair:
        call = root_of(pair).callRemote("echo", bytes(10_000))
        done: list[Any] = []
        monkeypatch.setattr(pb_broker._connection.large_blocks, "_done", done)
        pair.pump(chunk=1000)
        assert len(done) == 1
        assert result_of(call, pair) == (bytes(10_000),)
