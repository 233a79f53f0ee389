from __future__ import annotations

from ssl import CERT_NONE, CERT_REQUIRED
from types import SimpleNamespace
from typing import Any

import pytest

from pb_broker.testing import MemoryTransport
from pb_cred._tls import Security, security_of


def asyncios(tls: Any) -> Any:
    """Return a transport as asyncio's shell makes them."""
    return SimpleNamespace(get_extra_info=lambda name: tls)


def test_most_connections_know_nothing() -> None:
    assert security_of(MemoryTransport()) == Security()
    assert security_of(SimpleNamespace(getHandle=object)) == Security()
    assert security_of(asyncios(None)) == Security()


@pytest.mark.parametrize(
    ("mode", "compares_names", "is_verified"),
    [
        (CERT_REQUIRED, True, True),
        (CERT_REQUIRED, False, False),
        (CERT_NONE, False, False),
    ],
)
def test_what_asyncio_knows(mode: Any, compares_names: bool, is_verified: bool) -> None:
    context = SimpleNamespace(verify_mode=mode, check_hostname=compares_names)
    tls = SimpleNamespace(
        context=context, getpeercert=lambda binary_form: b"certificate"
    )
    assert security_of(asyncios(tls)) == Security(
        is_tls=True, is_verified=is_verified, certificate=b"certificate"
    )


def test_nothing_of_it_is_shown() -> None:
    security = Security(certificate=b"certificate", channel_binding=b"binding")
    assert repr(security) == "Security(is_tls=False, is_verified=False)"
