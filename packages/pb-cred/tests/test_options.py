"""Options of clients that log in, and of servers that they log in to."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

import pytest

import pb_broker
from pb_cred import LoginDelays, SessionPolicy, pb
from pb_cred._client.options import ClientKeywords
from pb_cred._server.options import ServerKeywords
from pb_cred.tickets import Tickets

from .support import OneRealm, portal_of

LIMITS = pb.BrokerLimits(calls_in_flight=3)


def server(**arguments: Any) -> Any:
    return pb.PBServerFactory(portal_of(OneRealm()), **arguments)


def told(factory: Any) -> dict[str, Any]:
    """Return the settings of a server's factory for logins."""
    login = factory.root.login_service
    return {
        "mechanisms": login.mechanism_names(),
        "allow_legacy_md5": login.allow_legacy_md5,
        "login_limits": factory.root.login_limits,
        "login_tries": login.login_tries,
        "login_delays": login.tries.delays,
        "session_policy": factory.sessions.policy,
        "tickets": login.tickets,
        "audit": factory.sessions.audit._observer,
    }


def values() -> dict[str, Any]:
    """Return a value of each option of logins that is not its default."""
    return {
        "mechanisms": ("ANONYMOUS",),
        "allow_legacy_md5": True,
        "login_limits": LIMITS,
        "login_tries": 2,
        "login_delays": LoginDelays(free=7),
        "session_policy": SessionPolicy(idle_timeout=900),
        "tickets": Tickets(),
        "audit": print,
    }


def test_login_options_equal_keyword_arguments() -> None:
    by_name = values()
    login = pb.LoginOptions(**by_name)
    assert set(by_name) == {each.name for each in fields(login)}
    for factory in (
        server(**by_name),
        server(login=login),
        server(options=pb.ServerOptions(login=login)),
        server(options=pb_broker.ServerOptions(), login=login),
    ):
        found = told(factory)
        assert "ANONYMOUS" in found.pop("mechanisms")
        assert found == {k: v for k, v in by_name.items() if k != "mechanisms"}


def test_keyword_arguments_override_single_login_options() -> None:
    options = pb.ServerOptions(
        call_timeout=3, login=pb.LoginOptions(login_tries=4, allow_legacy_md5=True)
    )
    factory = server(options=options, login_tries=5, call_timeout=6)
    assert told(factory)["login_tries"] == 5
    assert told(factory)["allow_legacy_md5"] is True
    assert factory.call_timeout == 6
    assert options.login.login_tries == 4


def test_mechanisms_of_options_serve_several_factories() -> None:
    options = pb.ClientOptions(mechanisms=iter(["SCRAM-SHA-256", "PLAIN"]))
    for _ in range(2):
        made = pb.PBClientFactory(options=options).mechanisms
        assert made is not None
        assert [each.name for each in made] == ["SCRAM-SHA-256", "PLAIN"]


def test_refusal_of_one_name_as_a_list_of_mechanisms() -> None:
    for make, options in (
        (pb.PBClientFactory, pb.ClientOptions(mechanisms="PLAIN")),
        (server, pb.ServerOptions(login=pb.LoginOptions(mechanisms="PLAIN"))),
    ):
        use: Any = make
        with pytest.raises(TypeError, match="not one name"):
            use(options=options)


def test_connection_options_are_accepted_by_a_client_that_logs_in() -> None:
    factory = pb.PBClientFactory(
        options=pb_broker.ClientOptions(call_timeout=3), allow_legacy_md5=True
    )
    assert factory.call_timeout == 3
    assert factory.allow_legacy_md5


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'login_trys'"):
        server(login_trys=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'mechanism'"):
        pb.PBClientFactory(mechanism=["PLAIN"])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="login is a LoginOptions"):
        server(login={"login_tries": 3})


def test_refusal_of_login_options_without_a_portal() -> None:
    for login in (
        pb.LoginOptions(mechanisms=["PLAIN"]),
        pb.LoginOptions(session_policy=SessionPolicy()),
    ):
        with pytest.raises(TypeError, match="without a portal"):
            pb.PBServerFactory(pb.Root(), login=login)


def test_each_option_is_a_typed_keyword_argument() -> None:
    hints = {**get_type_hints(pb.ServerOptions), **get_type_hints(pb.LoginOptions)}
    assert get_type_hints(ServerKeywords) == hints
    assert get_type_hints(ClientKeywords) == get_type_hints(pb.ClientOptions)
