"""Page by page."""

from __future__ import annotations

import io
from typing import Any

import pytest

import pb_broker as pb
from pb_broker import paging

from .support import Echo, connected, failure_of, logged, result_of, root_of

DATA = bytes(range(256)) * 300


class Pages(Echo):
    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Any] = []
        self.pagers: list[Any] = []

    def remote_string(self, collector: Any, size: int, *more: Any) -> None:
        callback = self.done if more else None
        self.pagers.append(
            paging.StringPager(collector, DATA, size, callback, *more, key=1)
        )

    def remote_file(self, collector: Any, data: bytes) -> None:
        file = io.BytesIO(data)
        self.pagers.append(paging.FilePager(collector, file, self.done, "file"))

    def remote_refuses(self, collector: Any) -> None:
        raise pb.Error("no pages")

    def done(self, *args: Any, **kw: Any) -> None:
        self.ended.append((args, kw))


def test_strings() -> None:
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "string", 1000)
        assert b"".join(result_of(call, pair)) == DATA
        assert pair.server_transport.producer is None
        assert pair.server.pageProducers == []
        call = paging.getAllPages(root_of(pair), "string", 10**6, "with", "arguments")
        assert result_of(call, pair) == [DATA]
        assert pair.server_factory.root.ended == [(("with", "arguments"), {"key": 1})]


def test_a_page_only_when_there_is_room() -> None:
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "string", 1000)
        pair.pump()
        (pager,) = pair.server_factory.root.pagers
        assert pager.pointer == 0
        pair.pump()
        assert pager.pointer == 1000
        assert len(result_of(call, pair)) == 77


@pytest.mark.parametrize("size", [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 10**5 * 3])
def test_files(size: int) -> None:
    data = (DATA * 4)[:size]
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "file", data)
        assert b"".join(result_of(call, pair)) == data
        root = pair.server_factory.root
        assert root.ended == [(("file",), {})]
        assert root.pagers[0].chunks == []


def test_two_at_once() -> None:
    with connected(Pages()) as pair:
        one = paging.getAllPages(root_of(pair), "string", 1000)
        two = paging.getAllPages(root_of(pair), "file", DATA)
        assert b"".join(result_of(one, pair)) == DATA
        assert b"".join(result_of(two, pair)) == DATA


def test_a_call_that_fails_ends_the_waiting() -> None:
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "refuses")
        assert failure_of(call, pair).check(pb.Error)
        with logged():
            call = paging.getAllPages(root_of(pair), "nothing")
            assert failure_of(call, pair).check(pb.NoSuchMethod)
        assert pair.client.disconnects == []


def test_lost_between_two_pages() -> None:
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "string", 1000)
        pair.pump()
        pair.pump()
        pair.close()
        assert failure_of(call, pair).check(pb.PBConnectionLost)


def test_a_pager_must_have_pages() -> None:
    with connected(Pages()) as pair:
        pager = paging.Pager(root_of(pair))
        with pytest.raises(NotImplementedError):
            pager.nextPage()
        pair.client.pageProducers.clear()
        pair.client_transport.unregisterProducer()
