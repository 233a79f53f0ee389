"""Perspective Broker with login: authenticated callers, each with an avatar.

:mod:`pb_cred.pb` is the whole of Perspective Broker under one name; this package
adds to :mod:`pb_broker` what it takes to log in, over ``twisted.cred``.  A server
serves a Portal; a client says ``factory.login(credentials)`` and gets a reference
to an :class:`Avatar`, whose ``perspective_`` methods it can call::

    from pb_cred import pb

    class User(pb.Avatar):
        def perspective_greet(self):
            return f"hello, {self.avatarId.decode()}"

    portal = Portal(pb.Realm(User), [checker])
    factory = pb.PBServerFactory(portal)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pb_jelly._first_use import on_first_use

if TYPE_CHECKING:
    from ._client.client_factory import PBClientFactory
    from ._client.client_service import PBClientService
    from ._client.options import ClientOptions
    from ._context_managers import client, reconnecting, serve
    from ._mechanisms.legacy_md5 import challenge, respond
    from ._server.login_throttle import LoginDelays
    from ._server.options import LoginOptions, ServerOptions
    from ._server.server_factory import PBServerFactory
    from ._sessions.audit_log import AuditEvent
    from ._sessions.avatar import Avatar, Perspective, Realm
    from ._sessions.login_session import Session, session_of
    from ._sessions.session_list import SessionPolicy, Sessions
    from .errors import (
        CredError,
        DropInError,
        ExplainedRefusal,
        LoginRefused,
        LoginRequired,
        MechanismError,
        NoLogin,
        NoMechanism,
        NotLoggedIn,
        SessionEnded,
        UnusableCredentials,
    )
    from .interfaces import IPerspective, IScramVerifiers, IUsernameMD5Password

__all__ = [
    "AuditEvent",
    "Avatar",
    "ClientOptions",
    "CredError",
    "DropInError",
    "ExplainedRefusal",
    "IPerspective",
    "IScramVerifiers",
    "IUsernameMD5Password",
    "LoginDelays",
    "LoginOptions",
    "LoginRefused",
    "LoginRequired",
    "MechanismError",
    "NoLogin",
    "NoMechanism",
    "NotLoggedIn",
    "PBClientFactory",
    "PBClientService",
    "PBServerFactory",
    "Perspective",
    "Realm",
    "ServerOptions",
    "Session",
    "SessionEnded",
    "SessionPolicy",
    "Sessions",
    "UnusableCredentials",
    "challenge",
    "client",
    "reconnecting",
    "respond",
    "serve",
    "session_of",
]

#: Version of the package; its distribution takes it from here.
__version__ = "0.1.0"

if not TYPE_CHECKING:
    __getattr__, __dir__ = on_first_use(
        __name__,
        {
            "._client.client_factory": "PBClientFactory",
            "._client.client_service": "PBClientService",
            "._client.options": "ClientOptions",
            "._context_managers": "client reconnecting serve",
            "._mechanisms.legacy_md5": "challenge respond",
            "._server.login_throttle": "LoginDelays",
            "._server.options": "LoginOptions ServerOptions",
            "._server.server_factory": "PBServerFactory",
            "._sessions.audit_log": "AuditEvent",
            "._sessions.avatar": "Avatar Perspective Realm",
            "._sessions.login_session": "Session session_of",
            "._sessions.session_list": "SessionPolicy Sessions",
            ".errors": (
                "CredError DropInError ExplainedRefusal LoginRefused "
                "LoginRequired MechanismError NoLogin NoMechanism NotLoggedIn "
                "SessionEnded UnusableCredentials"
            ),
            ".interfaces": "IPerspective IScramVerifiers IUsernameMD5Password",
            ".mechanisms": "",
        },
    )
