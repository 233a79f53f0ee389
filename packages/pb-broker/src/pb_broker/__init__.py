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
    unjellyableRegistry,
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
from ._objects.referenceable import AsReferenceable, Referenceable, Root, Serializable
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
from ._objects.wire_types import PB_TYPES
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

#: The TCP port assigned to PB.
portno = 8787

#: Default for the most references that one peer may hold.
MAX_BROKER_REFS = BrokerLimits().exported_references

# Older published names of these functions.
setCopierForClass = setUnjellyableForClass
setCopierForClassTree = setUnjellyableForClassTree
setFactoryForClass = setUnjellyableFactoryForClass
copyTags = unjellyableRegistry


def _register() -> None:
    """Register PB's wire types for jelly that is read without a connection."""
    for name, unjellyable in PB_TYPES.items():
        setUnjellyableForClass(name, unjellyable)


_register()
