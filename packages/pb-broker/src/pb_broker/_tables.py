"""This module counts what each end of a connection holds for the other.

Theory of operation
-------------------
An object that goes to the peer by reference gets a *luid*, a small number that
means it on this connection only, and never means anything else: luids are not
used twice.  Each time it goes, its count goes up by one; each time the peer lets
go of one of the references that it made from it, the peer says ``decref`` and the
count goes down.  Sending and letting go may cross on the wire, and because both
are counted, nobody has to wait for anybody: the entry dies when the count says
that every reference that was ever sent has been let go of.

A cached object (``Cacheable``) is counted in the same way in a table of its own:
each time it goes, up; each ``decache``, down.  It shares the sequence of luids.

An entry that a program took back (:meth:`ExportTable.unregister`) leaves peers
that do not know it yet: their ``decref`` for an id that was once given out is
ignored, while one for an id that never was is the peer's mistake.
"""

from __future__ import annotations

from typing import Any

from .errors import ProtocolError

__all__ = ["CacheTable", "ExportTable", "Local", "LocalIDs", "process_unique_id"]


def process_unique_id(instance: object) -> Any:
    """Return what identifies ``instance`` in this process.

    Args:
        instance: Any object; one with ``processUniqueID`` (a ``ViewPoint``, say,
            whose instances are made anew each time) is asked.

    Returns:
        Something hashable: equal for objects that the peer shall see as one.
    """
    ask = getattr(instance, "processUniqueID", None)
    return id(instance) if ask is None else ask()


class LocalIDs:
    """The sequence of luids of one connection.

    Attributes:
        last: The luid given out last; 0 before the first.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def new(self) -> int:
        """Return a luid that was never used on this connection."""
        self.last += 1
        return self.last

    def check(self, luid: int | bytes) -> None:
        """Raise ProtocolError unless ``luid`` is one that may have been known once."""
        if type(luid) is int and not 0 < luid <= self.last:
            raise ProtocolError(f"no object ever had the id {luid}")


class Local:
    """An object of ours that the peer holds, and how many times it does.

    Args:
        object: The object.
        perspective: The perspective for which it went, for caches.
    """

    __slots__ = ("object", "perspective", "refcount")

    def __init__(self, object: Any, perspective: Any = None) -> None:
        self.object = object
        self.perspective = perspective
        self.refcount = 1

    def __repr__(self) -> str:
        """Name the object's class and the count; never the object's own repr."""
        kind = type(self.object)
        return f"<pb.Local {kind.__module__}.{kind.__qualname__} ref:{self.refcount}>"

    def incref(self) -> int:
        """Count one reference more and return the count."""
        self.refcount += 1
        return self.refcount

    def decref(self) -> int:
        """Count one reference less and return the count."""
        self.refcount -= 1
        return self.refcount


class ExportTable:
    """Objects of ours that the peer can call.

    Args:
        local_ids: The connection's sequence of luids.

    Attributes:
        objects: Entries by luid (``int``) or well-known name (``bytes``).
        luids: Luids by process-unique id.
    """

    __slots__ = ("_local_ids", "luids", "objects")

    def __init__(self, local_ids: LocalIDs) -> None:
        self._local_ids = local_ids
        self.objects: dict[int | bytes, Local] = {}
        self.luids: dict[Any, int] = {}

    def find(self, instance: object) -> int | None:
        """Return the luid that ``instance`` has, counting one more; None if none."""
        luid = self.luids.get(process_unique_id(instance))
        if luid is not None:
            self.objects[luid].refcount += 1
        return luid

    def add(self, instance: object) -> int:
        """Give ``instance`` a new luid with a count of one, and return it."""
        luid = self._local_ids.new()
        self.objects[luid] = Local(instance)
        self.luids[process_unique_id(instance)] = luid
        return luid

    def name(self, name: bytes, instance: object) -> None:
        """Make ``instance`` known under ``name``, uncounted, instead of any other."""
        self.objects[name] = Local(instance)

    def decref(self, luid: int | bytes) -> Local | None:
        """Count one reference less.

        Args:
            luid: The id that the peer lets go of.

        Returns:
            The entry, if that was its last reference and it is gone.

        Raises:
            ProtocolError: Nothing ever had this id.
        """
        entry = self.objects.get(luid)
        if entry is None:
            self._local_ids.check(luid)
            return None
        if type(luid) is not int:
            # A well-known name is not counted: a peer cannot take it away from
            # those who come after it.
            return None
        if entry.decref() > 0:
            return None
        self._forget(luid, entry)
        return entry

    def unregister(self, luid: int | bytes) -> Local:
        """Drop an entry whatever its count, and return it.

        Args:
            luid: An id that ``objects`` holds.

        Raises:
            KeyError: It does not.
        """
        entry = self.objects[luid]
        self._forget(luid, entry)
        return entry

    def clear(self) -> None:
        """Drop everything."""
        self.objects.clear()
        self.luids.clear()

    def _forget(self, luid: int | bytes, entry: Local) -> None:
        del self.objects[luid]
        if type(luid) is int:
            self.luids.pop(process_unique_id(entry.object), None)


class CacheTable:
    """Objects of ours of which the peer keeps a live cache.

    Args:
        local_ids: The connection's sequence of luids.

    Attributes:
        objects: Entries by luid.
        luids: Luids by process-unique id.
    """

    __slots__ = ("_local_ids", "luids", "objects")

    def __init__(self, local_ids: LocalIDs) -> None:
        self._local_ids = local_ids
        self.objects: dict[int, Local] = {}
        self.luids: dict[Any, int] = {}

    def find(self, instance: object, count: bool = False) -> int | None:
        """Return the luid under which ``instance`` is cached.

        Args:
            instance: The object.
            count: Whether to count one copy more.  An entry that is just being let
                go of is then not found: what is sent now is a new copy.

        Returns:
            The luid, or None.
        """
        luid = self.luids.get(process_unique_id(instance))
        if luid is not None and count:
            entry = self.objects[luid]
            if entry.refcount <= 0:
                return None
            entry.refcount += 1
        return luid

    def add(self, instance: object, perspective: Any) -> int:
        """Cache ``instance`` for ``perspective`` with a count of one."""
        luid = self._local_ids.new()
        self.luids[process_unique_id(instance)] = luid
        self.objects[luid] = Local(instance, perspective)
        return luid

    def decref(self, luid: int) -> Local | None:
        """Count one copy less.

        Args:
            luid: The number of the cache.

        Returns:
            The entry, if that was the last copy.  It is still there, so that the
            object can say farewell, until :meth:`forget`.

        Raises:
            ProtocolError: Nothing ever had this id.
        """
        entry = self.objects.get(luid)
        if entry is None or entry.refcount <= 0:
            self._local_ids.check(luid)
            return None
        return entry if entry.decref() == 0 else None

    def forget(self, luid: int) -> None:
        """Drop the entry of ``luid``, if there is one."""
        entry = self.objects.pop(luid, None)
        if entry is not None:
            puid = process_unique_id(entry.object)
            if self.luids.get(puid) == luid:
                del self.luids[puid]

    def clear(self) -> list[Local]:
        """Drop everything and return what was there."""
        entries = list(self.objects.values())
        self.objects.clear()
        self.luids.clear()
        return entries
