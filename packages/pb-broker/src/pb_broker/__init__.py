"""References to, copies of and caches of objects at the other end of a connection.

The rules, in short.  An object that derives from :class:`Referenceable` is passed
by reference: the peer gets a :class:`RemoteReference` and calls its ``remote_``
methods with ``callRemote``.  One that derives from :class:`Copyable` is copied, one
that derives from :class:`Cacheable` is copied and kept up to date, and one that
derives from :class:`Viewable` is passed by reference, and its methods get the caller's
perspective.  Numbers, text, bytes and the builtin containers are copied; all other
values are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pb_jelly._first_use import on_first_use

if TYPE_CHECKING:
    from pb_banana import Borrowed, borrowed
    from pb_jelly import (
        InsecureJelly,
        Jellyable,
        SecurityOptions,
        Unjellyable,
        copyable,
        globalSecurity,
        jelly,
        setUnjellyableFactoryForClass,
        setUnjellyableForClass,
        setUnjellyableForClassTree,
        unjelly,
    )

    from ._connection.broker import Broker
    from ._connection.deadlines import Heartbeat
    from ._dialects.message_codec import Jellied
    from ._endpoints.client_service import PBClientService, ServiceReference
    from ._endpoints.connect import connect, getObjectAt
    from ._endpoints.context_managers import client, reconnecting, serve
    from ._endpoints.factories import PBClientFactory, PBServerFactory
    from ._endpoints.group import Group, GroupAnswers
    from ._endpoints.options import ClientOptions, ConnectionOptions, ServerOptions
    from ._endpoints.ping import Ping, ping
    from ._endpoints.server_service import PBServerService
    from ._endpoints.servers import Server
    from ._errors.expected_errors import expected
    from ._event_loops.answers import Answer
    from ._event_loops.shell import as_deferred
    from ._interfaces.exposed_methods import exposes, remote
    from ._limits import BrokerLimits
    from ._objects.cacheable import (
        Cacheable,
        RemoteCache,
        RemoteCacheMethod,
        RemoteCacheObserver,
    )
    from ._objects.copyable import Copyable, RemoteCopy
    from ._objects.failures import (
        CopiedFailure,
        CopyableFailure,
        failure2Copyable,
        register_exception,
    )
    from ._objects.passing import passed
    from ._objects.referenceable import (
        AsReferenceable,
        Referenceable,
        Root,
        Serializable,
    )
    from ._objects.remote_promise import RemotePromise, then
    from ._objects.remote_reference import (
        Passed,
        RemoteMethod,
        RemoteReference,
        TimedReference,
    )
    from ._objects.streams import RemoteStream, as_stream
    from ._objects.stubs import reference_of
    from ._objects.viewable import Viewable, ViewPoint
    from ._older_names import (
        MAX_BROKER_REFS,
        copyTags,
        portno,
        setCopierForClass,
        setCopierForClassTree,
        setFactoryForClass,
    )
    from ._session.exports import Local
    from ._session.fan_out import call_observers
    from ._session.inherited_deadline import deadline
    from ._session.observers import CallObserver, ObservedCall
    from .errors import (
        CallTimeout,
        ClosingDown,
        DeadReferenceError,
        Error,
        InvalidArgument,
        MaybeExecuted,
        NoSuchMethod,
        NotExecuted,
        NotSent,
        PBConnectionLost,
        PeerTimeout,
        ProtocolError,
        RemoteError,
        SlowMember,
        StreamBusy,
        WrongThread,
    )
    from .interfaces import IJellyable, IPBRoot, IUnjellyable

__all__ = [
    "MAX_BROKER_REFS",
    "Answer",
    "AsReferenceable",
    "Borrowed",
    "Broker",
    "BrokerLimits",
    "Cacheable",
    "CallObserver",
    "CallTimeout",
    "ClientOptions",
    "ClosingDown",
    "ConnectionOptions",
    "CopiedFailure",
    "Copyable",
    "CopyableFailure",
    "DeadReferenceError",
    "Error",
    "Group",
    "GroupAnswers",
    "Heartbeat",
    "IJellyable",
    "IPBRoot",
    "IUnjellyable",
    "InsecureJelly",
    "InvalidArgument",
    "Jellied",
    "Jellyable",
    "Local",
    "MaybeExecuted",
    "NoSuchMethod",
    "NotExecuted",
    "NotSent",
    "ObservedCall",
    "PBClientFactory",
    "PBClientService",
    "PBConnectionLost",
    "PBServerFactory",
    "PBServerService",
    "Passed",
    "PeerTimeout",
    "Ping",
    "ProtocolError",
    "Referenceable",
    "RemoteCache",
    "RemoteCacheMethod",
    "RemoteCacheObserver",
    "RemoteCopy",
    "RemoteError",
    "RemoteMethod",
    "RemotePromise",
    "RemoteReference",
    "RemoteStream",
    "Root",
    "SecurityOptions",
    "Serializable",
    "Server",
    "ServerOptions",
    "ServiceReference",
    "SlowMember",
    "StreamBusy",
    "TimedReference",
    "Unjellyable",
    "ViewPoint",
    "Viewable",
    "WrongThread",
    "as_deferred",
    "as_stream",
    "borrowed",
    "call_observers",
    "client",
    "connect",
    "copyTags",
    "copyable",
    "deadline",
    "expected",
    "exposes",
    "failure2Copyable",
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
    "serve",
    "setCopierForClass",
    "setCopierForClassTree",
    "setFactoryForClass",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "then",
    "unjelly",
]

#: Version of the package; its distribution takes it from here.
__version__ = "0.1.0"

if not TYPE_CHECKING:
    __getattr__, __dir__ = on_first_use(
        __name__,
        {
            "pb_banana": "Borrowed borrowed",
            "pb_jelly": (
                "InsecureJelly Jellyable SecurityOptions Unjellyable copyable "
                "globalSecurity jelly setUnjellyableFactoryForClass "
                "setUnjellyableForClass setUnjellyableForClassTree unjelly"
            ),
            "._connection.broker": "Broker",
            "._connection.deadlines": "Heartbeat",
            "._dialects.message_codec": "Jellied",
            "._endpoints.client_service": "PBClientService ServiceReference",
            "._endpoints.connect": "connect getObjectAt",
            "._endpoints.context_managers": "client reconnecting serve",
            "._endpoints.factories": "PBClientFactory PBServerFactory",
            "._endpoints.group": "Group GroupAnswers",
            "._endpoints.options": "ClientOptions ConnectionOptions ServerOptions",
            "._endpoints.ping": "Ping ping",
            "._endpoints.server_service": "PBServerService",
            "._endpoints.servers": "Server",
            "._errors.expected_errors": "expected",
            "._event_loops.answers": "Answer",
            "._event_loops.shell": "as_deferred",
            "._interfaces.exposed_methods": "exposes remote",
            "._limits": "BrokerLimits",
            "._objects.cacheable": (
                "Cacheable RemoteCache RemoteCacheMethod RemoteCacheObserver"
            ),
            "._objects.copyable": "Copyable RemoteCopy",
            "._objects.failures": (
                "CopiedFailure CopyableFailure failure2Copyable register_exception"
            ),
            "._objects.passing": "passed",
            "._objects.referenceable": (
                "AsReferenceable Referenceable Root Serializable"
            ),
            "._objects.remote_promise": "RemotePromise then",
            "._objects.remote_reference": (
                "Passed RemoteMethod RemoteReference TimedReference"
            ),
            "._objects.streams": "RemoteStream as_stream",
            "._objects.stubs": "reference_of",
            "._objects.viewable": "ViewPoint Viewable",
            "._session.exports": "Local",
            "._session.fan_out": "call_observers",
            "._session.inherited_deadline": "deadline",
            "._session.observers": "CallObserver ObservedCall",
            ".errors": (
                "CallTimeout ClosingDown DeadReferenceError Error InvalidArgument "
                "MaybeExecuted NoSuchMethod NotExecuted NotSent PBConnectionLost "
                "PeerTimeout ProtocolError RemoteError SlowMember StreamBusy "
                "WrongThread"
            ),
            ".interfaces": "IJellyable IPBRoot IUnjellyable",
            "._older_names": (
                "MAX_BROKER_REFS copyTags portno setCopierForClass "
                "setCopierForClassTree setFactoryForClass"
            ),
            ".banana": "",
        },
        before="._registered_types",
    )
