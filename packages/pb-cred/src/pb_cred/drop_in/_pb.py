"""This module stands in for ``twisted.spread.pb``.

``MAX_BROKER_REFS`` is live: a value that a program assigns holds from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from twisted.cred.credentials import IUsernameHashedPassword
from twisted.internet.defer import Deferred
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

import pb_broker
from pb_broker import (
    AsReferenceable,
    CopyableFailure,
    DeadReferenceError,
    Error,
    Local,
    PBConnectionLost,
    ProtocolError,
    RemoteError,
    RemoteMethod,
    RemoteReference,
    connect,
    failure2Copyable,
    portno,
)
from pb_broker.extending import Compatibility, for_log
from pb_cred._channel.tls import context_of
from pb_cred._client import client_factory
from pb_cred._mechanisms import anonymous, legacy_md5
from pb_cred._mechanisms.legacy_md5 import MD5Credentials, challenge, respond
from pb_cred._server import server_factory
from pb_cred._server.legacy_arguments import in_our_order
from pb_cred._server.login_root import LoginRoot, PortalRoot
from pb_cred._sessions.audit_log import Audit
from pb_cred._sessions.avatar import Avatar
from pb_cred._sessions.login_session import Who, open_session
from pb_cred._sessions.session_list import SessionPolicy, Sessions
from pb_cred.errors import LoginRefused
from pb_cred.interfaces import IPerspective, IUsernameMD5Password
from pb_cred.mechanisms import ClientMechanism

from . import _imported, _legacy
from ._banana import Banana
from ._failures import FAILURES, CopiedFailure
from ._flavors import (
    Cacheable,
    Copyable,
    IPBRoot,
    Jellyable,
    NoSuchMethod,
    Referenceable,
    RemoteCache,
    RemoteCacheObserver,
    RemoteCopy,
    Root,
    Serializable,
    Viewable,
    ViewPoint,
    copyTags,
    setCopierForClass,
    setCopierForClassTree,
    setFactoryForClass,
    setUnjellyableFactoryForClass,
    setUnjellyableForClass,
    setUnjellyableForClassTree,
)
from ._jelly import (
    IJellyable,
    IUnjellyable,
    _newInstance,
    globalSecurity,
    jelly,
    unjelly,
)

__all__ = [
    "MAX_BROKER_REFS",
    "AsReferenceable",
    "Avatar",
    "Broker",
    "Cacheable",
    "CopiedFailure",
    "Copyable",
    "CopyableFailure",
    "DeadReferenceError",
    "Error",
    "IPBRoot",
    "IPerspective",
    "IUsernameMD5Password",
    "Jellyable",
    "NoSuchMethod",
    "PBClientFactory",
    "PBConnectionLost",
    "PBServerFactory",
    "ProtocolError",
    "Referenceable",
    "RemoteCache",
    "RemoteCacheObserver",
    "RemoteCopy",
    "RemoteMethod",
    "RemoteReference",
    "Root",
    "Serializable",
    "ViewPoint",
    "Viewable",
    "challenge",
    "copyTags",
    "failure2Copyable",
    "portno",
    "respond",
    "setCopierForClass",
    "setCopierForClassTree",
    "setFactoryForClass",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
]

#: A property of the module's class, below.
MAX_BROKER_REFS: int

# Names that programs import from the original although it does not export them, and
# one that its documentation promises.
_ALSO = (
    IJellyable,
    IUnjellyable,
    Local,
    RemoteError,
    _newInstance,
    connect,
    globalSecurity,
    jelly,
    unjelly,
)


class Broker(pb_broker.Broker, Banana):
    """One end of a connection between programs that hold each other's objects."""

    profile: Compatibility = _legacy.PROFILE
    pb_types: Mapping[bytes, Any] = {**pb_broker.Broker.pb_types, **FAILURES}

    def gone(self) -> DeadReferenceError:
        """Return the error of a call over this connection, in the original's words."""
        return DeadReferenceError("Calling Stale Broker")


class PBClientFactory(client_factory.PBClientFactory):
    """Makes the client's end of a connection, and logs in."""

    protocol: Any = Broker
    #: None for the original's dialects, which programs rely on to the byte.
    dialects = None
    #: True, as in the original: programs wait for the lines that its factories log.
    noisy = True

    #: Empty, for the login by MD5 alone: programs may rely on every byte of it.
    mechanisms: tuple[ClientMechanism, ...] | None = ()
    allow_legacy_md5 = True

    # Factories that log in again after each reconnection call these.
    _cbSendUsername = staticmethod(legacy_md5.log_in)
    _cbResponse = staticmethod(legacy_md5.answer)
    _cbLoginAnonymous = staticmethod(anonymous.log_in)


def getObjectAt(host: str, port: int, timeout: float | None = 30) -> Deferred[Any]:
    """Connect to a server and return its root object.

    See :func:`pb_broker.getObjectAt`.
    """
    return pb_broker.getObjectAt(host, port, timeout, factory=PBClientFactory())


#: Sessions of the logins that subclasses have carried out themselves.
_sessions = Sessions(SessionPolicy(), Audit())


class _JellyableAvatarMixin:
    broker: Any

    def _cbLogin(self, result: Any) -> Any:
        """Hand out the avatar of a login that a subclass has carried out."""
        who = Who("", context_of(self.broker))
        return open_session(_sessions, self.broker, who, result)


@implementer(IUsernameHashedPassword, IUsernameMD5Password)
class _PortalAuthChallenger(MD5Credentials, Referenceable, _JellyableAvatarMixin):
    """Credentials for checkers, and the object for the response to a challenge.

    A subclass may hand it out.  It takes one response.
    """

    response: Any = b""

    def __init__(
        self, portal: Any, broker: Any, username: bytes | str, challenge: bytes
    ) -> None:
        super().__init__(username, challenge, b"")
        self.portal = portal
        self.broker = broker
        self._was_answered = False

    def remote_respond(self, response: Any, mind: Any) -> Any:
        """Log in with a response, and with an object for the avatar to talk to."""
        if self._was_answered or type(response) is not bytes:
            raise LoginRefused
        self._was_answered = True
        self.response = response
        login = self.portal.login(self, mind, IPerspective)
        return login.addCallback(self._cbLogin)


class _PortalWrapper(LoginRoot, _JellyableAvatarMixin):
    explains_refusals = True
    keeps_names = True

    def _claim(
        self, username: bytes | str, challenge: bytes, response: bytes
    ) -> MD5Credentials:
        claim = _PortalAuthChallenger(self.portal, self.broker, username, challenge)
        claim.response = response
        return claim

    def _logs_refusal(self, failure: Failure) -> bool:
        log.err(for_log(failure))
        return False


class _PortalRoot(PortalRoot):
    login_root = _PortalWrapper


class PBServerFactory(server_factory.PBServerFactory):
    """Makes the server's end of each connection: a root object, or a login."""

    protocol: Any = Broker
    #: None for the original's dialects, which programs rely on to the byte.
    dialects = None
    portal_root = _PortalRoot
    allow_legacy_md5 = True

    def __init__(
        self,
        root: Any = None,
        security: Any = None,
        portal: Any = None,
        unsafeTracebacks: Any = None,
        **keywords: Any,
    ) -> None:
        """Take arguments in the original's order as well.

        Args:
            root: As for :class:`pb_cred.PBServerFactory`, like the rest.
            security: Likewise; a bool or an int is ``unsafeTracebacks``.
            portal: Likewise; a policy is ``security``.
            unsafeTracebacks: Likewise.
            **keywords: Likewise.
        """
        places = in_our_order(security, portal, unsafeTracebacks)
        super().__init__(root, *places, **keywords)


__getattr__ = _imported.of("pb")


class _Module(ModuleType):
    @property
    def MAX_BROKER_REFS(self) -> int:
        return _legacy.reference_limit()

    @MAX_BROKER_REFS.setter
    def MAX_BROKER_REFS(self, limit: int) -> None:
        _legacy.set_reference_limit(limit)


sys.modules[__name__].__class__ = _Module
