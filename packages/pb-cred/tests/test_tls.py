from __future__ import annotations

from contextlib import suppress
from ssl import CERT_NONE, CERT_REQUIRED
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from OpenSSL import SSL, crypto

from pb_broker.testing import MemoryTransport
from pb_cred._channel.tls import Security, security_of

from .certificate_support import Issued, altered, authority, issue

pytestmark = pytest.mark.filterwarnings(
    # Of the newest pyOpenSSL; the oldest takes nothing else.
    "ignore:Passing pyOpenSSL:DeprecationWarning"
)

CA = authority()
BETWEEN = authority("in between", CA)
SERVER = issue(CA, alternatives=[x509.DNSName("localhost")])


def asyncios(tls: Any) -> Any:
    """Return a transport as asyncio's shell makes them."""
    return SimpleNamespace(get_extra_info=lambda name: tls)


def test_connections_without_tls_have_no_tls_state() -> None:
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
def test_tls_state_on_asyncio(
    mode: Any, compares_names: bool, is_verified: bool
) -> None:
    context = SimpleNamespace(verify_mode=mode, check_hostname=compares_names)
    tls = SimpleNamespace(
        context=context, getpeercert=lambda binary_form: b"certificate"
    )
    assert security_of(asyncios(tls)) == Security(
        is_tls=True, is_verified=is_verified, certificate=b"certificate"
    )


def test_sent_intermediates_on_asyncio() -> None:
    context = SimpleNamespace(verify_mode=CERT_NONE, check_hostname=False)
    tls = SimpleNamespace(
        context=context,
        getpeercert=lambda binary_form: b"certificate",
        get_unverified_chain=lambda: [b"certificate", b"above", b"further above"],
    )
    assert security_of(asyncios(tls)).chain == (b"above", b"further above")
    tls.getpeercert = lambda binary_form: None
    # As Python's breaks on a server whose client has shown none.
    tls.get_unverified_chain = lambda: 1 / 0
    assert security_of(asyncios(tls)) == Security(is_tls=True)


def test_repr_has_no_certificate() -> None:
    security = Security(
        certificate=b"certificate", chain=(b"above",), channel_binding=b"binding"
    )
    assert repr(security) == "Security(is_tls=False, is_verified=False)"


# Between two ends of OpenSSL, in memory.


class Ends:
    """A client and a server after a handshake, in which both have shown certificates.

    Args:
        user: The client's certificate, and the intermediates sent with it.
    """

    def __init__(self, *user: Issued, host: bytes = b"localhost") -> None:
        server = SSL.Context(SSL.TLS_METHOD)
        use(server, SERVER)
        server.set_verify(SSL.VERIFY_PEER, lambda *args: True)
        client = SSL.Context(SSL.TLS_METHOD)
        client.set_verify(SSL.VERIFY_PEER, lambda *args: True)
        if user:
            use(client, *user)
        self.server, self.client = SSL.Connection(server), SSL.Connection(client)
        self.server.set_accept_state()
        self.client.set_connect_state()
        self.client.set_tlsext_host_name(host)
        while not all([self.is_done(self.client), self.is_done(self.server)]):
            carry(self.client, self.server)
            carry(self.server, self.client)

    def is_done(self, end: Any) -> bool:
        try:
            end.do_handshake()
        except SSL.WantReadError:
            return False
        return True


def use(context: Any, leaf: Issued, *chain: Issued) -> None:
    context.use_certificate(crypto.X509.from_cryptography(leaf.certificate))
    context.use_privatekey(crypto.PKey.from_cryptography_key(leaf.key))
    for each in chain:
        context.add_extra_chain_cert(crypto.X509.from_cryptography(each.certificate))


def carry(source: Any, target: Any) -> None:
    with suppress(SSL.WantReadError):
        target.bio_write(source.bio_read(65536))


def known_to(end: Any) -> Security:
    return security_of(SimpleNamespace(getHandle=lambda: end))


def test_tls_state_of_pyopenssl() -> None:
    user = issue(BETWEEN, "alice")
    ends = Ends(user, BETWEEN, CA)
    server, client = known_to(ends.server), known_to(ends.client)
    assert (server.is_tls, server.certificate) == (True, user.der)
    assert server.chain == (BETWEEN.der, CA.der)
    assert (client.certificate, client.chain) == (SERVER.der, ())
    assert client.is_verified
    assert server.channel_binding == client.channel_binding
    assert server.channel_binding is not None


def test_peer_without_certificate_has_sent_none() -> None:
    server = known_to(Ends().server)
    assert (server.is_tls, server.certificate, server.chain) == (True, None, ())


def test_certificate_for_another_name_is_not_verified() -> None:
    assert not known_to(Ends(host=b"example.com").client).is_verified
    assert not known_to(Ends(host=b"\xff").client).is_verified


def test_unreadable_certificate_is_no_error() -> None:
    """OpenSSL accepts the certificate."""
    plain = authority("plain", key=ed25519.Ed25519PrivateKey.generate())
    key = ed25519.Ed25519PrivateKey.generate()
    host = [x509.DNSName("localhost")]
    user = issue(plain, "alice", alternatives=host, key=key)
    changed = altered(
        plain, user, b"localhost", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"
    )
    loaded = x509.load_der_x509_certificate(changed)
    server = known_to(Ends(Issued(loaded, key)).server)
    assert (server.certificate, server.is_verified) == (changed, False)
