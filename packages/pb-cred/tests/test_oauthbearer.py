"""The client's half of OAUTHBEARER: the source of its token, and its servers."""

from __future__ import annotations

from functools import partial
from traceback import TracebackException
from typing import Any

import pytest
from twisted.cred.credentials import ICredentials
from twisted.internet.defer import Deferred, maybeDeferred, succeed

from pb_cred._jwt.secret_token import MAX_TOKEN
from pb_cred._mechanisms.mechanism_table import client_mechanisms
from pb_cred._mechanisms.oauthbearer.mechanism import BearerClientMechanism
from pb_cred.errors import MechanismError
from pb_cred.mechanisms import LoginContext
from pb_cred.tokens import BearerToken

from .token_support import in_a_coroutine, message_of, shown


def first_of(credentials: BearerToken) -> Any:
    mechanism = BearerClientMechanism()
    return mechanism.start(credentials, LoginContext(is_verified=True)).begin()


@pytest.mark.parametrize("token", ["abc.def-_~+/==", b"abc.def-_~+/=="])
def test_client_message(token: Any) -> None:
    credentials = BearerToken(token)
    assert ICredentials.providedBy(credentials)
    assert first_of(credentials) == b"n,,\x01auth=Bearer abc.def-_~+/==\x01\x01"
    exchange = BearerClientMechanism().start(credentials, LoginContext())
    exchange.finish(b"")
    with pytest.raises(MechanismError):
        exchange.finish(b"{}")
    with pytest.raises(MechanismError):
        exchange.step(b'{"status": "invalid_token"}')


NO_TOKENS: list[Any] = [
    *("", b"", "a b", "a\x01b", "a,b", "ä", "\ud800", "=", "a=b", "a\n"),
    *(None, 5, ["abc"], "x" * (MAX_TOKEN + 1)),
]


@pytest.mark.parametrize("token", NO_TOKENS)
def test_refusal_of_tokens_that_cannot_be_sent(token: Any) -> None:
    with pytest.raises(ValueError, match="a bearer token has 1 to"):
        BearerToken(token)
    with pytest.raises(ValueError, match="a bearer token has 1 to"):
        first_of(BearerToken(lambda: token))
    waiting = first_of(BearerToken(lambda: succeed(token)))
    results: list[Any] = []
    waiting.addErrback(results.append)
    assert results[0].type is ValueError


def test_token_is_fetched_for_each_login() -> None:
    given_tokens = iter(["one", b"two"])
    credentials = BearerToken(lambda: next(given_tokens))
    assert first_of(credentials) == message_of(b"one")
    assert first_of(credentials) == message_of(b"two")


def test_token_from_a_deferred_or_an_awaitable() -> None:
    waiting: Deferred[Any] = Deferred()
    results: list[Any] = []
    first_of(BearerToken(lambda: waiting)).addCallback(results.append)
    assert results == []
    waiting.callback("one")
    assert results == [message_of(b"one")]
    coroutine = first_of(BearerToken(in_a_coroutine("two")))
    Deferred.fromCoroutine(coroutine).addCallback(results.append)
    assert results[1] == message_of(b"two")


def test_token_is_sent_to_verified_servers_only() -> None:
    mechanism = BearerClientMechanism()
    token = BearerToken("abc")
    assert mechanism.is_usable(token, LoginContext(is_tls=True, is_verified=True))
    assert not mechanism.is_usable(token, LoginContext(is_tls=True))
    assert not mechanism.is_usable(token, LoginContext())
    verified = LoginContext(is_tls=True, is_verified=True, channel_binding=b"x")
    assert not mechanism.is_usable("abc", verified)
    usable = [
        each.name for each in client_mechanisms(None) if each.is_usable(token, verified)
    ]
    assert usable == ["OAUTHBEARER"]


def test_token_is_hidden_from_reprs_and_tracebacks() -> None:
    text = shown(BearerToken("opensesame"), BearerToken(lambda: "opensesame"))
    for token in ("opensesame 4711", "opensesame" * 2000):
        for give in (
            partial(str, token),
            partial(succeed, token),
            in_a_coroutine(token),
        ):
            results: list[Any] = []
            waiting = maybeDeferred(first_of, BearerToken(give))
            waiting.addErrback(results.append)
            text += shown(*results)
        with pytest.raises(ValueError, match="a bearer token") as caught:
            BearerToken(token)
        # Nothing but the frame of this test, whose own variables it is in.
        frames = TracebackException.from_exception(caught.value, capture_locals=True)
        text += "".join(str(frame.locals) for frame in list(frames.stack)[1:])
        text += str(caught.value)
    assert text.count("a bearer token has") > 6
    assert "opensesame" not in text
