"""This module defines the export table and the cache table, which count references.

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

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from pb_broker._objects.identity import process_unique_id
from pb_broker.errors import ProtocolError

__all__ = [
    "CacheTable",
    "ExportTable",
    "Local",
    "LocalIDs",
    "LocalObjects",
    "ReferenceListener",
]

# Shared empty tables; replaced before the first write.  A server has thousands of
# connections, and most have no use for most tables.
_NO_OBJECTS: Final[dict[int | bytes, Any]] = {}
_NO_LUIDS: Final[dict[Any, int]] = {}
_NO_COUNTS: Final[dict[int | bytes, int]] = {}
_NO_NAMES: Final[dict[bytes, Any]] = {}
_NO_ENTRIES: Final[dict[int, Local]] = {}
_NO_COPIES: Final[dict[Any, Any]] = {}


class ReferenceListener(Protocol):
    """The hooks of a session, as far as tables tell them of references."""

    def exported(self, luid: int, is_new: bool) -> None:
        """Learn that the peer is given a reference to an object."""

    def export_ended(self, luid: int) -> None:
        """Learn that the peer has an object no more."""

    def cached(self, luid: int, is_new: bool) -> None:
        """Learn that the peer is given a cached copy of an object."""

    def cache_ended(self, luid: int) -> None:
        """Learn that the peer has no cached copy of an object any more."""


class LocalIDs:
    """The sequence of luids of one connection.

    Attributes:
        last: The luid given out last; 0 before the first.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: int = 0

    def new(self) -> int:
        """Return a luid that was never used on this connection."""
        self.last += 1
        return self.last

    def check(self, luid: int | bytes) -> None:
        """Raise ProtocolError unless ``luid`` is one that may have been known once."""
        if type(luid) is int and not 0 < luid <= self.last:
            raise ProtocolError("no object ever had the id of that one")


class Local:
    """An object of ours that the peer holds, and how many times it does.

    Args:
        object: The object.
        perspective: The perspective for which it went, for caches.
    """

    __slots__ = ("object", "perspective", "refcount")

    def __init__(self, object: Any, perspective: Any = None) -> None:
        self.object: Any = object
        self.perspective: Any = perspective
        self.refcount: int = 1

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

    There is one for each connection, and an entry for each of perhaps a million
    objects, so that both are kept small: tables are made when something is put into
    them, and counts are kept of what is held more than once.

    Args:
        local_ids: The connection's sequence of luids.

    Attributes:
        objects: The objects, by luid.
        hooks: The session's hooks; None for none.
        luids: Luids by process-unique id.
        named: How many objects there are besides, under names.
        root: The one name that nearly every connection has, and its object; None for
            none.
    """

    __slots__ = (
        "_counts",
        "_local_ids",
        "_names",
        "cleanups",
        "hooks",
        "luids",
        "named",
        "objects",
        "root",
    )

    def __init__(self, local_ids: LocalIDs) -> None:
        self._local_ids = local_ids
        self.cleanups: dict[Any, Callable[[], object]] | None = None
        self.hooks: ReferenceListener | None = None
        self.objects: dict[int | bytes, Any] = _NO_OBJECTS
        self.luids: dict[Any, int] = _NO_LUIDS
        self._counts: dict[int | bytes, int] = _NO_COUNTS
        self.root: tuple[bytes, Any] | None = None
        self._names: dict[bytes, Any] = _NO_NAMES
        self.named: int = 0

    def __len__(self) -> int:
        """Return how many objects there are, those with names included."""
        return len(self.objects) + self.named

    def find(self, luid: int | bytes) -> Any:
        """Return the object of a luid or a well-known name; None if there is none."""
        target = self.objects.get(luid)
        if target is None and type(luid) is bytes:
            name = self.root
            if name is not None and name[0] == luid:
                return name[1]
            return self._names.get(luid)
        return target

    def begin(self) -> None:
        """Make the tables, if there are none."""
        if self.objects is _NO_OBJECTS:
            self.objects = {}
            self.luids = {}

    def add(self, instance: object, puid: Any) -> int:
        """Give an object a new luid with a count of one, and return it.

        Args:
            instance: The object.
            puid: Its process-unique id, which is in ``luids`` not yet.
        """
        self.begin()
        ids = self._local_ids
        luid = ids.last = ids.last + 1
        self.objects[luid] = instance
        self.luids[puid] = luid
        if self.hooks is not None:
            self.hooks.exported(luid, True)
        return luid

    def count(self, luid: int) -> None:
        """Count one reference more."""
        if self._counts is _NO_COUNTS:
            self._counts = {}
        self._counts[luid] = self._counts.get(luid, 1) + 1
        if self.hooks is not None:
            self.hooks.exported(luid, False)

    def name(self, name: bytes, instance: object) -> None:
        """Make an object known under a name, uncounted, instead of any other."""
        first = self.root
        if first[0] == name if first is not None else name not in self._names:
            self.root = (name, instance)
        else:
            if self._names is _NO_NAMES:
                self._names = {}
            self._names[name] = instance
        self._count_named()

    def _count_named(self) -> None:
        # A second name of one object makes it no second object.
        objects = {id(each) for each in self._names.values()}
        if self.root is not None:
            objects.add(id(self.root[1]))
        self.named = len(objects)

    def decref(self, luid: int | bytes, less: int = 1) -> Any:
        """Count references less.

        Args:
            luid: The id that the peer lets go of.
            less: How many of its references.

        Returns:
            The object, if that was its last reference and it is gone; else None.

        Raises:
            ProtocolError: Nothing ever had this id.
        """
        if type(luid) is not int:
            # A well-known name is not counted: a peer cannot take it away from peers
            # that come later.
            return None
        if luid not in self.objects:
            self._local_ids.check(luid)
            return None
        count = self._counts.pop(luid, 1) - less
        if count > 0:
            if count > 1:
                self._counts[luid] = count
            return None
        return self.unregister(luid)

    def check(self, luid: int) -> None:
        """Check that a number may have been that of an object once.

        Args:
            luid: The number.

        Raises:
            ProtocolError: Nothing ever had it.
        """
        self._local_ids.check(luid)

    def unregister(self, luid: int | bytes) -> Any:
        """Drop an object with any count, and return it.

        Args:
            luid: Its id or name.

        Raises:
            KeyError: There is none.
        """
        if type(luid) is bytes:
            if self.root is not None and self.root[0] == luid:
                instance = self.root[1]
                self.root = None
            else:
                instance = self._names.pop(luid)
            self._count_named()
            return instance
        instance = self.objects.pop(luid)
        self._counts.pop(luid, None)
        self.luids.pop(process_unique_id(instance), None)
        if self.hooks is not None and type(luid) is int:
            self.hooks.export_ended(luid)
        return instance

    def take_cleanup(self, instance: object) -> Callable[[], object] | None:
        """Return the clean-up of an object that was let go of, once.

        Args:
            instance: The object, which the peer has no more.
        """
        if not self.cleanups:
            return None
        return self.cleanups.pop(process_unique_id(instance), None)

    def clear(self) -> None:
        """Drop everything."""
        self.objects = _NO_OBJECTS
        self.luids = _NO_LUIDS
        self._counts = _NO_COUNTS
        self.root = None
        self._names = _NO_NAMES
        self.named = 0

    def entry(self, luid: int | bytes) -> Local:
        """Return the entry of an object, a copy as of now.

        Args:
            luid: Its id or name.

        Raises:
            KeyError: There is none.
        """
        target = self.find(luid)
        if target is None:
            raise KeyError(luid)
        local = Local(target)
        local.refcount = self._counts.get(luid, 1)
        return local

    def ids(self) -> list[int | bytes]:
        """Return all names and luids."""
        names = [] if self.root is None else [self.root[0]]
        return [*names, *self._names, *self.objects]


class LocalObjects(Mapping[int | bytes, Local]):
    """The exports of a connection as PB has published them: to be read.

    Args:
        exports: The table.
    """

    __slots__ = ("_exports",)

    def __init__(self, exports: ExportTable) -> None:
        self._exports = exports

    def __getitem__(self, luid: int | bytes) -> Local:
        return self._exports.entry(luid)

    def __iter__(self) -> Iterator[int | bytes]:
        return iter(self._exports.ids())

    def __len__(self) -> int:
        return len(self._exports)

    def __repr__(self) -> str:
        return f"<{len(self)} objects>"


class CacheTable:
    """Objects of ours of which the peer keeps a live cache, and ours of the peer's.

    Args:
        local_ids: The connection's sequence of luids.

    Attributes:
        here: Our cached copies of the peer's objects, by the peer's luid.
        hooks: The session's hooks; None for none.
        luids: Luids by process-unique id.
        objects: Entries by luid.
    """

    __slots__ = ("_local_ids", "here", "hooks", "luids", "objects")

    def __init__(self, local_ids: LocalIDs) -> None:
        self._local_ids = local_ids
        self.here: dict[Any, Any] = _NO_COPIES
        self.hooks: ReferenceListener | None = None
        self.luids: dict[Any, int] = _NO_LUIDS
        self.objects: dict[int, Local] = _NO_ENTRIES

    def begin(self) -> None:
        """Make the tables of the peer's caches, if there are none."""
        if self.objects is _NO_ENTRIES:
            self.objects = {}
            self.luids = {}

    def kept(self) -> dict[Any, Any]:
        """Return the table of our cached copies, to add to."""
        if self.here is _NO_COPIES:
            self.here = {}
        return self.here

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
            if self.hooks is not None:
                self.hooks.cached(luid, False)
        return luid

    def add(self, instance: object, perspective: Any) -> int:
        """Cache ``instance`` for ``perspective`` with a count of one."""
        self.begin()
        luid = self._local_ids.new()
        self.luids[process_unique_id(instance)] = luid
        self.objects[luid] = Local(instance, perspective)
        if self.hooks is not None:
            self.hooks.cached(luid, True)
        return luid

    def decref(self, luid: int, less: int = 1) -> Local | None:
        """Count copies less.

        Args:
            luid: The number of the cache.
            less: How many of its copies.

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
        entry.refcount = max(0, entry.refcount - less)
        return entry if entry.refcount == 0 else None

    def forget(self, luid: int) -> None:
        """Drop the entry of ``luid``, if there is one."""
        entry = self.objects.pop(luid, None)
        if entry is not None:
            puid = process_unique_id(entry.object)
            if self.luids.get(puid) == luid:
                del self.luids[puid]
            if self.hooks is not None:
                self.hooks.cache_ended(luid)

    def close(self) -> None:
        """Keep none of our cached copies up to date any more."""
        self.here = _NO_COPIES
