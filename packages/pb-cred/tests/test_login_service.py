from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from twisted.cred.checkers import (
    AllowAnonymousAccess,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.portal import Portal

from pb_cred._mechanisms.anonymous import AnonymousServerMechanism
from pb_cred._server import login_service
from pb_cred._server.login_service import LoginService
from pb_cred.mechanisms import LoginContext
from pb_cred.tickets import Tickets

from .support import OneRealm


def passwords() -> Any:
    return InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")


def offered(service: LoginService) -> list[str]:
    context = LoginContext()
    offer = list(service.offer(context))
    assert context.offered == tuple(offer)
    return offer


def test_usual_offer_follows_the_checkers_of_the_portal() -> None:
    portal = Portal(OneRealm(), [AllowAnonymousAccess()])
    service = LoginService(portal)
    assert offered(service) == ["ANONYMOUS"]
    portal.registerChecker(passwords())
    assert offered(service) == ["SCRAM-SHA-256", "ANONYMOUS"]
    mechanism = service.offer(LoginContext())["SCRAM-SHA-256"]
    assert service.still_offers(mechanism)
    for kind in passwords().credentialInterfaces:
        del portal.checkers[kind]
    assert offered(service) == ["ANONYMOUS"]
    assert not service.still_offers(mechanism)


def test_usual_offer_follows_another_portal() -> None:
    service = LoginService(Portal(OneRealm(), [AllowAnonymousAccess()]))
    service.portal = Portal(OneRealm(), [passwords()])
    assert offered(service) == ["SCRAM-SHA-256"]


def test_usual_offer_of_a_portal_that_decides_itself() -> None:
    class Own(Portal):
        def login(self, *args: Any) -> Any:
            raise NotImplementedError

    portal: Any = Own(OneRealm())
    service = LoginService(portal)
    assert "SCRAM-SHA-256" in offered(service)
    portal.checkers = list(AllowAnonymousAccess.credentialInterfaces)
    assert offered(service) == ["ANONYMOUS"]
    portal.checkers = None
    assert "SCRAM-SHA-256" in offered(service)


def test_offer_is_computed_again_after_a_change_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = AnonymousServerMechanism()
    monkeypatch.setattr(login_service, "_USUAL", (usual,))
    portal = Portal(OneRealm(), [AllowAnonymousAccess()])
    with mock.patch.object(
        AnonymousServerMechanism, "is_served_by", return_value=True
    ) as asked:
        service = LoginService(portal)
        assert offered(service) == offered(service) == ["ANONYMOUS"]
        assert service.still_offers(usual)
        assert asked.call_count == 1
        portal.registerChecker(passwords())
        assert offered(service) == ["ANONYMOUS"]
        assert asked.call_count == 2


def test_configured_mechanisms_and_tickets_are_offered() -> None:
    tickets = Tickets()
    portal = Portal(OneRealm(), [AllowAnonymousAccess(), passwords()])
    service = LoginService(portal, mechanisms=["ANONYMOUS"], tickets=tickets)
    assert service.still_offers(tickets)
    assert offered(service) == ["ANONYMOUS"]
    assert list(service.offer(LoginContext(is_tls=True))) == ["PB-TICKET", "ANONYMOUS"]
    anonymous = service.offer(LoginContext())["ANONYMOUS"]
    service.set_mechanisms(None)
    assert not service.still_offers(anonymous)
    assert offered(service) == ["SCRAM-SHA-256", "ANONYMOUS"]
