"""This module reads the subject names of a certificate, which say whose it is.

It imports what the extra ``tls`` brings, so it is imported when that is wanted.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from pb_cred._user_names import MAX_NAME

from .chain_verification import UNREADABLE, Unfit, extension

__all__ = ["KINDS", "name_in"]

_ALTERNATIVES: Final = {
    "dns": x509.DNSName,
    "email": x509.RFC822Name,
    "uri": x509.UniformResourceIdentifier,
}
#: The kinds of names.
KINDS: Final = ("common_name", *_ALTERNATIVES)


def name_in(certificate: x509.Certificate, kind: str) -> bytes:
    """Return the one name of a kind that is in a certificate, in UTF-8.

    Args:
        certificate: It.
        kind: One of :data:`KINDS`.

    Raises:
        Unfit: It has none or several, or it is one that nobody should have.
    """
    try:
        names = _names_in(certificate, kind)
    except UNREADABLE as error:
        raise Unfit("its names cannot be read") from error
    if len(names) != 1:
        raise Unfit("it does not have one name of the kind that is asked for")
    name = names[0]
    # Names that differ in invisible characters look alike to people; a line end or a
    # NUL would cut the name in a log or in a C string.
    if not isinstance(name, str) or not name.isprintable() or name != name.strip():
        raise Unfit("its name is not one")
    if kind == "dns" and "*" in name:
        raise Unfit("its name is that of several")
    encoded = name.encode()
    if not 0 < len(encoded) <= MAX_NAME:
        raise Unfit("its name is empty or too long")
    return encoded


def _names_in(certificate: x509.Certificate, kind: str) -> list[Any]:
    if kind == "common_name":
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [each.value for each in found]
    alternatives = extension(certificate, x509.SubjectAlternativeName)
    if alternatives is None:
        return []
    return [each.value for each in alternatives if type(each) is _ALTERNATIVES[kind]]
