"""Options of clients and servers: one object, or keyword arguments, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from typing import Any, get_type_hints

import pytest

import pb_broker as pb
from pb_broker._endpoints.options import ClientKeywords, ServerKeywords
from pb_jelly import SecurityOptions

from .support import Echo

POLICY = SecurityOptions()
LIMITS = pb.BrokerLimits(calls_in_flight=7)


class Silent:
    """An observer of no calls."""

    def on_call(self, call: Any) -> None:
        """Do nothing."""

    def on_answer(self, call: Any, error: Any) -> None:
        """Do nothing."""


#: A value of each option that is not its default.
VALUES: dict[str, Any] = {
    "unsafeTracebacks": True,
    "security": POLICY,
    "limits": LIMITS,
    "call_timeout": 5,
    "handshake_timeout": 6.5,
    "heartbeat": pb.Heartbeat(7, 8),
    "observer": Silent(),
    "dialects": ("pb2", "pb"),
    "login_timeout": 9,
    "login_backlog": (3, 4),
    "linger": 0.5,
}


def told(factory: Any) -> dict[str, Any]:
    """Return the settings of a factory."""
    watch = factory.watch
    found = {
        "unsafeTracebacks": factory.unsafeTracebacks,
        "security": factory.security,
        "limits": factory.limits,
        "call_timeout": factory.call_timeout,
        "handshake_timeout": watch._handshake,
        "heartbeat": watch._heartbeat,
        "observer": factory.observer,
        "dialects": factory.dialects,
    }
    if isinstance(factory, pb.PBServerFactory):
        found["login_timeout"] = watch._login
        found["login_backlog"] = factory.login_backlog
        found["linger"] = factory.linger
    return found


def server(**arguments: Any) -> pb.PBServerFactory:
    return pb.PBServerFactory(Echo(), **arguments)


ENDS = pytest.mark.parametrize(
    ("make", "kind", "keywords"),
    [
        (pb.PBClientFactory, pb.ClientOptions, ClientKeywords),
        (server, pb.ServerOptions, ServerKeywords),
    ],
    ids=["client", "server"],
)


@ENDS
def test_options_and_keyword_arguments_mean_the_same(
    make: Callable[..., Any], kind: Any, keywords: Any
) -> None:
    values = {each.name: VALUES[each.name] for each in fields(kind)}
    assert told(make(**values)) == told(make(options=kind(**values))) == values


@ENDS
def test_keyword_arguments_take_the_place_of_single_options(
    make: Callable[..., Any], kind: Any, keywords: Any
) -> None:
    options = kind(call_timeout=1, handshake_timeout=2, limits=LIMITS)
    found = told(make(options=options, call_timeout=3, limits=None))
    assert (found["call_timeout"], found["handshake_timeout"]) == (3, 2)
    assert found["limits"] is None
    assert options == kind(call_timeout=1, handshake_timeout=2, limits=LIMITS)


@ENDS
def test_unknown_options_are_refused(
    make: Callable[..., Any], kind: Any, keywords: Any
) -> None:
    for options in (None, kind()):
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'timeout'"):
            make(options=options, timeout=3)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        kind(timeout=3)


@ENDS
def test_options_of_another_kind_are_refused(
    make: Callable[..., Any], kind: Any, keywords: Any
) -> None:
    other = pb.ClientOptions if kind is pb.ServerOptions else pb.ServerOptions
    for wrong in (other(), kind, {"call_timeout": 3}, LIMITS):
        with pytest.raises(TypeError, match=f"are {kind.__name__}, not "):
            make(options=wrong)
    assert make(options=pb.ConnectionOptions(call_timeout=3)).call_timeout == 3


@ENDS
def test_options_are_checked_when_they_are_made(
    make: Callable[..., Any], kind: Any, keywords: Any
) -> None:
    with pytest.raises(TypeError, match="call_timeout is a number of seconds"):
        kind(call_timeout="3")
    with pytest.raises(ValueError, match="handshake_timeout is a number of seconds"):
        kind(handshake_timeout=-1)
    with pytest.raises(TypeError, match="limits is a BrokerLimits"):
        kind(limits=3)


def test_times_of_a_server_are_checked() -> None:
    with pytest.raises(ValueError, match="login_timeout"):
        pb.ServerOptions(login_timeout=-1)
    with pytest.raises(TypeError, match="linger"):
        pb.ServerOptions(linger="long")  # type: ignore[arg-type]


@ENDS
def test_options_are_values(make: Callable[..., Any], kind: Any, keywords: Any) -> None:
    options = kind(call_timeout=3)
    assert options == kind(call_timeout=3)
    assert not hasattr(options, "__dict__")
    with pytest.raises(FrozenInstanceError):
        options.call_timeout = 4
    with pytest.raises(TypeError, match="positional"):
        kind(True)


@ENDS
def test_type_checkers_know_each_keyword_argument(
    make: Callable[..., Any], kind: Any, keywords: Any
) -> None:
    assert get_type_hints(keywords) == get_type_hints(kind)
