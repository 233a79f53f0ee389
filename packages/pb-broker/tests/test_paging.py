"""Pages of strings, files and programs."""

from __future__ import annotations

import io
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

import pb_broker as pb
from pb_banana import LimitExceeded, Limits
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


def test_pages_of_strings() -> None:
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "string", 1000)
        assert b"".join(result_of(call, pair)) == DATA
        assert pair.server_transport.producer is None
        assert pair.server.pageProducers == []
        call = paging.getAllPages(root_of(pair), "string", 10**6, "with", "arguments")
        assert result_of(call, pair) == [DATA]
        assert pair.server_factory.root.ended == [(("with", "arguments"), {"key": 1})]


def test_page_is_sent_when_there_is_room() -> None:
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "string", 1000)
        pair.pump()
        (pager,) = pair.server_factory.root.pagers
        assert pager.pointer == 0
        pair.pump()
        assert pager.pointer == 1000
        assert len(result_of(call, pair)) == 77


@pytest.mark.parametrize("size", [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 10**5 * 3])
def test_pages_of_a_file(size: int) -> None:
    data = (DATA * 4)[:size]
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "file", data)
        assert b"".join(result_of(call, pair)) == data
        root = pair.server_factory.root
        assert root.ended == [(("file",), {})]
        assert root.pagers[0].chunks == []


def test_two_pagers_at_once() -> None:
    with connected(Pages()) as pair:
        one = paging.getAllPages(root_of(pair), "string", 1000)
        two = paging.getAllPages(root_of(pair), "file", DATA)
        assert b"".join(result_of(one, pair)) == DATA
        assert b"".join(result_of(two, pair)) == DATA


def test_failed_call_ends_the_wait_for_pages() -> None:
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "refuses")
        assert failure_of(call, pair).check(pb.Error)
        with logged():
            call = paging.getAllPages(root_of(pair), "nothing")
            assert failure_of(call, pair).check(pb.NoSuchMethod)
        assert pair.client.disconnects == []


def test_connection_lost_between_two_pages() -> None:
    with connected(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "string", 1000)
        pair.pump()
        pair.pump()
        pair.close()
        assert failure_of(call, pair).check(pb.PBConnectionLost)


def test_pager_without_next_page_is_refused() -> None:
    with connected(Pages()) as pair:
        pager = paging.Pager(root_of(pair))
        with pytest.raises(NotImplementedError):
            pager.nextPage()
        pair.client.pageProducers.clear()
        pair.client_transport.unregisterProducer()


class Broken(paging.Pager):
    """Has a page, and then none."""

    def __init__(self, collector: Any, *args: Any, error: Any = None) -> None:
        self.error = error
        super().__init__(collector, *args)

    def nextPage(self) -> Any:
        if self.error is None:
            return object()
        self.error, error = None, self.error
        if isinstance(error, bytes):
            self.error = ValueError("no page")
            return error
        raise error


class BrokenFile(io.BytesIO):
    """Can be read once."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > 1:
            raise OSError("a damaged disk")
        return b"x" * 10


class Breaks(Pages):
    def __init__(self) -> None:
        super().__init__()
        self.files: list[io.BytesIO] = []
        self.failed: list[Any] = []

    def remote_broken(self, collector: Any, *args: Any) -> None:
        first = {
            "nothing": KeyError("no page"),
            "a page": b"a page",
            "a large page": b"x" * 655_361,
        }
        error = first[args[0]] if args else None
        pager = Broken(collector, self.done, error=error)
        pager.when_ended().addErrback(self.failed.append)
        self.pagers.append(pager)

    def remote_file_of(self, collector: Any, size: int, callback: bool = True) -> None:
        self.files.append(io.BytesIO(b"x" * size))
        pager = paging.FilePager(collector, self.files[-1], self.done)
        pager.when_ended().addCallbacks(self.ended.append, self.failed.append)
        self.pagers.append(pager)

    def remote_broken_file(self, collector: Any) -> None:
        self.files.append(BrokenFile())
        self.pagers.append(paging.FilePager(collector, self.files[-1], self.done))

    def remote_unreadable_file(self, collector: Any) -> None:
        broken = BrokenFile()
        broken.reads = 1
        self.files.append(broken)
        paging.FilePager(collector, broken, self.done)

    def remote_later(self, collector: Any) -> None:
        self.kept.append(collector)

    def remote_bad_callback(self, collector: Any) -> None:
        def callback() -> None:
            raise ZeroDivisionError("a callback's own trouble")

        self.pagers.append(paging.StringPager(collector, b"abc", 2, callback))


class TestEnds:
    """Each end of a pager closes its file, and spares other pagers."""

    def test_lost_connection_fails_the_pager(self) -> None:
        root = Breaks()
        with connected(root) as pair:
            for size in (10**6, 2 * 10**6):
                paging.getAllPages(root_of(pair), "file_of", size).addErrback(
                    lambda _: None
                )
            other = paging.getAllPages(root_of(pair), "string", 1000)
            other.addErrback(lambda _: None)
            for _ in range(3):
                pair.pump()
            assert not any(file.closed for file in root.files)
            pair.close()
            assert all(file.closed for file in root.files)
            assert [each.type for each in root.failed] == [pb.PBConnectionLost] * 2
            assert root.ended == []
            assert all(not pager.stillPaging() for pager in root.pagers)
            assert pair.server.pageProducers == []

    def test_connection_lost_before_the_pager(self) -> None:
        with connected(Breaks()) as pair:
            collector = root_of(pair)
            pair.close()
            file = io.BytesIO(b"x")
            pager = paging.FilePager(collector, file)
            assert file.closed
            assert pair.client.pageProducers == []
            failed: list[Any] = []
            pager.when_ended().addErrback(failed.append)
            assert failed[0].check(pb.PBConnectionLost)

    @pytest.mark.parametrize(
        ("name", "args"),
        [
            # Without any page; after one; one that cannot be sent, at all or so large.
            ("broken", ["nothing"]),
            ("broken", ["a page"]),
            ("broken", []),
            ("broken", ["a large page"]),
            ("broken_file", []),
            ("unreadable_file", []),
        ],
    )
    def test_page_that_cannot_be_made(self, name: str, args: list[Any]) -> None:
        root = Breaks()
        with connected(root) as pair, logged():
            other = paging.getAllPages(root_of(pair), "string", 1000)
            call = paging.getAllPages(root_of(pair), name, *args)
            behind = paging.getAllPages(root_of(pair), "file", DATA)
            failure = failure_of(call, pair)
            assert failure.check(pb.RemoteError)
            assert b"".join(result_of(other, pair)) == DATA
            assert b"".join(result_of(behind, pair)) == DATA
            assert all(file.closed for file in root.files)
            assert root.ended == [(("file",), {})]
            assert pair.server.pageProducers == []
            assert pair.server_transport.producer is None
            assert not pair.closed

    def test_failing_callback_of_a_pager(self) -> None:
        root = Breaks()
        with connected(root) as pair, logged() as events:
            other = paging.getAllPages(root_of(pair), "string", 1000)
            call = paging.getAllPages(root_of(pair), "bad_callback")
            assert result_of(call, pair) == [b"ab", b"c"]
            assert b"".join(result_of(other, pair)) == DATA
            (event,) = [event for event in events if "log_failure" in event]
            assert event["log_failure"].check(ZeroDivisionError)

    def test_end_of_a_pager_fires_its_deferred(self) -> None:
        root = Breaks()
        with connected(root) as pair:
            call = paging.getAllPages(root_of(pair), "file_of", 10)
            assert result_of(call, pair) == [b"x" * 10]
            assert root.ended == [None, ((), {})]
            told: list[Any] = []
            root.pagers[0].when_ended().addCallback(told.append)
            assert told == [None]
            assert not root.files[0].closed
            # Whatever comes afterwards.
            root.pagers[0].paging_failed(Failure(ValueError()))
            assert root.pagers[0].failure is None

    def test_failure_at_a_legacy_collector(self) -> None:
        """One of ``twisted.spread`` has no such method, and wants no answer."""

        class Collector(pb.Referenceable):
            pages = 0

            def remote_gotPage(self, page: Any) -> None:
                self.pages += 1

        root = Breaks()
        with connected(root) as pair, logged():
            collector = Collector()
            root_of(pair).callRemote("broken", collector, "a page")
            pair.flush()
            assert collector.pages == 1
            assert root.failed[0].check(ValueError)
            assert not pair.closed

    def test_failing_pager_does_not_stop_pagers_of_other_calls(self) -> None:
        """A producer of its own kind has none of our methods."""

        class Foreign:
            left = 2

            def sendNextPage(self) -> None:
                self.left -= 1
                if not self.left:
                    raise ValueError("no page")

            def stillPaging(self) -> bool:
                return True

        with connected(Breaks()) as pair, logged():
            foreign = Foreign()
            pair.server.registerPageProducer(foreign)
            calls = [
                paging.getAllPages(root_of(pair), "string", 10_000) for _ in range(50)
            ]
            for call in calls:
                assert b"".join(result_of(call, pair)) == DATA
            assert foreign.left == 0
            assert pair.server.pageProducers == []


class TestLimit:
    """Limit of the memory of all pages."""

    @pytest.mark.parametrize(
        "pages",
        [[b"x" * 100] * 1000, [[[0] * 10] * 2] * 1000, [{b"": [1, 2.5]}] * 1000],
    )
    def test_limit_on_pages_together(self, pages: list[Any]) -> None:
        root = Breaks()
        with connected(root) as pair:
            call = paging.getAllPages(root_of(pair), "later", max_bytes=10_000)
            pair.flush()
            (collector,) = root.kept
            for page in pages:
                collector.callRemote("gotPage", page, pbanswer=False)
            failure = failure_of(call, pair)
            assert failure.check(LimitExceeded)
            assert "10000 for max_bytes" in str(failure.value)
            ours = [each.object for each in pair.client.localObjects.values()]
            assert [each.pages for each in ours] == [[]]
            # Who asks is told.
            failure = failure_of(collector.callRemote("gotPage", b""), pair)
            assert failure.check(pb.Error)
            failure = failure_of(collector.callRemote("endedPaging"), pair)
            assert failure.check(pb.Error)

    def test_default_limit_on_pages(self) -> None:
        for message_bytes, is_much in ((9_000, True), (10_000, False)):
            limits = pb.BrokerLimits(wire=Limits(message_bytes=message_bytes))
            client_factory = pb.PBClientFactory(limits=limits)
            with connected(Breaks(), client_factory=client_factory) as pair:
                call = paging.getAllPages(root_of(pair), "string", 1000)
                if is_much:
                    assert failure_of(call, pair).check(LimitExceeded)
                else:
                    assert b"".join(result_of(call, pair)) == DATA

    def test_no_limit_on_pages(self) -> None:
        limits = pb.BrokerLimits(wire=Limits(message_bytes=10_000))
        client_factory = pb.PBClientFactory(limits=limits)
        with connected(Breaks(), client_factory=client_factory) as pair:
            call = paging.getAllPages(
                root_of(pair), "string", 1_000, max_bytes=float("inf")
            )
            assert b"".join(result_of(call, pair)) == DATA

    def test_page_after_the_last_is_refused(self) -> None:
        root = Breaks()
        with connected(root) as pair:
            call = paging.getAllPages(root_of(pair), "later")
            pair.flush()
            (collector,) = root.kept
            collector.callRemote("gotPage", b"a page", pbanswer=False)
            collector.callRemote("endedPaging", pbanswer=False)
            assert result_of(call, pair) == [b"a page"]
            failure_of(collector.callRemote("gotPage", b"another"), pair)
            failure_of(collector.callRemote("endedPaging"), pair)
            collector.callRemote("failedPaging", "whatever", pbanswer=False)
            pair.flush()

    def test_page_after_a_cancellation_is_refused(self) -> None:
        root = Breaks()
        with connected(root) as pair:
            call = paging.getAllPages(root_of(pair), "later")
            pair.flush()
            call.cancel()
            assert failure_of(call, pair).check(CancelledError)
            failure_of(root.kept[0].callRemote("gotPage", b"a page"), pair)
            assert pair.client.disconnects == []

    def test_malformed_failure_of_a_pager(self) -> None:
        root = Breaks()
        with connected(root) as pair:
            call = paging.getAllPages(root_of(pair), "later")
            pair.flush()
            root.kept[0].callRemote("failedPaging", 5, pbanswer=False)
            assert failure_of(call, pair).check(pb.Error)

    def test_collector_of_a_programs_own_class(self) -> None:
        told: list[Any] = []
        collector = paging.CallbackPageCollector(
            told.append, errback=told.append, max_bytes=200
        )
        collector.remote_gotPage(b"x" * 100)
        with pytest.raises(pb.Error, match="max_bytes"):
            collector.remote_gotPage(b"x" * 100)
        assert told[0].check(LimitExceeded)
        collector = paging.CallbackPageCollector(told.append)
        collector.remote_gotPage("a page")
        collector.remote_endedPaging()
        assert told[1] == ["a page"]
        collector.remote_failedPaging(Failure(ValueError()))
        assert collector.pages == []


def test_keyword_arguments_of_any_name() -> None:
    told: list[Any] = []

    class Root(Echo):
        def remote_pages(this, collector: Any, **kw: Any) -> None:
            paging.StringPager(
                collector, b"abc", callback=lambda **kw: told.append(kw), **kw
            )

    names = {"self": 1, "methodName": 2, "referenceable": 3, "name": 4}
    with connected(Root()) as pair:
        call = paging.getAllPages(root_of(pair), "pages", **names)
        assert result_of(call, pair) == [b"abc"]
        assert told == [names]
