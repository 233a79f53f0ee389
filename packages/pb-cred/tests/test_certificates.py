"""Logins by certificates, without any TLS."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization import PrivateFormat as Format
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock

from pb_broker.testing import Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb
from pb_cred._channel import tls as channel
from pb_cred._channel.tls import Security
from pb_cred._mechanisms.external import ExternalClientMechanism
from pb_cred._mechanisms.mechanism_table import client_mechanisms
from pb_cred.certificates import CertificateError, ClientCertificates, OwnCertificate
from pb_cred.errors import LoginRefused, MechanismError, NoMechanism
from pb_cred.mechanisms import LoginContext, Verified

from .certificate_support import (
    ANY,
    CLIENT,
    DAY,
    NOW,
    SERVER,
    SHA1_WITH_RSA,
    SHA256_WITH_RSA,
    Issued,
    altered,
    authority,
    common_names,
    issue,
    usage,
)
from .support import OneRealm, call, log_in, logged, text_of, trapped

CA = authority()
BETWEEN = authority("in between", CA)
ALICE = issue(CA, "alice")
#: Whose signatures are all of one size.
PLAIN = authority("plain", key=ed25519.Ed25519PrivateKey.generate())


def shown(*certificates: Issued | bytes) -> LoginContext:
    """Return the login context of a client that sends certificates."""
    leaf, *chain = [
        each.der if isinstance(each, Issued) else each for each in certificates
    ]
    return LoginContext(is_tls=True, certificate=leaf, chain=tuple(chain))


def tried(
    certificates: ClientCertificates, context: LoginContext, data: bytes = b""
) -> Any:
    return certificates.start(None, context).step(data)


def refused(
    certificates: ClientCertificates, *shows: Issued | bytes, why: str | None = None
) -> None:
    context = shown(*shows)
    with pytest.raises(LoginRefused, match=why):
        tried(certificates, context)
    assert context.username is None


def of(*trusted: Issued, **options: Any) -> ClientCertificates:
    return ClientCertificates([each.certificate for each in trusted], **options)


# Whose certificates are taken.


def test_user_certificate_is_verified_with_its_expiry() -> None:
    context = shown(ALICE)
    assert tried(of(CA), context) == Verified(b"alice", expires=ALICE.end)
    assert ALICE.end.tzinfo is not None
    assert context.username == b"alice"


def test_certificates_of_trustme_are_accepted() -> None:
    ca = trustme.CA()
    blob = ca.issue_cert("alice@example.com").cert_chain_pems[0].bytes()
    leaf = x509.load_pem_x509_certificate(blob)
    certificates = ClientCertificates(ca.cert_pem.bytes(), "email")
    found = tried(certificates, shown(leaf.public_bytes(Encoding.DER)))
    assert found.avatar_id == b"alice@example.com"


def test_refusal_of_other_authorities_certificates() -> None:
    certificates = of(CA)
    namesake = authority()
    forged = issue(namesake, "alice")
    for shows in (
        (forged,),
        (forged, namesake),
        (forged, CA),
        (forged, namesake, CA),
        (issue(authority("another"), "alice"), CA),
    ):
        refused(certificates, *shows)
    alone = issue(None, "alice")
    refused(certificates, alone, why="self-signed")
    refused(certificates, alone, alone)
    refused(certificates, alone, CA)
    refused(certificates, issue(None, "users' CA"))


def test_sent_namesake_of_the_authority_has_no_effect() -> None:
    namesake = authority(key=ec.generate_private_key(ec.SECP256R1()))
    user = issue(CA, "alice", has_key_ids=False)
    for sent in ((), (CA,), (namesake,), (namesake, CA)):
        assert tried(of(CA), shown(user, *sent)).avatar_id == b"alice"


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [(NOW - 2 * DAY, NOW - DAY, "expired"), (NOW + DAY, NOW + 2 * DAY, "not yet")],
)
def test_each_certificate_of_a_chain_must_be_valid_now(
    start: Any, end: Any, why: str
) -> None:
    dates = {"start": start, "end": end}
    refused(of(CA), issue(CA, "alice", **dates), why=why)
    between = authority("in between", CA, **dates)
    refused(of(CA), issue(between, "alice"), between, why=why)
    other = authority("other", **dates)
    refused(of(other), issue(other, "alice"), why=why)


def test_earliest_expiry_of_the_chain_is_that_of_the_session() -> None:
    between = authority("in between", CA, end=NOW + DAY / 4)
    user = issue(between, "alice", end=NOW + DAY / 2)
    assert tried(of(CA), shown(user, between)).expires == between.end
    brief = authority("brief", end=NOW + DAY / 8)
    assert tried(of(brief), shown(issue(brief, "bob"))).expires == brief.end


def test_intermediates_are_sent_or_configured() -> None:
    lower = authority("lower", BETWEEN)
    user = issue(lower, "alice")
    certificates = of(CA)
    refused(certificates, user)
    refused(certificates, user, lower)
    for sent in ((lower, BETWEEN), (BETWEEN, lower), (ALICE, BETWEEN, CA, lower)):
        assert tried(certificates, shown(user, *sent)).avatar_id == b"alice"
    half = of(CA, intermediates=[BETWEEN.certificate])
    refused(half, user)
    assert tried(half, shown(user, lower)).avatar_id == b"alice"
    both = of(CA, intermediates=BETWEEN.pem + lower.pem)
    assert tried(both, shown(user)).avatar_id == b"alice"


def test_intermediates_are_not_trusted_by_themselves() -> None:
    stray = authority("stray")
    refused(of(CA, intermediates=stray.pem), issue(stray, "alice"))
    refused(of(CA, intermediates=stray.pem), issue(stray, "alice"), stray)


def test_intermediate_authority_can_be_trusted_alone() -> None:
    certificates = of(BETWEEN)
    assert tried(certificates, shown(issue(BETWEEN, "alice"))).avatar_id == b"alice"
    assert tried(certificates, shown(issue(BETWEEN, "bob"), CA)).avatar_id == b"bob"
    refused(certificates, ALICE)
    refused(certificates, ALICE, CA)


def test_number_of_sent_certificates_is_bounded() -> None:
    user = issue(BETWEEN, "alice")
    assert tried(of(CA), shown(user, *[ALICE] * 15, BETWEEN)).avatar_id == b"alice"
    refused(of(CA), user, *[ALICE] * 16, BETWEEN)


def test_refusal_of_a_user_certificate_as_an_authority() -> None:
    for user in (ALICE, issue(CA, "alice", is_ca=False)):
        refused(of(CA), issue(user, "bob"), user)


def test_refusal_of_an_authority_certificate_as_a_user() -> None:
    refused(of(CA), CA, why="an authority's")
    refused(of(CA), BETWEEN, why="an authority's")
    refused(of(BETWEEN), BETWEEN, CA)


def test_constraints_of_authorities_are_enforced() -> None:
    last = authority("last", CA, path_length=0)
    lower = authority("lower", last)
    assert tried(of(CA), shown(issue(last, "alice"), last)).avatar_id == b"alice"
    refused(of(CA), issue(lower, "alice"), lower, last)
    silent = issue(CA, "silent", is_ca=True, extensions=[(usage("crl_sign"), True)])
    refused(of(CA), issue(silent, "alice"), silent)
    only = x509.NameConstraints([x509.DNSName("example.com")], None)
    narrow = authority("narrow", CA, extensions=[(only, True)])
    for host, is_within in (("a.example.com", True), ("example.org", False)):
        user = issue(narrow, "a", alternatives=[x509.DNSName(host)])
        if is_within:
            found = tried(of(CA, identity="dns"), shown(user, narrow))
            assert found.avatar_id == host.encode()
        else:
            refused(of(CA, identity="dns"), user, narrow)


@pytest.mark.parametrize(
    ("purposes", "is_taken"),
    [
        ([], True),
        ([CLIENT], True),
        ([SERVER, CLIENT], True),
        ([SERVER], False),
        ([ANY], False),
    ],
)
def test_extended_key_usage_must_include_clients(purposes: Any, is_taken: bool) -> None:
    between = authority("in between", CA, purposes=purposes)
    for shows in (
        (issue(CA, "alice", purposes=purposes),),
        (issue(between, "alice"), between),
    ):
        if is_taken:
            assert tried(of(CA), shown(*shows)).avatar_id == b"alice"
        else:
            refused(of(CA), *shows, why="not for clients")


def test_key_usage_must_include_signatures() -> None:
    good = issue(CA, "alice", extensions=[(usage("digital_signature"), True)])
    assert tried(of(CA), shown(good)).avatar_id == b"alice"
    bad = issue(CA, "alice", extensions=[(usage("key_encipherment"), True)])
    refused(of(CA), bad, why="not for signatures")


def test_refusal_of_unknown_critical_extensions() -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    assert tried(of(CA), shown(issue(CA, "alice", extensions=[(odd, False)])))
    refused(of(CA), issue(CA, "alice", extensions=[(odd, True)]))


@pytest.mark.parametrize(
    ("key", "is_taken"),
    [
        (rsa.generate_private_key(65537, 2048), True),
        (rsa.generate_private_key(65537, 1024), False),
        (ec.generate_private_key(ec.SECP384R1()), True),
        (ed25519.Ed25519PrivateKey.generate(), True),
    ],
    ids=["RSA-2048", "RSA-1024", "P-384", "Ed25519"],
)
def test_weak_keys_are_refused(key: Any, is_taken: bool) -> None:
    between = authority("in between", CA, key=key)
    for shows in ((issue(CA, "alice", key=key),), (issue(between, "alice"), between)):
        if is_taken:
            assert tried(of(CA), shown(*shows)).avatar_id == b"alice"
        else:
            refused(of(CA), *shows, why="too weak")
    if not is_taken:
        with pytest.raises(CertificateError, match="too weak"):
            of(authority(key=key))


def test_weak_signatures_are_refused() -> None:
    old = authority("old", key=rsa.generate_private_key(65537, 2048))
    user = issue(old, "alice")
    hardly = altered(old, user, SHA256_WITH_RSA, SHA256_WITH_RSA)
    weakly = altered(old, user, SHA256_WITH_RSA, SHA1_WITH_RSA)
    assert tried(of(old), shown(hardly)).avatar_id == b"alice"
    refused(of(old), weakly, why="hash that is too weak")


# What is not a certificate.


@given(st.data())
def test_changed_certificate_is_refused(data: Any) -> None:
    at = data.draw(st.integers(0, len(ALICE.der) - 1))
    other = data.draw(st.integers(1, 255))
    changed = bytearray(ALICE.der)
    changed[at] ^= other
    refused(of(CA), bytes(changed))


@given(st.binary(max_size=64), st.integers(0, 64))
def test_refusal_of_data_that_is_no_certificate(data: bytes, kept: int) -> None:
    refused(of(CA), ALICE.der[:kept] + data)
    refused(of(CA), ALICE, ALICE.der[:kept] + data)


def test_certificate_with_unreadable_names_is_refused() -> None:
    """OpenSSL accepts the certificate, although its names are malformed."""
    user = issue(PLAIN, "alice", alternatives=[x509.DNSName("example.com")])
    odd = altered(PLAIN, user, b"example.com", b"\xff\xff\xff\xff\xff\xff\xff.com")
    assert tried(of(PLAIN, identity="dns"), shown(user)).avatar_id == b"example.com"
    refused(of(PLAIN, identity="dns"), odd, why="read")
    other = altered(PLAIN, user, b"\x0c\5alice", b"\x0c\5\xff\xff\xff\xff\xff")
    refused(of(PLAIN), other, why="it cannot be read")
    # Of another kind of strings, T61String.
    older = altered(PLAIN, user, b"\x0c\5alice", b"\x14\5\xe4\xe4\xe4\xe4\xe4")
    refused(of(PLAIN), older, why="names cannot be read")


# Who is who.


def other_name(value: str) -> x509.GeneralName:
    return x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\1" + value.encode())


EMAIL = x509.RFC822Name("alice@example.com")
HOST = x509.DNSName("alice.example.com")
SPIFFE = x509.UniformResourceIdentifier("spiffe://example.org/alice")


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("common_name", b"alice"),
        ("email", b"alice@example.com"),
        ("dns", b"alice.example.com"),
        ("uri", b"spiffe://example.org/alice"),
    ],
)
def test_user_name_is_the_configured_kind_of_name(
    identity: Any, expected: bytes
) -> None:
    user = issue(CA, "alice", alternatives=[EMAIL, HOST, other_name("x"), SPIFFE])
    assert tried(of(CA, identity=identity), shown(user)).avatar_id == expected
    none = issue(CA, alternatives=[other_name("x")])
    refused(of(CA, identity=identity), none, why="one name")
    refused(of(CA, identity=identity), issue(CA), why="one name")


@pytest.mark.parametrize(
    ("identity", "twice"),
    [
        ("email", [EMAIL, x509.RFC822Name("bob@example.com")]),
        ("email", [EMAIL, EMAIL]),
        ("dns", [HOST, x509.DNSName("bob.example.com")]),
        ("dns", [x509.DNSName("*.example.com")]),
        ("uri", [SPIFFE, x509.UniformResourceIdentifier("spiffe://example.org/bob")]),
    ],
)
def test_refusal_of_several_names_of_the_kind(identity: Any, twice: Any) -> None:
    user = issue(CA, "alice", alternatives=twice)
    refused(of(CA, identity=identity), user)
    assert tried(of(CA), shown(user)).avatar_id == b"alice"


def test_refusal_of_several_common_names() -> None:
    one = x509.NameAttribute(NameOID.COMMON_NAME, "alice")
    other = x509.NameAttribute(NameOID.COMMON_NAME, "root")
    for subject in (
        common_names("alice", "root"),
        common_names("alice", "alice"),
        x509.Name([x509.RelativeDistinguishedName([one, other])]),
    ):
        refused(of(CA), issue(CA, subject=subject), why="one name")


@pytest.mark.parametrize(
    "name",
    [
        "root\0.example.com",
        "\0",
        "alice\nroot",
        "alice\x1b[2J",
        "alice\u202eroot",
        "ali\u200bce",
        " alice",
        "alice ",
        " ",
    ],
)
def test_refusal_of_names_with_invisible_characters(name: str) -> None:
    refused(of(CA), issue(CA, name), why="not one")
    if name.isascii():
        user = issue(CA, alternatives=[x509.UniformResourceIdentifier(name)])
        refused(of(CA, identity="uri"), user, why="not one")


def test_length_of_user_names_is_bounded() -> None:
    for size, is_taken in ((0, False), (1024, True), (1025, False)):
        name = "a" * size
        user = issue(CA, alternatives=[x509.UniformResourceIdentifier(name)])
        if is_taken:
            found = tried(of(CA, identity="uri"), shown(user))
            assert found.avatar_id == name.encode()
        else:
            refused(of(CA, identity="uri"), user, why="empty or too long")


@given(st.text(min_size=1, max_size=16))
@example("żółw")
@example("\U0001f422")
def test_common_name_is_used_unchanged_or_refused(name: str) -> None:
    user = issue(CA, name)
    if name.isprintable() and name == name.strip():
        assert tried(of(CA), shown(user)).avatar_id == name.encode()
    else:
        refused(of(CA), user)


def test_function_that_returns_the_user() -> None:
    seen: list[x509.Certificate] = []

    def serial(certificate: x509.Certificate) -> Any:
        seen.append(certificate)
        return certificate.serial_number

    context = shown(ALICE)
    expected = Verified(ALICE.certificate.serial_number, expires=ALICE.end)
    assert tried(of(CA, identity=serial), context) == expected
    assert seen == [ALICE.certificate]
    assert context.username is None
    # It is asked about nobody that was not verified.
    refused(of(CA, identity=serial), issue(authority(), "alice"))
    refused(of(CA, identity=serial), issue(CA, "alice", purposes=[SERVER]))
    assert len(seen) == 1


@pytest.mark.parametrize("answer", [b"al", "al"])
def test_function_that_returns_the_user_later(answer: Any) -> None:
    async def later(certificate: x509.Certificate) -> Any:
        return await succeed(answer)

    for function in (lambda _: answer, lambda _: succeed(answer), later):
        context = shown(ALICE)
        found = tried(of(CA, identity=function), context, b"al")
        if not isinstance(found, (Deferred, Verified)):
            found = ensureDeferred(found)
        if isinstance(found, Deferred):
            found = found.result
        assert found == Verified(answer, expires=ALICE.end)
        assert context.username == b"al"


def test_function_that_refuses() -> None:
    refused(of(CA, identity=lambda _: None), ALICE, why="nobody's")

    def no(certificate: x509.Certificate) -> Any:
        raise LoginRefused

    refused(of(CA, identity=no), ALICE)


@pytest.mark.parametrize("data", [b"", b"alice"])
def test_authorization_identity_equal_to_the_user(data: bytes) -> None:
    assert tried(of(CA), shown(ALICE), data).avatar_id == b"alice"


@pytest.mark.parametrize(
    "data", [b"bob", b"alice\0", b"alice ", b"ALICE", b"\0", b"a" * 20000]
)
def test_refusal_of_another_authorization_identity(data: bytes) -> None:
    context = shown(ALICE)
    with pytest.raises(LoginRefused) as refusal:
        tried(of(CA), context, data)
    assert len(str(refusal.value)) < 100
    # Who it was is known.
    assert context.username == b"alice"


def test_refusal_of_an_authorization_identity_without_a_name() -> None:
    nameless = of(CA, identity=lambda _: 5)
    assert tried(nameless, shown(ALICE)).avatar_id == 5
    with pytest.raises(LoginRefused):
        tried(nameless, shown(ALICE), b"5")


# What the server knows.


@pytest.mark.parametrize(
    ("context", "is_available"),
    [
        (shown(ALICE), True),
        (LoginContext(is_tls=True), False),
        (LoginContext(), False),
        (LoginContext(certificate=ALICE.der), False),
    ],
)
def test_external_is_offered_after_a_client_certificate(
    context: LoginContext, is_available: bool
) -> None:
    certificates = of(CA)
    assert certificates.is_available(context) == is_available
    assert certificates.is_served_by(Portal(OneRealm()))
    if not is_available:
        with pytest.raises(LoginRefused):
            tried(certificates, context)


def test_several_authorities_are_trusted() -> None:
    other = authority("others' CA")
    certificates = of(CA, other)
    assert tried(certificates, shown(ALICE)).avatar_id == b"alice"
    assert tried(certificates, shown(issue(other, "bob"))).avatar_id == b"bob"
    refused(certificates, issue(authority("a third"), "eve"))


@pytest.mark.parametrize("has_key_ids", [True, False])
def test_authorities_with_one_name_and_different_keys(has_key_ids: bool) -> None:
    new, old = (authority(has_key_ids=has_key_ids) for _ in range(2))
    for each in (new, old):
        for trusted in ((new, old), (old, new)):
            user = issue(each, "alice", has_key_ids=has_key_ids)
            assert tried(of(*trusted), shown(user)).avatar_id == b"alice"


def test_authorities_can_be_replaced() -> None:
    new = authority()
    user = issue(new, "alice")
    certificates = of(CA)
    refused(certificates, user)
    certificates.trust([CA.certificate, new.certificate])
    assert tried(certificates, shown(user)).avatar_id == b"alice"
    assert tried(certificates, shown(ALICE)).avatar_id == b"alice"
    certificates.trust(new.pem)
    refused(certificates, ALICE)
    with pytest.raises(CertificateError):
        certificates.trust(b"")
    assert tried(certificates, shown(user)).avatar_id == b"alice"
    below = authority("below", new)
    certificates.trust(new.pem, intermediates=below.pem)
    assert tried(certificates, shown(issue(below, "bob"))).avatar_id == b"bob"


# What is configured.


def test_accepted_forms_of_authority_certificates(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    key = CA.key.private_bytes(Encoding.PEM, Format.PKCS8, NoEncryption())
    path.write_bytes(b"Our own.\n" + key + authority("another").pem + CA.pem)
    ways: list[Any] = [CA.pem, CA.certificate, path, str(path)]
    for way in (*ways, ways, iter(ways)):
        found = tried(ClientCertificates(way), shown(ALICE))
        assert found.avatar_id == b"alice"


def test_error_for_an_unreadable_certificate(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(CertificateError, match=r"ca\.pem cannot be read: No such file"):
        ClientCertificates(path)
    with pytest.raises(CertificateError, match="cannot be read"):
        ClientCertificates(str(tmp_path))
    path.write_text("nothing", "ascii")
    with pytest.raises(CertificateError, match=r"ca\.pem has no certificates in PEM"):
        ClientCertificates(path)
    for pem in (b"", CA.der, CA.pem[:-40], CA.pem.replace(b"M", b"!")):
        with pytest.raises(CertificateError, match="has no certificates in PEM"):
            ClientCertificates(pem)
        with pytest.raises(CertificateError, match="has no certificates in PEM"):
            ClientCertificates(CA.pem, intermediates=pem)
    with pytest.raises(CertificateError, match="give PEM as bytes"):
        ClientCertificates(CA.pem.decode())
    with pytest.raises(CertificateError, match="there are no"):
        ClientCertificates([])
    wrong: Any = [5]
    with pytest.raises(TypeError, match="not as int"):
        ClientCertificates(wrong)


def test_refusal_to_trust_a_certificate_of_no_authority() -> None:
    signs = [(usage("digital_signature"), True)]
    for wrong, why in (
        (ALICE, "CN=alice: it is not an authority's"),
        (issue(None, "alice"), "not an authority's"),
        (authority(extensions=signs), "not for signing certificates"),
        (authority(purposes=[SERVER]), "not for clients"),
    ):
        with pytest.raises(CertificateError, match=why):
            of(wrong)
        with pytest.raises(CertificateError, match=why):
            of(CA, intermediates=wrong.pem)


def test_refusal_to_trust_an_unreadable_authority() -> None:
    host = x509.DNSName("example.com")
    only = x509.NameConstraints([host], None)
    narrow = authority("narrow", PLAIN, extensions=[(only, True)])
    odd = altered(PLAIN, narrow, b"example.com", b"\xff\xff\xff\xff\xff\xff\xff.com")
    with pytest.raises(CertificateError, match="a certificate cannot be read"):
        ClientCertificates(x509.load_der_x509_certificate(odd))


def test_refusal_of_unknown_kinds_of_identity() -> None:
    wrong: Any = "serial"
    with pytest.raises(ValueError, match="common_name, dns, email, uri"):
        of(CA, identity=wrong)


@pytest.mark.parametrize("missing", ["cryptography", "OpenSSL"])
def test_error_for_a_missing_extra(missing: str) -> None:
    gone: dict[str, Any] = {missing: None}
    loaded = [
        name
        for name in sys.modules
        if name
        in (
            "pb_cred._certificates.chain_verification",
            "pb_cred._certificates.subject_names",
        )
        or name.startswith(missing + ".")
    ]
    with mock.patch.dict(sys.modules):
        for name in loaded:
            del sys.modules[name]
        sys.modules.update(gone)
        why = rf"{missing}\S* is not installed: pip install 'pb-cred\[tls\]'"
        with pytest.raises(CertificateError, match=why):
            ClientCertificates(CA.pem)


def test_libraries_are_imported_at_first_use() -> None:
    program = (
        "import sys; sys.modules.update(cryptography=None, OpenSSL=None);"
        "import pb_cred.asyncio, pb_cred.pb, pb_cred.certificates;"
        "pb_cred.PBClientFactory(); pb_cred.certificates.OwnCertificate()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_server_refuses_external_by_its_name_alone() -> None:
    with pytest.raises(ValueError, match=r"object: pb_cred\.certificates\.Client"):
        PBServerFactory(Portal(OneRealm()), mechanisms=["EXTERNAL"])


# The client.


@pytest.mark.parametrize(
    ("credentials", "context", "is_usable"),
    [
        (OwnCertificate(), LoginContext(is_tls=True, is_verified=True), True),
        (OwnCertificate(), LoginContext(is_tls=True), False),
        (OwnCertificate(), LoginContext(), False),
        (
            OwnCertificate(needs_verified_server=False),
            LoginContext(is_tls=True),
            True,
        ),
        (OwnCertificate(needs_verified_server=False), LoginContext(), False),
        (Anonymous(), LoginContext(is_tls=True, is_verified=True), False),
        (
            UsernamePassword(b"alice", b"sesame"),
            LoginContext(is_tls=True, is_verified=True),
            False,
        ),
    ],
)
def test_client_uses_external_with_verified_tls_servers_only(
    credentials: Any, context: LoginContext, is_usable: bool
) -> None:
    assert ExternalClientMechanism().is_usable(credentials, context) == is_usable


def test_own_certificate_is_usable_with_external_only() -> None:
    context = LoginContext(is_tls=True, is_verified=True, channel_binding=b"b" * 32)
    usable = [
        each.name
        for each in client_mechanisms(None)
        if each.is_usable(OwnCertificate("alice"), context)
    ]
    assert usable == ["EXTERNAL"]


@pytest.mark.parametrize("whom", [b"alice", "alice"])
def test_client_sends_its_authorization_identity_only(whom: Any) -> None:
    exchange = ExternalClientMechanism().start(OwnCertificate(whom), LoginContext())
    assert exchange.begin() == b"alice"
    exchange.finish(b"")
    with pytest.raises(MechanismError):
        exchange.finish(b"more")
    assert repr(OwnCertificate(whom)) == "<OwnCertificate b'alice'>"


@pytest.mark.parametrize("whom", [b"\xff", b"a\0b", "\ud800", b"a" * 1025])
def test_refusal_of_unprintable_names(whom: Any) -> None:
    with pytest.raises(ValueError, match=r"authorization identity|surrogates"):
        OwnCertificate(whom)


# Both ends, in memory.


def pair_of(certificates: ClientCertificates, portal: Portal) -> Pair:
    return connected_pair(
        server_factory=PBServerFactory(portal, mechanisms=[certificates, "ANONYMOUS"]),
        client_factory=PBClientFactory(),
    )


@pytest.fixture
def over_tls(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the certificates of both ends of a pair."""

    def show(*certificates: Issued) -> None:
        found = tuple(each.der for each in certificates)
        security = Security(
            is_tls=True,
            is_verified=True,
            certificate=found[0] if found else None,
            chain=found[1:],
        )
        monkeypatch.setattr(channel, "security_of", lambda transport: security)

    return show


def test_login_with_a_certificate(over_tls: Any) -> None:
    over_tls(issue(BETWEEN, "alice"), BETWEEN)
    realm = OneRealm()
    pair = pair_of(of(CA), Portal(realm, [AllowAnonymousAccess()]))
    avatar = log_in(pair, OwnCertificate())
    assert call(pair, avatar, "name") == b"alice"
    assert pb.session_of(realm.users[0]).mechanism == "EXTERNAL"


def test_session_ends_with_the_certificate(over_tls: Any) -> None:
    over_tls(ALICE)
    clock = Clock()
    factory = PBServerFactory(Portal(OneRealm()), mechanisms=[of(CA)])
    factory.clock = clock
    factory.doStart()
    pair = connected_pair(server_factory=factory, client_factory=PBClientFactory())
    avatar = log_in(pair, OwnCertificate())
    (session,) = factory.sessions
    assert (session.username, session.expires) == (b"alice", ALICE.end)
    clock.advance((ALICE.end - datetime.now(timezone.utc)).total_seconds() - 60)
    assert call(pair, avatar, "name") == b"alice"
    clock.advance(120)
    pair.flush()
    assert pair.closed
    factory.doStop()


def test_refusal_has_no_reason(over_tls: Any) -> None:
    over_tls(issue(authority(), "alice"))
    pair = pair_of(of(CA), Portal(OneRealm(), [AllowAnonymousAccess()]))
    with logged() as events:
        failure = trapped(log_in(pair, OwnCertificate()), UnauthorizedLogin)
    assert str(failure.value) == ""
    text = text_of(events)
    assert "refused" in text
    assert "alice" not in text
    # Who shows none is not offered it.
    over_tls()
    trapped(log_in(pair, OwnCertificate()), NoMechanism)
