"""This module is EXTERNAL (RFC 4422, appendix A), by the certificates of TLS.

A client's certificate says who it is, and the handshake has shown that it has the key.
All that is left to say is "let me in as that".
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, Union

from twisted.internet.defer import Deferred

from pb_cred._user_names import MAX_NAME, is_text
from pb_cred.errors import CertificateError, LoginRefused
from pb_cred.mechanisms import (
    ClientExchange,
    ClientMechanism,
    LoginContext,
    ServerExchange,
    ServerMechanism,
    Verified,
)

from .single_message import OneMessage

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = [
    "NAME",
    "ClientCertificates",
    "ExternalClientMechanism",
    "Identity",
    "OwnCertificate",
    "Source",
]

NAME: Final = "EXTERNAL"

#: Certificates: the path of a file in PEM, PEM itself, or an object of cryptography.
Source: TypeAlias = Union[str, "os.PathLike[str]", bytes, "Certificate"]
#: Kind of the name in a certificate that is the user's name.
Identity: TypeAlias = Literal["common_name", "dns", "email", "uri"]


# The server's half


class _Server(ServerExchange):
    def __init__(self, certificates: ClientCertificates, context: LoginContext) -> None:
        self._certificates = certificates
        self._context = context

    def step(self, data: bytes) -> Any:
        """Take the only message.

        Raises:
            LoginRefused: The certificate is not good enough, or its user wants to act
                for another.
        """
        found, expires = self._certificates._look_at(self._context)
        if isinstance(found, Deferred):
            return found.addCallback(self._decide_late, data)
        if isawaitable(found):
            return self._wait(found, data)
        return self._decide(found, expires, data)

    async def _wait(self, found: Awaitable[Any], data: bytes) -> Verified:
        return self._decide_late(await found, data)

    def _decide_late(self, avatar_id: Any, data: bytes) -> Verified:
        # The authorities may be others by now.
        _, expires = self._certificates._verified(self._context)
        return self._decide(avatar_id, expires, data)

    def _decide(self, avatar_id: Any, expires: datetime, data: bytes) -> Verified:
        if avatar_id is None:
            raise LoginRefused("the certificate is nobody's")
        name = avatar_id.encode() if isinstance(avatar_id, str) else avatar_id
        self._context.username = name if isinstance(name, bytes) else None
        if data not in (b"", self._context.username):
            raise LoginRefused("the certificate is another user's")
        again = partial(self.step, data)
        return Verified(avatar_id, expires=expires, verify_again=again)


class ClientCertificates(ServerMechanism):
    """EXTERNAL: users are let in by the certificates that authorities have given them.

    Whatever TLS has been told to trust, a certificate has to be from one of these
    authorities, through others that it or the peer has sent or that are known here.  It
    has to be valid now, not an authority's own, and good for clients, if it says what
    it is good for.  RSA keys have at least 2048 bits, and nothing in between is signed
    with SHA-1.

    The session ends with the certificate, or with an authority's if that is sooner.

    Args:
        client_ca: The authorities' certificates: the path of a file in PEM, PEM itself
            as bytes, or ``cryptography.x509`` certificates; one, or a list.  A path is
            read now.
        identity: What in a certificate becomes the avatar id: ``"common_name"`` of its
            subject; or, of its alternative names, the ``"email"`` address, the
            ``"dns"`` name or the ``"uri"``, as it stands there, in bytes.  It is
            refused if there is not exactly one, or if that has more than 1,024 bytes,
            begins or ends with a space, has what cannot be printed or is a DNS name
            with a ``*``.  Or else a function, which takes a verified certificate of
            cryptography's and returns an avatar id, or None for nobody; or a Deferred
            or an awaitable with that.
        intermediates: Certificates between the authorities' and the users', in the same
            forms, for peers that do not send them, and for asyncio before Python 3.13,
            which does not tell what they send.  They are not trusted for themselves.

    Raises:
        CertificateError: A certificate cannot be read or is not an authority's, or the
            extra ``pb-cred[tls]`` is not installed.
        ValueError: There is no such kind of identity.
    """

    name = NAME

    def __init__(
        self,
        client_ca: Source | Iterable[Source],
        identity: Identity | Callable[[Certificate], Any] = "common_name",
        *,
        intermediates: Source | Iterable[Source] = (),
    ) -> None:
        self._identify = _identify_by(identity)
        self.trust(client_ca, intermediates=intermediates)

    def trust(
        self,
        client_ca: Source | Iterable[Source],
        *,
        intermediates: Source | Iterable[Source] = (),
    ) -> None:
        """Take these authorities from now on, in place of those before.

        Sessions that are open stay open.

        Args:
            client_ca: As above.
            intermediates: As above.

        Raises:
            CertificateError: As above; then everything stays as it was.
        """
        from pb_cred._certificates.chain_verification import Authorities

        self._authorities = Authorities(client_ca, intermediates)

    def is_served_by(self, portal: Any) -> bool:
        """Say yes: no checker is asked."""
        return True

    def is_available(self, context: LoginContext) -> bool:
        """Tell whether the peer has a certificate."""
        return context.is_tls and context.certificate is not None

    def start(self, portal: Any, context: LoginContext) -> ServerExchange:
        """Return the exchange of one login."""
        return _Server(self, context)

    def _look_at(self, context: LoginContext) -> tuple[Any, datetime]:
        """Return whose certificate a peer has, and until when."""
        from pb_cred._certificates.chain_verification import Unfit

        certificate, expires = self._verified(context)
        try:
            return self._identify(certificate), expires
        except Unfit as error:
            raise LoginRefused(f"the certificate: {error}") from error

    def _verified(self, context: LoginContext) -> tuple[Certificate, datetime]:
        """Return a peer's certificate, and until when it is good.

        Raises:
            LoginRefused: It is not.
        """
        from pb_cred._certificates.chain_verification import Unfit

        if not context.is_tls or context.certificate is None:
            raise LoginRefused("there is no certificate")
        try:
            return self._authorities.verify(context.certificate, context.chain)
        except Unfit as error:
            raise LoginRefused(f"the certificate: {error}") from error


def _identify_by(
    identity: Identity | Callable[[Certificate], Any],
) -> Callable[[Certificate], Any]:
    try:
        from pb_cred._certificates.subject_names import KINDS, name_in
    except ModuleNotFoundError as error:
        raise CertificateError(
            f"{error.name} is not installed: pip install 'pb-cred[tls]'"
        ) from error
    if callable(identity):
        return identity
    if identity not in KINDS:
        raise ValueError(f"identity is a function, or one of {', '.join(KINDS)}")
    return partial(name_in, kind=identity)


# The client's half


class OwnCertificate:
    """Credentials of a user whose certificate was sent in TLS's handshake.

    The certificate and its key are given to TLS itself: on Twisted's reactor to
    ``ssl.optionsForClientTLS`` as ``clientCertificate``, on asyncio to the context's
    ``load_cert_chain``.

    Args:
        authorization_identity: Whom to act as; nobody but oneself, as of now.
        needs_verified_server: Whether to log in only where the server's certificate was
            verified for its name.  Nobody else can use the login for himself; but a
            server can let in whoever comes, and be called in place of the one that was
            meant.  Nothing in this login tells them apart, so do without it only where
            TLS trusts no other servers than those that are meant.

    Raises:
        ValueError: Nobody can be called so.
    """

    def __init__(
        self,
        authorization_identity: bytes | str = b"",
        *,
        needs_verified_server: bool = True,
    ) -> None:
        whom = authorization_identity
        if isinstance(whom, str):
            whom = whom.encode()
        if len(whom) > MAX_NAME or not is_text(whom):
            raise ValueError("an authorization identity is text of up to 1,024 bytes")
        self.authorization_identity = whom
        self.needs_verified_server = needs_verified_server

    def __repr__(self) -> str:
        return f"<OwnCertificate {self.authorization_identity!r}>"


class ExternalClientMechanism(ClientMechanism):
    """EXTERNAL, for connections on which a certificate was sent."""

    name = NAME

    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        """Tell whether these are such, over TLS, to a server that is known."""
        if not isinstance(credentials, OwnCertificate) or not context.is_tls:
            return False
        return context.is_verified or not credentials.needs_verified_server

    def start(self, credentials: Any, context: LoginContext) -> ClientExchange:
        """Return the exchange of one login."""
        return OneMessage(credentials.authorization_identity)
