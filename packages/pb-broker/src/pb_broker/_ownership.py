"""This module knows on whose account a peer was given what, so it can be taken back.

Theory of operation
-------------------
Several logins may share a connection, and each may end while the connection lasts.
What the peer was given then has to be told apart: each object that it can call, and
each that it keeps a cache of, belongs to one or more *owners*.

What a method returns belongs to the owners of the object that was called, at whatever
depth: so what was obtained through an avatar belongs to its login.  What is sent in a
call from here belongs to the owner whose perspective the call is made for; or, where
there is none, to that of the call of the peer's that is being run.  Where nobody can
tell, it belongs to all owners that there are at that time, and goes with the last of
them.  What there was before the first is nobody's, and stays.

Nobody who does not ask for it pays for it: the session and the tables of a connection
that has owners are of classes of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from twisted.python.failure import Failure

from ._observer import ObservedSession
from ._session import Session
from ._tables import CacheTable, ExportTable, process_unique_id
from .errors import Error

if TYPE_CHECKING:
    from ._broker import Broker

__all__ = ["Owner", "Ownership"]


class Owner:
    """Somebody on whose account the peer was given something.

    Attributes:
        exports: What it can call, by luid.
        caches: What it keeps caches of, by luid.
        is_over: Whether that was taken back.
    """

    __slots__ = ("caches", "exports", "is_over")

    def __init__(self) -> None:
        self.exports: set[int] = set()
        self.caches: set[int] = set()
        self.is_over = False


#: Of what belongs to nobody.
_NOBODY: Final[frozenset[Owner]] = frozenset()

#: Whoever is gone.
_OVER: Final = Owner()
_OVER.is_over = True


class _Served(tuple[Any, ...]):
    """For whom a value is made, and to whom what is in it belongs."""

    owners: frozenset[Owner] | None


class Ownership:
    """Who has what of one connection.

    Args:
        broker: The connection's.

    Attributes:
        was_called: Whether the peer has called anything that it was given since
            somebody asked.
        caller: To whom belongs what is called by the call that is being run; None if
            none is, or nobody knows.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._owners: list[Owner] = []
        self._perspectives: dict[int, Owner] = {}
        # Those whose owners are over, as long as anybody has them.
        self._over: dict[int, ref[object]] = {}
        self._of_exports: dict[int, frozenset[Owner]] = {}
        self._of_caches: dict[int, frozenset[Owner]] = {}
        self.caller: frozenset[Owner] | None = None
        self.was_called = False

    @classmethod
    def of(cls, broker: Broker) -> Ownership:
        """Return that of a connection, which has it from now on."""
        if broker.ownership is None:
            ownership = broker.ownership = cls(broker)
            session = broker._session
            is_observed = isinstance(session, ObservedSession)
            session.__class__ = OwnedObservedSession if is_observed else OwnedSession
            session.exports = _OwnedExports(session.exports, ownership)
            session._caches = _OwnedCaches(session.caches, ownership)
        return broker.ownership

    def add(self, owner: Owner, perspective: object) -> None:
        """Have somebody else be given things, on account of a perspective."""
        self._owners.append(owner)
        self._perspectives[id(perspective)] = owner
        self._over.pop(id(perspective), None)

    def take_back(self, owner: Owner, perspective: object) -> None:
        """Take back what the peer was given on somebody's account alone.

        Nothing more is given on it, and calls that wait for their answers get errors.

        Args:
            owner: Who.
            perspective: As for :meth:`add`.
        """
        self._owners.remove(owner)
        if self._perspectives.get(id(perspective)) is owner:
            del self._perspectives[id(perspective)]
            self._note_over(perspective)
        owner.is_over = True
        session = self._broker._session
        for luid in list(owner.exports):
            if _is_left(self._of_exports, luid, owner):
                instance = session.exports.unregister(luid)
                session.exported_no_more(instance)
        for luid in list(owner.caches):
            if _is_left(self._of_caches, luid, owner):
                session.take_back_cache(luid)

    def _note_over(self, perspective: object) -> None:
        """Note that nothing is to be sent for a perspective any more."""
        number = id(perspective)
        with suppress(TypeError):
            # Of a class without a place for weak references, nobody can tell.
            self._over[number] = ref(
                perspective, lambda _: self._over.pop(number, None)
            )

    def giving_to_nobody(self) -> AbstractContextManager[None]:
        """Have what is given meanwhile stay, whatever ends."""
        return self.giving(_NOBODY)

    @contextmanager
    def giving(self, owners: frozenset[Owner] | None) -> Iterator[None]:
        """Have what is given meanwhile belong to ``owners``."""
        before, self.caller = self.caller, owners
        try:
            yield
        finally:
            self.caller = before

    @property
    def current(self) -> frozenset[Owner]:
        """To whom what is given now belongs."""
        if self.caller is None:
            return frozenset(self._owners)
        return self.caller

    def owners_of(self, target: object) -> frozenset[Owner] | None:
        """Return to whom belongs what is called; None if nobody knows."""
        luid = self._broker._session.exports.luids.get(process_unique_id(target))
        return None if luid is None else self._of_exports.get(luid)

    def owners_for(self, perspective: object) -> frozenset[Owner] | None:
        """Return to whom belongs what is sent for a perspective; None if unknown."""
        owner = self._perspectives.get(id(perspective))
        if owner is None:
            over = self._over.get(id(perspective))
            if over is None or over() is not perspective:
                return self.caller
            owner = _OVER
        return frozenset((owner,))

    def give_export(self, luid: int, *, is_new: bool) -> None:
        """Note to whom an object belongs that goes to the peer."""
        _give(self._of_exports, luid, self.current, "exports", is_new=is_new)

    def give_cache(self, luid: int, *, is_new: bool) -> None:
        """Note to whom a cached object belongs that goes to the peer."""
        _give(self._of_caches, luid, self.current, "caches", is_new=is_new)

    def forget_export(self, luid: int) -> None:
        """Note that the peer has an object no more."""
        for owner in self._of_exports.pop(luid, _NOBODY):
            owner.exports.discard(luid)

    def forget_cache(self, luid: int) -> None:
        """Note that the peer has a cached object no more."""
        for owner in self._of_caches.pop(luid, _NOBODY):
            owner.caches.discard(luid)


def _give(
    table: dict[int, frozenset[Owner]],
    luid: int,
    owners: frozenset[Owner],
    kind: str,
    *,
    is_new: bool,
) -> None:
    if is_new:
        before = _NOBODY
    else:
        known = table.get(luid)
        if known is None:
            # It is nobody's, and stays that.
            return
        before = known
    if not owners:
        for owner in before:
            getattr(owner, kind).discard(luid)
        table.pop(luid, None)
        return
    for owner in owners - before:
        getattr(owner, kind).add(luid)
    table[luid] = before | owners


def _is_left(table: dict[int, frozenset[Owner]], luid: int, owner: Owner) -> bool:
    """Take an owner from something; tell whether it has none left."""
    owners = table.get(luid)
    if owners is None:
        # It went while others were taken back.
        return False
    if owners != {owner}:
        table[luid] = owners - {owner}
        return False
    del table[luid]
    return True


class _OwnedExports(ExportTable):
    """Objects of ours that the peer can call, each with its owners."""

    __slots__ = ("_ownership",)

    def __init__(self, before: ExportTable, ownership: Ownership) -> None:
        _take_over(self, before, ExportTable.__slots__)
        self._ownership = ownership

    def find(self, luid: int | bytes) -> Any:
        """Return the object of a luid; see :meth:`ExportTable.find`."""
        target = super().find(luid)
        # Not what everybody has, nor what nobody has: a heartbeat asks for that.
        if target is not None and type(luid) is int:
            self._ownership.was_called = True
        return target

    def add(self, instance: object, puid: Any) -> int:
        """Give an object a new luid; see :meth:`ExportTable.add`."""
        luid = super().add(instance, puid)
        self._ownership.give_export(luid, is_new=True)
        return luid

    def count(self, luid: int) -> None:
        """Count one reference more; see :meth:`ExportTable.count`."""
        super().count(luid)
        self._ownership.give_export(luid, is_new=False)

    def unregister(self, luid: int | bytes) -> Any:
        """Drop an object; see :meth:`ExportTable.unregister`."""
        instance = super().unregister(luid)
        if type(luid) is int:
            self._ownership.forget_export(luid)
        return instance


class _OwnedCaches(CacheTable):
    """Objects of ours of which the peer keeps caches, each with its owners."""

    __slots__ = ("_ownership",)

    def __init__(self, before: CacheTable, ownership: Ownership) -> None:
        _take_over(self, before, CacheTable.__slots__)
        self._ownership = ownership

    def find(self, instance: object, count: bool = False) -> int | None:
        """Return the luid of an object; see :meth:`CacheTable.find`."""
        luid = super().find(instance, count)
        if count and luid is not None:
            self._ownership.give_cache(luid, is_new=False)
        return luid

    def add(self, instance: object, perspective: Any) -> int:
        """Cache an object; see :meth:`CacheTable.add`."""
        luid = super().add(instance, perspective)
        self._ownership.give_cache(luid, is_new=True)
        return luid

    def forget(self, luid: int) -> None:
        """Drop an entry; see :meth:`CacheTable.forget`."""
        super().forget(luid)
        self._ownership.forget_cache(luid)


def _take_over(table: object, before: object, names: Iterable[str]) -> None:
    for name in names:
        setattr(table, name, getattr(before, name))


def _ended() -> Error:
    return Error("the session has ended")


def _are_over(owners: frozenset[Owner] | None) -> bool:
    """Tell whether there were owners, and none is left."""
    return bool(owners) and _left(owners) == _NOBODY


def _left(owners: frozenset[Owner] | None) -> frozenset[Owner] | None:
    """Return those owners that have not gone meanwhile; None if they are unknown."""
    if owners is None:
        return None
    return frozenset(owner for owner in owners if not owner.is_over)


class OwnedSession(Session):
    """A session in which what the peer is given has owners."""

    __slots__ = ()

    @property
    def _ownership(self) -> Ownership:
        broker: Any = self._broker
        ownership: Ownership = broker.ownership
        return ownership

    def call(
        self,
        verb: bytes,
        perspective: Any,
        luid: int | bytes,
        name: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        wanted: Any,
    ) -> Any:
        """Send a call; see :meth:`Session.call`."""
        ownership = self._ownership
        owners = ownership.owners_for(perspective)
        if _are_over(owners):
            return self._broker.shell.failed(Failure(_ended()))
        with ownership.giving(owners):
            return super().call(verb, perspective, luid, name, args, kw, wanted)

    def _call_local(
        self,
        target: Any,
        perspective: Any,
        request: int,
        name: bytes,
        wanted: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
    ) -> None:
        ownership = self._ownership
        owners = None if target is None else ownership.owners_of(target)
        with ownership.giving(owners):
            super()._call_local(target, perspective, request, name, wanted, args, kw)

    def _take(self, result: Any, request: int, wanted: Any, served: Any) -> None:
        owned = _Served(served)
        owned.owners = self._ownership.caller
        super()._take(result, request, wanted, owned)

    def _answer(self, result: Any, request: int, wanted: Any, served: Any) -> None:
        ownership = self._ownership
        owners = served.owners if type(served) is _Served else ownership.caller
        if _are_over(owners):
            # A stream, say, which nobody will take from.
            self.exported_no_more(result)
            self._failed(Failure(_ended()), request, wanted)
            return
        with ownership.giving(_left(owners)):
            super()._answer(result, request, wanted, served)

    def _fail_later(
        self, failure: Failure, request: int, wanted: Any, served: Any
    ) -> None:
        if _are_over(served.owners):
            # What it says may carry something.
            failure = Failure(_ended())
        with self._ownership.giving(_left(served.owners)):
            super()._fail_later(failure, request, wanted, served)


class OwnedObservedSession(OwnedSession, ObservedSession):
    """One in which observers are told of each call as well."""

    __slots__ = ()
