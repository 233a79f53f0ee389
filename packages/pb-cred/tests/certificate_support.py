"""This module makes certificates for the tests, valid and invalid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(timezone.utc).replace(microsecond=0)
DAY = timedelta(days=1)

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def end(self) -> datetime:
        return self.certificate.not_valid_after_utc


def common_names(*names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in names])


def usage(*allowed: str) -> x509.KeyUsage:
    """Return the extension for the usage of a key."""
    every = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{each: each in allowed for each in every})


def issue(
    issuer: Issued | None,
    *names: str,
    subject: x509.Name | None = None,
    is_ca: bool | None = None,
    path_length: int | None = None,
    purposes: Iterable[x509.ObjectIdentifier] = (),
    alternatives: Iterable[x509.GeneralName] = (),
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    has_key_ids: bool = True,
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    key: Any = None,
) -> Issued:
    """Make a certificate.

    Args:
        issuer: The signing authority; None for a self-signed certificate.
        *names: The common names.
        subject: The whole subject, in place of the common names.
        is_ca: Value of the basic constraints; None for a certificate without them.
        path_length: Greatest number of authorities below it.
        purposes: Purposes of the extended key usage.
        alternatives: The alternative names.
        extensions: Further extensions, each with True if it is critical.
        has_key_ids: True for key identifiers of subject and issuer.
        start: When it begins.
        end: When it ends.
        key: Private key; None for a new one.
    """
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    public = key.public_key()
    subject = common_names(*names) if subject is None else subject
    signer = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    wanted = list(extensions)
    if is_ca is not None:
        wanted.append((x509.BasicConstraints(is_ca, path_length), True))
    if purposes:
        wanted.append((x509.ExtendedKeyUsage(purposes), False))
    if alternatives:
        wanted.append((x509.SubjectAlternativeName(alternatives), False))
    if has_key_ids:
        above = signer.public_key()
        wanted += [
            (x509.SubjectKeyIdentifier.from_public_key(public), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(above), False),
        ]
    for extension, is_critical in wanted:
        builder = builder.add_extension(extension, is_critical)
    is_plain = isinstance(signer, ed25519.Ed25519PrivateKey)
    return Issued(builder.sign(signer, None if is_plain else hashes.SHA256()), key)


def authority(
    name: str = "users' CA", issuer: Issued | None = None, **kw: Any
) -> Issued:
    """Make the certificate of an authority."""
    return issue(issuer, name, is_ca=True, **kw)


def altered(issuer: Issued, issued: Issued, old: bytes, new: bytes) -> bytes:
    """Replace bytes of a certificate, sign it again, and return it in DER.

    Args:
        issuer: Authority with a key of RSA or Ed25519: signatures of one size.
        issued: The certificate.
        old: Bytes of the certificate.
        new: As many bytes in their place.
    """
    assert len(old) == len(new)
    size = 64
    if isinstance(issuer.key, rsa.RSAPrivateKey):
        size = issuer.key.key_size // 8
    signed = issued.certificate.tbs_certificate_bytes
    assert old in signed
    signed_anew = signed.replace(old, new)
    around = issued.der[:-size].replace(signed, signed_anew)
    if isinstance(issuer.key, rsa.RSAPrivateKey):
        # The algorithm stands there twice.
        around = around.replace(old, new)
        kind = hashes.SHA1() if new.endswith(SHA1_WITH_RSA) else hashes.SHA256()
        return around + issuer.key.sign(signed_anew, padding.PKCS1v15(), kind)
    return around + bytes(issuer.key.sign(signed_anew))


#: The algorithms' object identifiers, in DER.
SHA1_WITH_RSA = bytes.fromhex("2a864886f70d010105")
SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")
