"""References to, copies of and caches of objects at the other end of a connection.

The rules, in short.  An object that derives from :class:`Referenceable` is passed
by reference: the peer gets a :class:`RemoteReference` and calls its ``remote_``
methods with ``callRemote``.  One that derives from :class:`Copyable` is copied, one
that derives from :class:`Cacheable` is copied and kept up to date, and one that
derives from :class:`Viewable` is passed by reference and told who is calling.
Numbers, text, bytes and the builtin containers are copied; everything else is
refused.
"""

from __future__ import annotations

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

from ._atoms import PB_TYPES
from ._broker import Broker
from ._cacheable import (
    Cacheable,
    RemoteCache,
    RemoteCacheMethod,
    RemoteCacheObserver,
)
from ._connect import connect, getObjectAt
from ._copyable import Copyable, RemoteCopy
from ._exposure import exposes, remote
from ._factories import PBClientFactory, PBServerFactory
from ._failures import (
    CopiedFailure,
    CopyableFailure,
    failure2Copyable,
    register_exception,
)
from ._fanout import call_observers
from ._managers import client, serve
from ._observer import CallObserver, ObservedCall
from ._profile import BrokerLimits
from ._referenceable import AsReferenceable, Referenceable, Root, Serializable
from ._remote import RemoteMethod, RemoteReference, TimedReference
from ._service import PBClientService, ServiceReference
from ._session import Jellied
from ._streams import RemoteStream
from ._stub import reference_of
from ._tables import Local
from ._viewable import Viewable, ViewPoint
from ._watch import Heartbeat
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
    StreamBusy,
    WrongThread,
)
from .interfaces import IJellyable, IPBRoot, IUnjellyable

__all__ = [
    "MAX_BROKER_REFS",
    "AsReferenceable",
    "Broker",
    "BrokerLimits",
    "Cacheable",
    "CallObserver",
    "CallTimeout",
    "ClosingDown",
    "CopiedFailure",
    "Copyable",
    "CopyableFailure",
    "DeadReferenceError",
    "Error",
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
    "PeerTimeout",
    "ProtocolError",
    "Referenceable",
    "RemoteCache",
    "RemoteCacheMethod",
    "RemoteCacheObserver",
    "RemoteCopy",
    "RemoteError",
    "RemoteMethod",
    "RemoteReference",
    "RemoteStream",
    "Root",
    "SecurityOptions",
    "Serializable",
    "ServiceReference",
    "StreamBusy",
    "TimedReference",
    "Unjellyable",
    "ViewPoint",
    "Viewable",
    "WrongThread",
    "call_observers",
    "client",
    "connect",
    "copyTags",
    "copyable",
    "exposes",
    "failure2Copyable",
    "getObjectAt",
    "globalSecurity",
    "jelly",
    "portno",
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
    "unjelly",
]

#: The port that PB has been assigned.
portno = 8787

#: How many references one peer may hold by default.
MAX_BROKER_REFS = BrokerLimits().exported_references

# The names that these functions had first.
setCopierForClass = setUnjellyableForClass
setCopierForClassTree = setUnjellyableForClassTree
setFactoryForClass = setUnjellyableFactoryForClass
copyTags = unjellyableRegistry


def _register() -> None:
    """Let jelly be made or read by hand, with a broker as the invoker."""
    for name, unjellyable in PB_TYPES.items():
        setUnjellyableForClass(name, unjellyable)


_register()
