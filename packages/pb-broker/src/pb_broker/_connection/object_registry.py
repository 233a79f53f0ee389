"""This module is the object registry, which hooks of values ask for numbers.

Objects that travel know their connection as ``jellier.invoker``, the broker: it gives
objects of ours numbers by which the peer can call them, keeps account of cached copies,
and serializes values for the peer.  The names are those that PB has published.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

from twisted.internet.defer import Deferred

from pb_broker._dialects.message_codec import Jellied, Serialized
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._errors.call_endings import ENDINGS
from pb_broker._event_loops.shell import Shell
from pb_broker._objects.identity import OWN_ID, process_unique_id
from pb_broker._objects.remote_reference import RemoteReference
from pb_broker._session.session import Session

__all__ = ["ObjectRegistry"]


class ObjectRegistry:
    """The objects and values of one connection.

    Attributes:
        session: The session.
        shell: The event loop.
        transport: The transport.
    """

    session: Session
    shell: Shell
    transport: Any

    # Values

    def serialize(
        self,
        object: Any,
        perspective: Any = None,
        method: Any = None,
        args: Any = None,
        kw: Any = None,
    ) -> Any:
        """Serialize a value for the peer of this connection.

        Args:
            object: Any object, or a Deferred or coroutine of one.
            perspective: The perspective for which it is serialized.
            method: The method whose result it is, for the hooks of values.
            args: That call's positional arguments.
            kw: That call's keyword arguments.

        Returns:
            The s-expression, marked so that a remote method may return it; in "pb2" the
            value, marked likewise, to be written when it is returned; or a Deferred of
            either.

        Raises:
            JellyError: The value cannot be sent.
        """
        if iscoroutine(object):
            object = self.shell.run(object)
        if isinstance(object, Deferred):
            return object.addCallback(self.serialize, perspective, method, args, kw)
        if self.session.codec.is_modern:
            return Serialized(object, (perspective, method, args, kw))
        context = ServingContext(perspective, method, args, kw)
        try:
            expression = self.session.serializer.jelly(object, context)
        except ENDINGS:
            self.session.undo(context)
            raise
        return Jellied(expression) if type(expression) is list else expression

    def unserialize(self, sexp: Any, perspective: Any = None) -> Any:
        """Make an object from the peer's s-expression.

        Args:
            sexp: The s-expression.  A value that is no list is an object already, and
                comes back as it is.
            perspective: The perspective for which the object is made.

        Returns:
            The object.

        Raises:
            JellyError: The expression is refused or malformed.
        """
        if not isinstance(sexp, list):
            return sexp
        return self.session.serializer.unjelly(sexp, ServingContext(perspective))

    # Objects of ours

    def newLocalID(self) -> int:
        """Return a luid that was never used on this connection."""
        return self.session.local_ids.new()

    def newRequestID(self) -> int:
        """Return a request id that was never used on this connection."""
        return self.session.outgoing.new_number()

    def localObjectForID(self, luid: int | bytes | str) -> Any:
        """Return the object of ours that the peer knows as ``luid``, or None."""
        return self.session.exports.find(_key(luid))

    def registerReference(self, object: Any) -> int:
        """Let the peer call ``object``, counting one reference.

        Args:
            object: An object with ``remoteMessageReceived``.

        Returns:
            Its luid: the same one as long as the peer holds it.

        Raises:
            Error: The peer holds as many as it may.
        """
        session = self.session
        exports = session.exports
        puid = process_unique_id(object)
        luid = exports.luids.get(puid)
        if luid is not None:
            exports.count(luid)
        else:
            most = session.quotas.current.exported_references
            if len(exports.objects) + exports.named > most:
                self._refuse_export("reference")
            luid = exports.add(object, puid)
        context = session.serializer.context
        if context is not None:
            context.note_exported(luid)
        return luid

    def _refuse_export(self, what: str) -> None:
        error, is_last = self.session.quotas.refuse_export(what)
        if is_last:
            self.transport.loseConnection()
        raise error

    def _referrer(self) -> Callable[[Any], int]:
        """Return a quicker :meth:`registerReference` for one message."""
        session = self.session
        context, exports = session.serializer.context, session.exports
        is_ours = type(self).registerReference is ObjectRegistry.registerReference
        if context is None or not is_ours or session.hooks is not None:
            return self.registerReference
        if context.exported is None:
            context.exported = []
        exported = context.exported
        exports.begin()
        objects, luids = exports.objects, exports.luids
        ids = session.local_ids
        most = session.quotas.current.exported_references - exports.named

        def refer(instance: Any) -> int:
            ask = getattr(type(instance), "processUniqueID", None)
            puid = id(instance) if ask is OWN_ID else process_unique_id(instance)
            if puid in luids or len(objects) > most:
                return self.registerReference(instance)
            luid = ids.last = ids.last + 1
            objects[luid] = instance
            luids[puid] = luid
            exported.append(luid)
            return luid

        return refer

    def unregisterReference(self, refnum: int | bytes) -> None:
        """Withdraw an object from the peer, with all references to it.

        Args:
            refnum: The luid of the object.

        Raises:
            KeyError: The peer has no such object.
        """
        self.session.exported_no_more(self.session.exports.unregister(refnum))

    def setNameForLocal(self, name: str | bytes, object: Any) -> None:
        """Let the peer call ``object`` under a name that both ends know.

        Args:
            name: The name, such as ``"root"``.
            object: An object with ``remoteMessageReceived``.
        """
        self.session.exports.name(_key(name), object)

    def remoteForName(self, name: str | bytes) -> RemoteReference:
        """Return a reference to the peer's object of that name.

        The peer is not asked; if it has no such object, the first call fails.
        """
        return RemoteReference(None, self, _key(name), 0)

    # Caches

    def cachedRemotelyAs(self, instance: Any, incref: Any = 0) -> int | None:
        """Return the luid of the peer's copy of ``instance``, or None.

        Args:
            instance: A Cacheable.
            incref: True if one more copy of it is being sent.
        """
        luid = self.session.caches.find(instance, bool(incref))
        context = self.session.serializer.context
        if incref and luid is not None and context is not None:
            context.note_cached(luid)
        return luid

    def remotelyCachedForLUID(self, luid: int) -> Any:
        """Return the Cacheable that the peer has as ``luid``.

        Raises:
            KeyError: It has none.
        """
        return self.session.caches.objects[luid].object

    def cacheRemotely(self, instance: Any) -> int:
        """Give ``instance`` a new luid, for the copy that is being sent.

        Raises:
            Error: The peer caches as many as it may.
        """
        session = self.session
        if len(session.caches.objects) > session.quotas.current.exported_references:
            self._refuse_export("cache")
        context = session.serializer.context
        perspective = None if context is None else context.perspective
        luid = session.caches.add(instance, perspective)
        if context is not None:
            context.note_cached(luid)
        return luid

    def cacheLocally(self, cid: int, instance: Any) -> None:
        """Keep ``instance`` as the copy of the peer's ``cid``."""
        self.session.caches.kept()[cid] = instance

    def cachedLocallyAs(self, cid: int) -> Any:
        """Return the copy of the peer's ``cid``.

        Raises:
            KeyError: There is none.
        """
        return self.session.caches.here[cid]


def _key(name: int | bytes | str) -> Any:
    """Return the key of a name or luid in the tables."""
    return name.encode() if isinstance(name, str) else name
