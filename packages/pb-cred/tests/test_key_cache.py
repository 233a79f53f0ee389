"""The cache of token keys: rotation, fetching and expiry."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed

from pb_cred import tokens
from pb_cred._jwt import key_cache
from pb_cred._threads import maybe_await
from pb_cred.errors import TokenKeyError
from pb_cred.mechanisms import LoginContext

from .support import logged, text_of
from .token_support import (
    EC,
    NOW,
    ONE,
    OTHER_EC,
    RSA,
    TWO,
    Clock,
    Source,
    answer_of,
    in_a_coroutine,
    message_of,
    pem_of,
    sent,
    shown_to,
    token_of,
    tokens_of,
)


@pytest.fixture(autouse=True, scope="module")
def _today() -> Iterator[None]:
    with mock.patch.object(tokens, "_now", return_value=NOW):
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1000.0)
    monkeypatch.setattr(key_cache, "_seconds", clock)
    return clock


def test_keys_are_rotated() -> None:
    old, new = token_of(), token_of(key=OTHER_EC, kid="2")
    mechanism = tokens_of()
    assert [shown_to(mechanism, each) for each in (old, new)] == [b"alice", None]
    mechanism.replace_keys({"1": pem_of(EC), "2": pem_of(OTHER_EC)})
    assert [shown_to(mechanism, each) for each in (old, new)] == [b"alice", b"alice"]
    mechanism.replace_keys({"2": pem_of(OTHER_EC)})
    assert [shown_to(mechanism, each) for each in (old, new)] == [None, b"alice"]
    # Another key of the same id.
    mechanism.replace_keys({"2": pem_of(EC)})
    assert [shown_to(mechanism, each) for each in (old, new)] == [None, None]


def test_unusable_keys_replace_none() -> None:
    mechanism = tokens_of()
    unusable: list[Any] = [{}, {"1": pem_of(EC), "2": pem_of(RSA)}, {"keys": []}, 5]
    for keys in unusable:
        with pytest.raises(TokenKeyError):
            mechanism.replace_keys(keys)
        assert shown_to(mechanism, token_of()) == b"alice"


def test_unknown_key_fetches_new_keys(clock: Clock) -> None:
    source = Source(ONE, TWO)
    mechanism = tokens_of(source)
    assert source.asked == 0
    for _ in range(3):
        assert shown_to(mechanism, token_of()) == b"alice"
    assert source.asked == 1
    new = token_of(key=OTHER_EC, kid="2")
    # It has just been asked.
    assert shown_to(mechanism, new) is None
    clock.now += 60
    assert shown_to(mechanism, new) == b"alice"
    assert source.asked == 2


@pytest.mark.parametrize("answer", [ONE, {"1": pem_of(RSA)}, OSError("no network")])
def test_fetches_are_limited_by_the_refresh_interval(answer: Any, clock: Clock) -> None:
    source = Source(answer)
    mechanism = tokens_of(source, refresh_interval=10)
    with logged() as events:
        for second in range(30):
            clock.now = 1000 + second
            for number in range(5):
                assert shown_to(mechanism, token_of(kid=f"x{number}")) is None
    assert source.asked == 3
    failed = [e for e in events if e.get("pb_event") == "token_keys_failed"]
    assert len(failed) == (0 if answer is ONE else 3)


def test_malformed_token_fetches_no_keys(clock: Clock) -> None:
    source = Source(ONE)
    mechanism = tokens_of(source)
    for token in (b"x.y.z", token_of(kid=5), token_of(jku="https://evil.example")):
        assert shown_to(mechanism, token) is None
    assert source.asked == 0


def test_token_without_a_key_id_fetches_keys_while_there_are_none(clock: Clock) -> None:
    source = Source(TWO)
    mechanism = tokens_of(source)
    for _ in range(2):
        assert shown_to(mechanism, token_of(kid=None)) is None
        clock.now += 100
    assert source.asked == 1


def test_fetched_keys_expire(clock: Clock) -> None:
    source = Source(ONE, OSError("no network"), OSError("no network"), ONE, {"2": "x"})
    mechanism = tokens_of(source, keys_max_age=600)
    assert shown_to(mechanism, token_of()) == b"alice"
    clock.now += 599
    assert shown_to(mechanism, token_of()) == b"alice"
    assert source.asked == 1
    with logged() as events:
        clock.now += 1
        assert shown_to(mechanism, token_of()) is None
        clock.now += 59
        assert shown_to(mechanism, token_of()) is None
        assert source.asked == 2
        clock.now += 1
        assert shown_to(mechanism, token_of()) is None
        clock.now += 60
        assert shown_to(mechanism, token_of()) == b"alice"
        assert source.asked == 4
    assert text_of(events).count("OSError: no network") == 2


def test_present_keys_stay_in_use_after_a_failed_fetch(
    clock: Clock,
) -> None:
    source = Source(ONE, OSError("no network"), {"1": pem_of(RSA)}, {"keys": []}, 5)
    mechanism = tokens_of(source)
    assert shown_to(mechanism, token_of()) == b"alice"
    for asked in (2, 3, 4, 5):
        clock.now += 60
        with logged() as events:
            assert shown_to(mechanism, token_of(kid="2")) is None
        assert source.asked == asked
        assert [each["pb_event"] for each in events] == ["token_keys_failed"]
        assert shown_to(mechanism, token_of()) == b"alice"


class Awaitable:
    def __await__(self) -> Any:
        return (yield from succeed(ONE).__await__())


@pytest.mark.parametrize(
    "source", [lambda: ONE, lambda: succeed(ONE), in_a_coroutine(ONE), Awaitable]
)
def test_keys_from_a_value_a_deferred_or_an_awaitable(
    source: Any, clock: Clock
) -> None:
    assert shown_to(tokens_of(source), token_of()) == b"alice"


@pytest.mark.parametrize("is_slow", [False, True])
def test_keys_from_a_coroutine_of_asyncio(is_slow: bool) -> None:
    async def source() -> Any:
        await asyncio.sleep(0)
        if is_slow:
            raise OSError("no network")
        return ONE

    async def ready() -> Any:
        mechanism = tokens_of(source)
        results = [sent(mechanism, message_of(token_of())) for _ in range(3)]
        while not all(results):
            await asyncio.sleep(0)
        return [answer_of(*each) for each in results]

    with logged() as events:
        answers = asyncio.run(ready())
    assert answers == ([None] * 3 if is_slow else [b"alice"] * 3)
    assert len(events) == is_slow


def test_keys_from_a_future() -> None:
    async def ready() -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        results = sent(tokens_of(lambda: future), message_of(token_of()))
        assert results == []
        future.set_result(ONE)
        while not results:
            await asyncio.sleep(0)
        return answer_of(*results)

    assert asyncio.run(ready()) == b"alice"


def test_coroutine_under_a_running_reactor_is_driven_by_it() -> None:
    """The reactor may run on asyncio's loop."""
    reactor = mock.Mock(running=True)

    async def ready() -> Any:
        with (
            mock.patch.dict(sys.modules, {"twisted.internet.reactor": reactor}),
            mock.patch.object(maybe_await, "isInIOThread", return_value=True),
        ):
            return shown_to(tokens_of(in_a_coroutine(ONE)), token_of())

    assert asyncio.run(ready()) == b"alice"


def test_logins_wait_for_one_fetch(clock: Clock) -> None:
    answer: Deferred[Any] = Deferred()
    source = Source(answer)
    mechanism = tokens_of(source)
    waiting = [
        sent(mechanism, message_of(token_of(key=key, kid=kid)))
        for key, kid in [(EC, "1"), (OTHER_EC, "2"), (EC, "2"), (EC, "3")]
    ]
    assert waiting == [[], [], [], []]
    assert source.asked == 1
    answer.callback(TWO)
    assert [answer_of(*each) for each in waiting] == [b"alice", b"alice", None, None]


def test_failed_fetch_refuses_all_waiting_logins(clock: Clock) -> None:
    answer: Deferred[Any] = Deferred()
    mechanism = tokens_of(lambda: answer)
    waiting = [sent(mechanism, message_of(token_of())) for _ in range(3)]
    with logged() as events:
        answer.errback(OSError("no network"))
    assert [answer_of(*each) for each in waiting] == [None, None, None]
    assert len(events) == 1


def test_fetch_outlives_the_login_that_began_it(clock: Clock) -> None:
    """Otherwise clients that hang up could keep all others from new keys."""
    was_cancelled: list[Any] = []
    answer: Deferred[Any] = Deferred(was_cancelled.append)
    mechanism = tokens_of(lambda: answer)
    exchange = mechanism.start(None, LoginContext(is_tls=True))
    first: Deferred[Any] = exchange.step(message_of(token_of()))
    second = sent(mechanism, message_of(token_of()))
    given_up: list[Any] = []
    first.addErrback(given_up.append)
    first.cancel()
    assert given_up[0].type is CancelledError
    assert was_cancelled == []
    assert len(mechanism._keys._waiting) == 1
    answer.callback(ONE)
    assert answer_of(*second) == b"alice"


def test_login_cancelled_by_another_is_left_alone(clock: Clock) -> None:
    """The cancellation happens while the waiting logins get the answer."""
    answers: list[Deferred[Any]] = [Deferred()]
    mechanism = tokens_of(lambda: answers[0])
    message = message_of(token_of())
    context = LoginContext(is_tls=True)
    first: Deferred[Any] = mechanism.start(None, context).step(message)
    second: Deferred[Any] = mechanism.start(None, context).step(message)
    results: list[Any] = []
    second.addErrback(results.append)
    first.addCallback(lambda _: second.cancel())
    with logged() as events:
        answers.pop().callback(ONE)
        # What nobody has heard of is told now.
        gc.collect()
    assert results[0].type is CancelledError
    assert events == []


def test_slow_fetch_is_given_up(clock: Clock) -> None:
    late: Deferred[Any] = Deferred(lambda deferred: deferred.callback(TWO))
    source = Source(late, ONE)
    mechanism = tokens_of(source)
    first = sent(mechanism, message_of(token_of()))
    clock.now += 59
    second = sent(mechanism, message_of(token_of()))
    assert (first, second, source.asked) == ([], [], 1)
    clock.now += 1
    with logged() as events:
        assert shown_to(mechanism, token_of()) == b"alice"
    assert [answer_of(*each) for each in (first, second)] == [None, None]
    assert "has not given any keys" in text_of(events)
    assert late.called
    # What it says when it is too late does not count.
    assert shown_to(mechanism, token_of(key=OTHER_EC, kid="2")) is None


def test_number_of_waiting_logins_is_bounded(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "_MOST_WAITING", 2)
    answer: Deferred[Any] = Deferred()
    mechanism = tokens_of(lambda: answer)
    waiting = [sent(mechanism, message_of(token_of())) for _ in range(3)]
    assert answer_of(*waiting[2]) is None
    answer.callback(ONE)
    assert [answer_of(*each) for each in waiting] == [b"alice", b"alice", None]


def test_replaced_keys_end_a_fetch(clock: Clock) -> None:
    was_cancelled: list[Any] = []
    answer: Deferred[Any] = Deferred(was_cancelled.append)
    mechanism = tokens_of(lambda: answer)
    waiting = sent(mechanism, message_of(token_of()))
    with logged() as events:
        mechanism.replace_keys(ONE)
    assert answer_of(*waiting) == b"alice"
    assert was_cancelled == [answer]
    assert events == []
    assert shown_to(mechanism, token_of(key=OTHER_EC, kid="2")) is None


def test_replaced_function_answers_waiting_logins(clock: Clock) -> None:
    mechanism = tokens_of(Deferred)
    waiting = sent(mechanism, message_of(token_of()))
    source = Source(ONE)
    mechanism.replace_keys(source)
    assert answer_of(*waiting) == b"alice"
    assert source.asked == 1
    later: Deferred[Any] = Deferred()
    mechanism.replace_keys(lambda: later)
    waiting = sent(mechanism, message_of(token_of()))
    last: Deferred[Any] = Deferred()
    mechanism.replace_keys(lambda: last)
    assert waiting == []
    last.callback(ONE)
    assert answer_of(*waiting) == b"alice"
