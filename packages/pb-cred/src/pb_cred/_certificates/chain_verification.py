"""This module verifies certificates, against authorities of the program's own choice.

It imports what the extra ``tls`` brings, so it is imported when that is wanted.

Theory of operation
-------------------
What TLS has verified is not asked about: its trust may be wider than ours, or may be
given to everybody.  OpenSSL looks for a chain from the user's certificate to an
authority, and sees to signatures, dates, the rights of those in between, and
constraints on names.  What it leaves out when it is not asked in the name of TLS is
seen to here: what certificates are for, and how strong keys and signatures have to be.

Each authority is tried by itself.  Where two have the same name, as an old and a new
one do, OpenSSL would not always go on to the second.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from pb_cred.errors import CertificateError

__all__ = ["UNREADABLE", "Authorities", "Unfit", "extension"]

#: Largest number of intermediate certificates read of those that a peer sends along.
_MOST_SENT: Final = 16
# Smallest keys, in bits: OpenSSL's security level 2, which is 112 bits of security.
_LEAST_BITS: Final = 2048
_LEAST_CURVE_BITS: Final = 224
_LEAST_DIGEST_BYTES: Final = 28

#: Exceptions of the two libraries for a certificate that they cannot read.
UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    crypto.Error,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


class Unfit(Exception):
    """A certificate is not good enough.

    The message says why, and has nothing of the certificate.
    """


class Authorities:
    """The authorities that a login trusts.

    Args:
        trusted: Their own certificates, as a path to PEM, as PEM in bytes or as
            cryptography's objects; one, or several.
        intermediates: Certificates that may be needed in between, in the same forms.

    Raises:
        CertificateError: They cannot be read, or are not certificates of authorities.
        TypeError: They are something else.
    """

    def __init__(self, trusted: Any, intermediates: Any) -> None:
        authorities = _read(trusted)
        if not authorities:
            raise CertificateError("there are no certificates of authorities")
        between = _read(intermediates)
        for each in (*authorities, *between):
            _check_configured(each)
        self._stores = [_store_of(each) for each in authorities]
        self._intermediates = [crypto.X509.from_cryptography(each) for each in between]

    def verify(
        self, certificate: bytes, sent: tuple[bytes, ...]
    ) -> tuple[x509.Certificate, datetime]:
        """Return a user's certificate, and until when there is a chain to vouch for it.

        Args:
            certificate: The user's, in DER.
            sent: What came with it.

        Raises:
            Unfit: There is no chain from it to an authority, or not one that is good.
        """
        try:
            chain = self._chain(certificate, sent[:_MOST_SENT])
            _check_chain(chain)
            return chain[0], min(each.not_valid_after_utc for each in chain)
        except UNREADABLE as error:
            raise Unfit("it cannot be read") from error

    def _chain(
        self, certificate: bytes, sent: tuple[bytes, ...]
    ) -> list[x509.Certificate]:
        leaf = _loaded(certificate)
        untrusted = [*map(_loaded, sent), *self._intermediates]
        reason = ""
        for store in self._stores:
            looking = crypto.X509StoreContext(store, leaf, untrusted)
            try:
                found = looking.get_verified_chain()
            except crypto.X509StoreContextError as error:
                # One of OpenSSL's own texts.
                reason = str(error)
            else:
                return [each.to_cryptography() for each in found]
        raise Unfit(reason)


def extension(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    """Return an extension of a certificate, or None if it has none of the kind."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


# Configuration


def _read(given: Any) -> list[x509.Certificate]:
    if isinstance(given, (str, bytes, os.PathLike, x509.Certificate)):
        return _read_one(given)
    return [found for each in given for found in _read_one(each)]


def _read_one(given: Any) -> list[x509.Certificate]:
    if isinstance(given, x509.Certificate):
        return [given]
    if isinstance(given, bytes):
        return _of_pem(given, "what is given")
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(
            "a certificate is given as a path to PEM, as PEM in bytes or as an object "
            f"of cryptography's, not as {type(given).__qualname__}"
        )
    if "-----BEGIN" in os.fspath(given):
        raise CertificateError("a text is a path; give PEM as bytes")
    try:
        pem = Path(given).read_bytes()
    except OSError as error:
        why = error.strerror or type(error).__qualname__
        raise CertificateError(f"{given} cannot be read: {why}") from error
    return _of_pem(pem, os.fspath(given))


def _of_pem(pem: bytes, where: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except UNREADABLE as error:
        raise CertificateError(f"{where} has no certificates in PEM") from error


def _check_configured(certificate: x509.Certificate) -> None:
    try:
        name = certificate.subject.rfc4514_string()
        try:
            _check_authority(certificate)
        except Unfit as error:
            raise CertificateError(f"the certificate of {name}: {error}") from error
    except UNREADABLE as error:
        raise CertificateError("a certificate cannot be read") from error


def _store_of(certificate: x509.Certificate) -> crypto.X509Store:
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(certificate))
    # A configured authority ends the chain, also where another has signed it.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    return store


# Verification


def _loaded(certificate: bytes) -> crypto.X509:
    return crypto.load_certificate(crypto.FILETYPE_ASN1, certificate)


def _check_chain(chain: list[x509.Certificate]) -> None:
    """See whether a chain is as good as its links are.

    Raises:
        Unfit: It is not.
    """
    leaf, *authorities = chain
    _check_user(leaf)
    for each in authorities:
        _check_authority(each)
    # The configured authority itself is trusted as it is, so it is left out.
    for each in chain[:-1]:
        digest = each.signature_hash_algorithm
        if digest is not None and digest.digest_size < _LEAST_DIGEST_BYTES:
            raise Unfit("it has a signature with a hash that is too weak")


def _check_user(certificate: x509.Certificate) -> None:
    if _is_authority(certificate):
        raise Unfit("it is an authority's, not a user's")
    _check_use(certificate, "it is not for signatures", _signs)
    _check_kind(certificate)


def _check_authority(certificate: x509.Certificate) -> None:
    if not _is_authority(certificate):
        raise Unfit("it is not an authority's")
    _check_use(certificate, "it is not for signing certificates", _signs_certificates)
    _check_kind(certificate)


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _signs(usage: x509.KeyUsage) -> bool:
    return usage.digital_signature


def _signs_certificates(usage: x509.KeyUsage) -> bool:
    return usage.key_cert_sign


def _check_use(
    certificate: x509.Certificate,
    otherwise: str,
    allows: Callable[[x509.KeyUsage], bool],
) -> None:
    usage = extension(certificate, x509.KeyUsage)
    if usage is not None and not allows(usage):
        raise Unfit(otherwise)


def _check_kind(certificate: x509.Certificate) -> None:
    """See whether a certificate is for clients, and its key strong enough."""
    purposes = extension(certificate, x509.ExtendedKeyUsage)
    # As with OpenSSL, "any purpose" is not enough.
    if purposes is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise Unfit("it is not for clients")
    key = certificate.public_key()
    is_curve = isinstance(key, EllipticCurvePublicKey)
    least = _LEAST_CURVE_BITS if is_curve else _LEAST_BITS
    # Other keys, such as Ed25519's, are of one size.
    if getattr(key, "key_size", least) < least:
        raise Unfit("its key is too weak")
