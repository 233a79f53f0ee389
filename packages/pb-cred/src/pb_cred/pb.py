"""This module is the whole of Perspective Broker under one name.

``from pb_cred import pb`` takes the place of ``from twisted.spread import pb``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pb_jelly._first_use import on_first_use

if TYPE_CHECKING:
    from pb_broker import (
        MAX_BROKER_REFS,
        Answer,
        AsReferenceable,
        Borrowed,
        Broker,
        BrokerLimits,
        Cacheable,
        CallObserver,
        CallTimeout,
        ClosingDown,
        ConnectionOptions,
        CopiedFailure,
        Copyable,
        CopyableFailure,
        DeadReferenceError,
        Error,
        Group,
        GroupAnswers,
        Heartbeat,
        IJellyable,
        InsecureJelly,
        InvalidArgument,
        IPBRoot,
        IUnjellyable,
        Jellied,
        Jellyable,
        Local,
        MaybeExecuted,
        NoSuchMethod,
        NotExecuted,
        NotSent,
        ObservedCall,
        Passed,
        PBConnectionLost,
        PBServerService,
        PeerTimeout,
        Ping,
        ProtocolError,
        Referenceable,
        RemoteCache,
        RemoteCacheMethod,
        RemoteCacheObserver,
        RemoteCopy,
        RemoteError,
        RemoteMethod,
        RemotePromise,
        RemoteReference,
        RemoteStream,
        Root,
        SecurityOptions,
        Serializable,
        Server,
        ServiceReference,
        SlowMember,
        StreamBusy,
        TimedReference,
        Unjellyable,
        Viewable,
        ViewPoint,
        WrongThread,
        as_deferred,
        as_stream,
        borrowed,
        call_observers,
        connect,
        copyable,
        copyTags,
        deadline,
        expected,
        exposes,
        failure2Copyable,
        getObjectAt,
        globalSecurity,
        jelly,
        passed,
        ping,
        portno,
        reference_of,
        register_exception,
        remote,
        setCopierForClass,
        setCopierForClassTree,
        setFactoryForClass,
        setUnjellyableFactoryForClass,
        setUnjellyableForClass,
        setUnjellyableForClassTree,
        then,
        unjelly,
    )
    from pb_broker.local import LocalAsRemote, LocalAsyncForwarder, LocalMethod
    from pb_broker.paging import (
        CallbackPageCollector,
        FilePager,
        Pager,
        StringPager,
        getAllPages,
    )
    from pb_broker.publishing import Publishable, RemotePublished, whenReady

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
    "MAX_BROKER_REFS",
    "Answer",
    "AsReferenceable",
    "AuditEvent",
    "Avatar",
    "Borrowed",
    "Broker",
    "BrokerLimits",
    "Cacheable",
    "CallObserver",
    "CallTimeout",
    "CallbackPageCollector",
    "ClientOptions",
    "ClosingDown",
    "ConnectionOptions",
    "CopiedFailure",
    "Copyable",
    "CopyableFailure",
    "CredError",
    "DeadReferenceError",
    "Error",
    "ExplainedRefusal",
    "FilePager",
    "Group",
    "GroupAnswers",
    "Heartbeat",
    "IJellyable",
    "IPBRoot",
    "IPerspective",
    "IScramVerifiers",
    "IUnjellyable",
    "IUsernameMD5Password",
    "InsecureJelly",
    "InvalidArgument",
    "Jellied",
    "Jellyable",
    "Local",
    "LocalAsRemote",
    "LocalAsyncForwarder",
    "LocalMethod",
    "LoginDelays",
    "LoginOptions",
    "LoginRefused",
    "LoginRequired",
    "MaybeExecuted",
    "MechanismError",
    "NoLogin",
    "NoMechanism",
    "NoSuchMethod",
    "NotExecuted",
    "NotLoggedIn",
    "NotSent",
    "ObservedCall",
    "PBClientFactory",
    "PBClientService",
    "PBConnectionLost",
    "PBServerFactory",
    "PBServerService",
    "Pager",
    "Passed",
    "PeerTimeout",
    "Perspective",
    "Ping",
    "ProtocolError",
    "Publishable",
    "Realm",
    "Referenceable",
    "RemoteCache",
    "RemoteCacheMethod",
    "RemoteCacheObserver",
    "RemoteCopy",
    "RemoteError",
    "RemoteMethod",
    "RemotePromise",
    "RemotePublished",
    "RemoteReference",
    "RemoteStream",
    "Root",
    "SecurityOptions",
    "Serializable",
    "Server",
    "ServerOptions",
    "ServiceReference",
    "Session",
    "SessionEnded",
    "SessionPolicy",
    "Sessions",
    "SlowMember",
    "StreamBusy",
    "StringPager",
    "TimedReference",
    "Unjellyable",
    "UnusableCredentials",
    "ViewPoint",
    "Viewable",
    "WrongThread",
    "as_deferred",
    "as_stream",
    "borrowed",
    "call_observers",
    "challenge",
    "client",
    "connect",
    "copyTags",
    "copyable",
    "deadline",
    "expected",
    "exposes",
    "failure2Copyable",
    "getAllPages",
    "getObjectAt",
    "globalSecurity",
    "jelly",
    "passed",
    "ping",
    "portno",
    "reconnecting",
    "reference_of",
    "register_exception",
    "remote",
    "respond",
    "serve",
    "session_of",
    "setCopierForClass",
    "setCopierForClassTree",
    "setFactoryForClass",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "then",
    "unjelly",
    "whenReady",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = on_first_use(
        __name__,
        {
            "pb_broker": (
                "Answer AsReferenceable Borrowed Broker BrokerLimits Cacheable "
                "CallObserver CallTimeout ClosingDown ConnectionOptions "
                "CopiedFailure Copyable CopyableFailure DeadReferenceError Error "
                "Group GroupAnswers Heartbeat IJellyable IPBRoot IUnjellyable "
                "InsecureJelly InvalidArgument Jellied Jellyable Local "
                "MAX_BROKER_REFS MaybeExecuted NoSuchMethod NotExecuted NotSent "
                "ObservedCall PBConnectionLost PBServerService Passed PeerTimeout "
                "Ping ProtocolError Referenceable RemoteCache RemoteCacheMethod "
                "RemoteCacheObserver RemoteCopy RemoteError RemoteMethod "
                "RemotePromise RemoteReference RemoteStream Root SecurityOptions "
                "Serializable Server ServiceReference SlowMember StreamBusy "
                "TimedReference Unjellyable ViewPoint Viewable WrongThread "
                "as_deferred as_stream borrowed call_observers connect copyTags "
                "copyable deadline expected exposes failure2Copyable getObjectAt "
                "globalSecurity jelly passed ping portno reference_of "
                "register_exception remote setCopierForClass setCopierForClassTree "
                "setFactoryForClass setUnjellyableFactoryForClass "
                "setUnjellyableForClass setUnjellyableForClassTree then unjelly"
            ),
            "pb_broker.local": "LocalAsRemote LocalAsyncForwarder LocalMethod",
            "pb_broker.paging": (
                "CallbackPageCollector FilePager Pager StringPager getAllPages"
            ),
            "pb_broker.publishing": "Publishable RemotePublished whenReady",
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
                "CredError ExplainedRefusal LoginRefused LoginRequired "
                "MechanismError NoLogin NoMechanism NotLoggedIn SessionEnded "
                "UnusableCredentials"
            ),
            ".interfaces": "IPerspective IScramVerifiers IUsernameMD5Password",
        },
    )
