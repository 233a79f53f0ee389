"""This module has what both ends of a login over TLS need: certificates, and users."""

from __future__ import annotations

import ssl as std_ssl
import time
from pathlib import Path
from typing import Any, Final

from twisted.cred.checkers import (
    AllowAnonymousAccess,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.portal import Portal
from twisted.internet import ssl

from pb_cred import pb, stores
from pb_cred.certificates import ClientCertificates, OwnCertificate
from pb_cred.stores import PasswordHashing
from pb_cred.tickets import Tickets
from pb_cred.tokens import BearerToken, BearerTokens

__all__ = [
    "CHEAP",
    "MECHANISMS",
    "NAME",
    "PASSWORD",
    "client_tls",
    "credentials_for",
    "make_certificates",
    "passwords",
    "server_context",
    "server_factory",
    "server_tls",
]

NAME: Final = b"alice@example.com"
PASSWORD: Final = b"sesame"

#: What a hash costs where there are very many: 1 MiB, one pass, one lane.
CHEAP: Final = PasswordHashing(1, 1024, 1)

_ISSUER: Final = "https://login.example.com"
_OURS: Final = "pb://accounts.example.com"
_ITERATIONS: Final = 4096

#: How to log in, by name: the mechanism, and what checks.
MECHANISMS: Final[dict[str, tuple[str, str]]] = {
    "MD5": ("", "passwords"),
    "ANONYMOUS": ("ANONYMOUS", "passwords"),
    "SCRAM-SHA-256": ("SCRAM-SHA-256", "passwords"),
    "SCRAM-SHA-256-PLUS": ("SCRAM-SHA-256-PLUS", "passwords"),
    "SCRAM-SHA-256, verifiers": ("SCRAM-SHA-256", "verifiers"),
    "SCRAM-SHA-256, verifiers of 600,000": ("SCRAM-SHA-256", "slow verifiers"),
    "PLAIN, Argon2id": ("PLAIN", "argon2id"),
    "PLAIN, cheap Argon2id": ("PLAIN", "cheap argon2id"),
    "EXTERNAL": ("EXTERNAL", "passwords"),
    "OAUTHBEARER": ("OAUTHBEARER", "passwords"),
    "PB-TICKET": ("PB-TICKET", "passwords"),
}


def make_certificates(folder: Path) -> None:
    """Make an authority, and certificates of a server, of a user and of an issuer."""
    import trustme
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    for file, name in [("server", "localhost"), ("user", NAME.decode())]:
        issued = authority.issue_cert(name)
        parts = [issued.private_key_pem, issued.cert_chain_pems[0]]
        (folder / f"{file}.pem").write_bytes(b"".join(part.bytes() for part in parts))
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "issuer.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (folder / "issuer.pem").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


def _certificate(folder: Path, name: str) -> Any:
    return ssl.PrivateCertificate.loadPEM((folder / f"{name}.pem").read_bytes())


def _authority(folder: Path) -> Any:
    return ssl.Certificate.loadPEM((folder / "authority.pem").read_bytes())


def server_tls(folder: Path) -> Any:
    """Return a server's TLS on Twisted, which asks for certificates."""
    own = _certificate(folder, "server")
    return ssl.CertificateOptions(
        own.privateKey.original,
        own.original,
        verify=True,
        caCerts=[_authority(folder).original],
        requireCertificate=False,
    )


def server_context(folder: Path) -> std_ssl.SSLContext:
    """Return a server's TLS on asyncio."""
    context = std_ssl.create_default_context(std_ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    return context


def client_tls(folder: Path) -> Any:
    """Return a client's TLS on Twisted, with a certificate of the user's."""
    return ssl.optionsForClientTLS(
        "localhost",
        trustRoot=_authority(folder),
        clientCertificate=_certificate(folder, "user"),
    )


class _User(pb.Avatar):
    def perspective_add(self, a: int, b: int) -> int:
        return a + b


def passwords() -> Any:
    """Return a checker that has the password itself."""
    return InMemoryUsernamePasswordDatabaseDontUse(**{NAME.decode(): PASSWORD})


def _checker(kept: str) -> Any:
    if kept == "passwords":
        return passwords()
    hashing = {
        "argon2id": PasswordHashing(),
        "cheap argon2id": CHEAP,
        "verifiers": PasswordHashing(scram_iterations=_ITERATIONS),
        "slow verifiers": PasswordHashing(),
    }[kept]
    return stores.MemoryPasswords(
        {NAME.decode(): PASSWORD.decode()},
        keep="scram" if "verifiers" in kept else "argon2id",
        hashing=hashing,
    )


def server_factory(folder: Path, way: str, **options: Any) -> pb.PBServerFactory:
    """Return a factory of a server.

    Args:
        folder: Where the certificates are.
        way: How to log in: one of ``MECHANISMS``.
        **options: What else the factory is told.
    """
    name, kept = MECHANISMS[way]
    mechanisms: list[Any] = [name] if name else []
    if name == "EXTERNAL":
        trusted = [(folder / "authority.pem").read_bytes()]
        mechanisms = [ClientCertificates(trusted, "email")]
    elif name == "OAUTHBEARER":
        keys = {"1": (folder / "issuer.pem").read_bytes()}
        mechanisms = [BearerTokens(issuer=_ISSUER, audience=_OURS, keys=keys)]
    elif name == "PB-TICKET":
        mechanisms = ["SCRAM-SHA-256"]
        options["tickets"] = Tickets()
    checkers = [_checker(kept), AllowAnonymousAccess()]
    return pb.PBServerFactory(
        Portal(pb.Realm(_User), checkers),
        mechanisms=mechanisms,
        allow_legacy_md5=way == "MD5",
        **options,
    )


def credentials_for(folder: Path, way: str) -> Any:
    """Return what a client logs in with."""
    name = MECHANISMS[way][0]
    if name == "ANONYMOUS":
        return Anonymous()
    if name == "EXTERNAL":
        return OwnCertificate()
    if name == "OAUTHBEARER":
        return BearerToken(_token(folder))
    return UsernamePassword(NAME, PASSWORD)


def _token(folder: Path) -> str:
    import jwt

    now = int(time.time())
    claims: dict[str, Any] = {"iss": _ISSUER, "aud": _OURS, "sub": "alice"}
    claims |= {"iat": now, "exp": now + 3600}
    key = (folder / "issuer.key").read_bytes()
    return jwt.encode(claims, key, "ES256", {"kid": "1"})
