"""This module knows on whose account a peer was given what, so it can be taken back.

Theory of operation
-------------------
Several logins may share a connection, and each may end while the connection lasts.
What the peer was given then has to be told apart: each object that it can call, and
each that it keeps a cache of, belongs to one or more *owners*.

What a method returns belongs to the owners of the object that was called, at whatever
depth: so what was obtained through an avatar belongs to its login.  What is sent in a
call from here belongs to the owner whose perspective the call is made for.  Where there
is none, it belongs to the owners on whose account the called reference came; and where
those are unknown, to the owners of the call of the peer's that is being run, which is
known in the context (see :mod:`contextvars`) of that call, however long it waits.
Updates of a cache belong to the owners of the cache.  Where nothing tells, it belongs
to all owners that there are at that time, and goes with the last of them.  What there
was before the first is nobody's, and stays.

A call whose owners are all over is not made, and a result of theirs is not sent.

Nobody who does not ask for it pays for it: the session and the tables of a connection
that has owners are of classes of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, Protocol
from weakref import ref

from twisted.python.failure import Failure

from pb_broker._dialects.pb.messages import CACHEMESSAGE, DECREF
from pb_broker._objects.identity import process_unique_id
from pb_broker.errors import Error

from .exports import CacheTable, ExportTable
from .observers import ObservedSession
from .session import Session

__all__ = ["Owner", "Ownership"]


class OwnedConnection(Protocol):
    """A broker, as far as owners need it.

    Attributes:
        ownership: Its table of owners; None until the first of them.
        shell: The event loop.
    """

    ownership: Ownership | None
    shell: Any
    _session: Session

    def check_thread(self) -> None:
        """Refuse to go on in another thread than the event loop's."""


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
        self.is_over: bool = False


#: Of what belongs to nobody.
_NOBODY: Final[frozenset[Owner]] = frozenset()

#: Of which connection a call is being run, and to whom belongs what it calls.
_caller: ContextVar[tuple[Ownership | None, frozenset[Owner] | None]] = ContextVar(
    "pb_broker_caller", default=(None, None)
)

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
    """

    def __init__(self, broker: OwnedConnection) -> None:
        self._broker = broker
        self._owners: dict[Owner, None] = {}
        self._perspectives: dict[int, Owner] = {}
        # Those whose owners are over, as long as anybody has them.
        self._over: dict[int, ref[object]] = {}
        self._of_exports: dict[int, frozenset[Owner]] = {}
        self._of_caches: dict[int, frozenset[Owner]] = {}
        # The owners of the peer's objects, and how many references there are to each.
        self._of_imports: dict[int | bytes, tuple[frozenset[Owner], int]] = {}
        self.was_called = False

    @property
    def caller(self) -> frozenset[Owner] | None:
        """Owners of what is called by the call that is being run; None if unknown."""
        ownership, owners = _caller.get()
        return owners if ownership is self else None

    @classmethod
    def of(cls, broker: OwnedConnection) -> Ownership:
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
        self._owners[owner] = None
        self._perspectives[id(perspective)] = owner
        self._over.pop(id(perspective), None)

    def take_back(self, owner: Owner, perspective: object) -> None:
        """Take back what the peer was given on somebody's account alone.

        Nothing more is given on it, and calls that wait for their answers get errors.

        Args:
            owner: Who.
            perspective: As for :meth:`add`.
        """
        del self._owners[owner]
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
        token = _caller.set((self, owners))
        try:
            yield
        finally:
            _caller.reset(token)

    @property
    def current(self) -> frozenset[Owner]:
        """To whom what is given now belongs."""
        owners = _left(self.caller)
        return frozenset(self._owners) if owners is None else owners

    def owners_of(self, target: object) -> frozenset[Owner] | None:
        """Return to whom belongs what is called; None if nobody knows."""
        luid = self._broker._session.exports.luids.get(process_unique_id(target))
        return None if luid is None else self._of_exports.get(luid)

    def owners_of_export(self, luid: int | bytes) -> frozenset[Owner] | None:
        """Return the owners of an object that the peer can call; None if unknown."""
        return self._of_exports.get(luid) if isinstance(luid, int) else None

    def owners_of_call(self, request: int) -> frozenset[Owner] | None:
        """Return the owners of a call that waits for an answer; None if unknown."""
        call = self._broker._session.pending.get(request)
        owners: frozenset[Owner] | None = getattr(call, "owners", None)
        return owners

    def owners_of_cache(self, luid: int | bytes) -> frozenset[Owner] | None:
        """Return the owners of an object that the peer keeps a cache of."""
        return self._of_caches.get(luid) if isinstance(luid, int) else None

    def owners_for(
        self, perspective: object, luid: int | bytes
    ) -> frozenset[Owner] | None:
        """Return the owners of what is sent in a call of an object of the peer's.

        Args:
            perspective: For whom the call is made.
            luid: The peer's id of the object.

        Returns:
            The owners; None if they are unknown.
        """
        owner = self._perspectives.get(id(perspective))
        if owner is None:
            over = self._over.get(id(perspective))
            if over is None or over() is not perspective:
                imported = self._of_imports.get(luid)
                return self.caller if imported is None else imported[0]
            owner = _OVER
        return frozenset((owner,))

    def note_import(self, luid: int, owners: frozenset[Owner] | None) -> None:
        """Note on whose account a reference came, if that is known."""
        before, count = self._of_imports.get(luid, (_NOBODY, 0))
        if owners:
            self._of_imports[luid] = (before | owners, count + 1)
        elif count:
            self._of_imports[luid] = (before, count + 1)

    def forget_import(self, luid: int | bytes) -> None:
        """Note that one reference to an object of the peer's is gone."""
        owners, count = self._of_imports.get(luid, (_NOBODY, 0))
        if count > 1:
            self._of_imports[luid] = (owners, count - 1)
        elif count:
            del self._of_imports[luid]

    def forget_releases(self, releases: Iterable[tuple[bytes, int | bytes]]) -> None:
        """Note that the peer is told of references that are gone."""
        for verb, luid in releases:
            if verb == DECREF:
                self.forget_import(luid)

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
        self._broker.check_thread()
        owners = self._owners_for(verb, perspective, luid)
        if _are_over(owners):
            return self._broker.shell.failed(Failure(_ended()))
        with self._ownership.giving(_left(owners)):
            call = super().call(verb, perspective, luid, name, args, kw, wanted)
        if call is not None and not call.called:
            # What its answer brings is theirs as well.
            call.owners = owners
        return call

    def _read_answer(self, call: Any, expression: Any) -> Any:
        with self._ownership.giving(getattr(call, "owners", None)):
            return super()._read_answer(call, expression)

    def call_shared(
        self, verb: bytes, luid: int, name: bytes, body: bytes, wanted: bool
    ) -> Any:
        """Send a call that many get; see :meth:`Session.call_shared`."""
        owners = self._owners_for(verb, None, luid)
        if _are_over(owners):
            return self._broker.shell.failed(Failure(_ended()))
        with self._ownership.giving(_left(owners)):
            return super().call_shared(verb, luid, name, body, wanted)

    def _owners_for(
        self, verb: bytes, perspective: Any, luid: int | bytes
    ) -> frozenset[Owner] | None:
        """Return the owners of what is sent in a call; None if they are unknown."""
        ownership = self._ownership
        if verb == CACHEMESSAGE:
            # Of all who have the copy: for one of them it was made.
            return ownership.owners_of_cache(luid)
        return ownership.owners_for(perspective, luid)

    def _run(
        self,
        target: Any,
        perspective: Any,
        request: int,
        name: bytes,
        wanted: Any,
        net_args: Any,
        net_kw: Any,
    ) -> None:
        ownership = self._ownership
        with ownership.giving(None if target is None else ownership.owners_of(target)):
            super()._run(target, perspective, request, name, wanted, net_args, net_kw)

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
        self,
        failure: Failure,
        request: int,
        wanted: Any,
        served: Any,
        is_moved: bool = False,
    ) -> None:
        if _are_over(served.owners):
            # What it says may carry something.
            failure = Failure(_ended())
        with self._ownership.giving(_left(served.owners)):
            super()._fail_later(failure, request, wanted, served, is_moved)


class OwnedObservedSession(OwnedSession, ObservedSession):
    """One in which observers are told of each call as well."""

    __slots__ = ()
