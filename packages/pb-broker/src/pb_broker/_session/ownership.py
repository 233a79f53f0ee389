"""This module defines ownership: references belong to owners and end with them.

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

A connection without owners pays nothing for it: they are a hook of the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, Protocol, cast
from weakref import ref

from twisted.python.failure import Failure

from pb_banana.extending import Path
from pb_broker._dialects.message_codec import Served
from pb_broker._objects.identity import process_unique_id
from pb_broker.errors import Error

from .exports import CacheTable, ExportTable
from .session_hooks import SessionHooks

__all__ = ["Owner", "Ownership"]


class OwnedSession(Protocol):
    """A session, as far as owners need it.

    Attributes:
        caches: Cached copies, there and here.
        exports: Objects that the peer can call.
        ownership: The table of owners; None until the first of them.
    """

    ownership: Ownership | None

    @property
    def caches(self) -> CacheTable: ...
    @property
    def exports(self) -> ExportTable: ...
    @property
    def pending(self) -> dict[int, Any]:
        """Calls from here that wait for an answer, by number."""
        ...

    def target(self, luid: int | bytes, to_copy: bool) -> Any:
        """Return the object that the peer calls; None if there is none."""
        ...

    def failed(self, failure: Failure) -> Any:
        """Return the failed answer of a call that is not made."""
        ...

    def set_owners(self, ownership: Ownership) -> None:
        """Have owners take part in the steps of calls."""

    def exported_no_more(self, instance: object) -> None:
        """Clean up after an object that the peer has no more."""

    def take_back_cache(self, luid: int) -> None:
        """Send no more updates of an object to a peer that has a cache of it."""


class OwnedConnection(Protocol):
    """A broker, as far as owners need it."""

    @property
    def session(self) -> OwnedSession: ...


class Owner:
    """An owner of references and caches that the peer was given.

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


#: The owners of references that are never taken back.
_NOBODY: Final[frozenset[Owner]] = frozenset()

#: The ownership of the call that is being run, and the owners of its object.
_caller: ContextVar[tuple[Ownership | None, frozenset[Owner] | None]] = ContextVar(
    "pb_broker_caller", default=(None, None)
)

#: An owner that is over.
_OVER: Final = Owner()
_OVER.is_over = True


class _Served(tuple[Any, ...]):
    """The beneficiary of a value, and the owners of references in it."""

    owners: frozenset[Owner] | None


class Ownership(SessionHooks):
    """The owners of the references that the peer of one connection was given.

    Args:
        session: The connection's session.

    Attributes:
        was_called: Whether the peer has called anything that it was given since
            somebody asked.
    """

    def __init__(self, session: OwnedSession) -> None:
        self._session = session
        self._owners: dict[Owner, None] = {}
        self._perspectives: dict[int, Owner] = {}
        # Perspectives of owners that are over, by id, held weakly.
        self._over: dict[int, ref[object]] = {}
        self._of_exports: dict[int, frozenset[Owner]] = {}
        self._of_caches: dict[int, frozenset[Owner]] = {}
        # The owners of the peer's objects, and how many references there are to each.
        self._of_imports: dict[int | bytes, tuple[frozenset[Owner], int]] = {}
        self.was_called: bool = False

    @property
    def caller(self) -> frozenset[Owner] | None:
        """Owners of the object whose method is being run; None if unknown."""
        ownership, owners = _caller.get()
        return owners if ownership is self else None

    @classmethod
    def of(cls, broker: OwnedConnection) -> Ownership:
        """Return the owners of a connection, which has them from now on.

        Args:
            broker: The connection's broker.
        """
        session = broker.session
        if session.ownership is None:
            session.set_owners(cls(session))
        assert session.ownership is not None
        return session.ownership

    def add(self, owner: Owner, perspective: object) -> None:
        """Add an owner, with the perspective for which references are given."""
        self._owners[owner] = None
        self._perspectives[id(perspective)] = owner
        self._over.pop(id(perspective), None)

    def take_back(self, owner: Owner, perspective: object) -> None:
        """Take back the references that belong to one owner alone.

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
        session = self._session
        for luid in list(owner.exports):
            if _is_left(self._of_exports, luid, owner):
                instance = session.exports.unregister(luid)
                session.exported_no_more(instance)
        for luid in list(owner.caches):
            if _is_left(self._of_caches, luid, owner):
                session.take_back_cache(luid)

    def _note_over(self, perspective: object) -> None:
        """Note that values are sent for a perspective no more."""
        number = id(perspective)
        with suppress(TypeError):
            # An instance without weak references cannot be noted.
            self._over[number] = ref(
                perspective, lambda _: self._over.pop(number, None)
            )

    def giving_to_nobody(self) -> AbstractContextManager[None]:
        """Have references that are given meanwhile stay, without owners."""
        return self.giving(_NOBODY)

    @contextmanager
    def giving(self, owners: frozenset[Owner] | None) -> Iterator[None]:
        """Have references that are given meanwhile belong to ``owners``."""
        token = _caller.set((self, owners))
        try:
            yield
        finally:
            _caller.reset(token)

    @property
    def current(self) -> frozenset[Owner]:
        """The owners of references that are given now."""
        owners = _left(self.caller)
        return frozenset(self._owners) if owners is None else owners

    def owners_of(self, target: object) -> frozenset[Owner] | None:
        """Return the owners of an object that is called; None if unknown."""
        luid = self._session.exports.luids.get(process_unique_id(target))
        return None if luid is None else self._of_exports.get(luid)

    def owners_of_export(self, luid: int | bytes) -> frozenset[Owner] | None:
        """Return the owners of an object that the peer can call; None if unknown."""
        return self._of_exports.get(luid) if isinstance(luid, int) else None

    def owners_of_call(self, request: int) -> frozenset[Owner] | None:
        """Return the owners of a call that waits for an answer; None if unknown."""
        call = self._session.pending.get(request)
        owners: frozenset[Owner] | None = getattr(call, "owners", None)
        return owners

    def owners_of_cache(self, luid: int | bytes) -> frozenset[Owner] | None:
        """Return the owners of an object that the peer keeps a cache of."""
        return self._of_caches.get(luid) if isinstance(luid, int) else None

    def owners_for(
        self, perspective: object, luid: int | bytes | Path
    ) -> frozenset[Owner] | None:
        """Return the owners of the arguments in a call of an object of the peer's.

        Args:
            perspective: For whom the call is made.
            luid: The peer's id of the object, or its path in an answer.

        Returns:
            The owners; None if they are unknown.
        """
        owner = self._perspectives.get(id(perspective))
        if owner is None:
            over = self._over.get(id(perspective))
            if over is None or over() is not perspective:
                if isinstance(luid, tuple):
                    # A part of an answer that is on its way.
                    return self.owners_of_call(cast(int, luid[0])) or self.caller
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

    def import_ended(self, luid: int | bytes) -> None:
        """Note that one reference to an object of the peer's is given back."""
        owners, count = self._of_imports.get(luid, (_NOBODY, 0))
        if count > 1:
            self._of_imports[luid] = (owners, count - 1)
        elif count:
            del self._of_imports[luid]

    def imported(
        self,
        luid: int,
        called: int | bytes | None,
        answered: int | None,
        stream: int | None = None,
    ) -> None:
        """Note on whose account a reference came."""
        if called is not None:
            owners = self.owners_of_export(called)
        elif answered is not None:
            owners = self.owners_of_call(answered)
        elif stream is not None:
            owners = self._of_imports.get(stream, (None, 0))[0]
        else:
            owners = self.caller
        self.note_import(luid, owners)

    def exported(self, luid: int, is_new: bool) -> None:
        """Note to whom an object belongs that goes to the peer."""
        _give(self._of_exports, luid, self.current, "exports", is_new=is_new)

    def cached(self, luid: int, is_new: bool) -> None:
        """Note to whom a cached object belongs that goes to the peer."""
        _give(self._of_caches, luid, self.current, "caches", is_new=is_new)

    def export_ended(self, luid: int) -> None:
        """Note that the peer has an object no more."""
        for owner in self._of_exports.pop(luid, _NOBODY):
            owner.exports.discard(luid)

    def cache_ended(self, luid: int) -> None:
        """Note that the peer has a cached object no more."""
        for owner in self._of_caches.pop(luid, _NOBODY):
            owner.caches.discard(luid)

    # Steps of calls

    def calling(
        self,
        luid: int | bytes | Path,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        perspective: Any,
        send: Callable[[], Any],
    ) -> Any:
        """Send a call on its owners' account; have it fail if they are all over."""
        if to_copy and not isinstance(luid, tuple):
            # Updates belong to all owners of the copy: one of them caused it.
            owners = self.owners_of_cache(luid)
        else:
            owners = self.owners_for(perspective, luid)
        if _are_over(owners):
            return self._session.failed(Failure(_ended()))
        with self.giving(_left(owners)):
            call = send()
        if call is not None and not call.called:
            # References in the answer are theirs as well.
            call.owners = owners
        return call

    def reading_answer(self, call: Any, read: Callable[[], Any]) -> Any:
        """Read an answer on the account of the call's owners."""
        with self.giving(getattr(call, "owners", None)):
            return read()

    def reading_call(
        self, luid: int | bytes, to_copy: bool, proceed: Callable[[], None]
    ) -> None:
        """Read the arguments of a call on the account of its object's owners."""
        with self.giving(self._owners_called(luid, to_copy)):
            proceed()

    def serving(
        self,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        proceed: Callable[[], None],
    ) -> None:
        """Make a call on the account of its object's owners."""
        with self.giving(self._owners_called(luid, to_copy)):
            proceed()

    def _owners_called(
        self, luid: int | bytes, to_copy: bool
    ) -> frozenset[Owner] | None:
        """Return the owners of the object that the peer calls, and note the call."""
        target = self._session.target(luid, to_copy)
        if target is None:
            return None
        # Neither well-known names nor missing objects, which heartbeats call.
        if type(luid) is int and not to_copy:
            self.was_called = True
        return self.owners_of(target)

    def waiting(self, served: Served) -> Served:
        """Note the owners of a result that has yet to come."""
        owned = _Served(served)
        owned.owners = self.caller
        return owned

    def answering(
        self, result: Any, served: Served, proceed: Callable[[], None]
    ) -> Failure | None:
        """Answer on the account of the call's owners; not if they are all over."""
        owners = served.owners if isinstance(served, _Served) else self.caller
        if _are_over(owners):
            # A stream, say, from which no items will be taken.
            self._session.exported_no_more(result)
            return Failure(_ended())
        with self.giving(_left(owners)):
            proceed()
        return None

    def failing(
        self, failure: Failure, served: Served, proceed: Callable[[Failure], None]
    ) -> None:
        """Tell of a failure on the account of the call's owners."""
        owners = served.owners if isinstance(served, _Served) else None
        if _are_over(owners):
            # The failure may carry references.
            failure = Failure(_ended())
        with self.giving(_left(owners)):
            proceed(failure)


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
            # It has no owners, and stays so.
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
    """Take an owner from a reference; tell whether no owner is left."""
    owners = table.get(luid)
    if owners is None:
        # It went while others were taken back.
        return False
    if owners != {owner}:
        table[luid] = owners - {owner}
        return False
    del table[luid]
    return True


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
