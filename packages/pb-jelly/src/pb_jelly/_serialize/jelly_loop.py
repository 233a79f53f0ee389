"""This module is the jelly loop, which turns objects into s-expressions.

Theory of operation.  `Jellying._run` goes through one object with a stack of its own: a
frame holds an iterator over the values to serialize and the expression to append to.
So no depth of containers or instances makes Python recurse, except through hooks that
serialize parts of their object themselves; these are counted as levels.

Every object that can be shared is remembered by its id, with its expression, and kept
alive as long as the jellier: a temporary state made by a hook must not leave its id to
another object.  An object is given a number at its second occurrence, which is written
as ``[dereference n]``; at the end, its first expression is turned in place into
``[reference n ...]`` around itself.  Legacy peers number references in the same way, by
the order of second occurrences.

States of the loop.  The current frame is in four variables, of which *pairs* tells two
states apart:

========  ==========================  =======================================
pairs     out                         at the end of the frame
========  ==========================  =======================================
None      the expression itself       none: its items are appended in place
a list    keys and values in turn     group *out* by twos and append the pairs
                                      to *pairs*, the dictionary's expression
========  ==========================  =======================================

Values take one of four ways through it, the commonest first:

=================================  ==========================================
value                              expression
=================================  ==========================================
scalar that the policy allows      appended in place
object seen before                 ``[dereference n]``
container; instance whose state    begun in place, a new frame for its parts
is its ``__dict__``
any other                          begun by `_opened`, which may call hooks, and
                                   a new frame if it has parts
=================================  ==========================================
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from pb_jelly._deserialize.hash_limits import (
    FEW_KEYS,
    UNLIMITED_NODES,
    check_hashes,
    check_work,
    has_own_hash,
    takes_hashing,
)
from pb_jelly._policy.compiled_policy import sending_table
from pb_jelly._serialize.code_objects import CODE, write_code
from pb_jelly._serialize.size_check import check_size
from pb_jelly._serialize.type_dispatch import TypeDispatch, TypeHandler
from pb_jelly._serialize.value_path import Frame, place
from pb_jelly._sexp.atoms import (
    None_atom,
    dictionary_atom,
    frozenset_atom,
    list_atom,
    persistent_atom,
    reference_atom,
    set_atom,
    tuple_atom,
    unicode_atom,
    unpersistable_atom,
)
from pb_jelly._sexp.compiler import UNLIMITED, caused, mypyc_attr
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types import builtin_subclasses as extended
from pb_jelly._types.instance_state import check_names, state_of
from pb_jelly._types.qualified_names import qual
from pb_jelly._types.type_table import (
    BYTEARRAY,
    COPIED,
    DEQUE,
    DICT,
    ENUM,
    EXCEPTION,
    FROZENSET,
    HEADS,
    LEAVES,
    LIST,
    OBJECT,
    ORDERED,
    PLAIN,
    SELF_JELLIED,
    SET,
    SUBCLASS,
    TEXT,
    TUPLE,
)
from pb_jelly.errors import JellyError, LimitExceeded, UnjellyableType

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable, Iterator

    from pb_jelly._policy.taster import Taster
    from pb_jelly._sexp.atoms import SExp
    from pb_jelly._sexp.limits import Limits

__all__ = ["Jellying"]

#: Heads of the containers' expressions, by operation.
_HEADS: Final = {
    LIST: list_atom,
    TUPLE: tuple_atom,
    DICT: dictionary_atom,
    SET: set_atom,
    FROZENSET: frozenset_atom,
    ORDERED: b"@ordereddict",
    DEQUE: b"@deque",
}

_MAPPINGS: Final = (DICT, ORDERED)
#: Containers whose keys or members are hashed by the receiver.
_HASHING: Final = frozenset((dict, set, frozenset, OrderedDict))
_NO_KIND: Final = TypeHandler(0)

#: Number of nested hooks from which a RecursionError is reported as the fault of the
#: value, and no longer as the fault of a hook.
_DEEP: Final = 10


@mypyc_attr(allow_interpreted_subclasses=True)
class Jellying:
    """The compiled base class of `Jellier`."""

    # Class attributes, since most messages never write to them: an instance costs less.
    _is_running = False
    _level = 0
    _hooks = 0
    _deepest_hook = 0
    _deepest = 0
    _nodes = 1
    _has_frozensets = False

    def __init__(
        self,
        taster: Taster,
        persistentStore: Callable[[Any, Any], Any] | None = None,
        invoker: Any = None,
        *,
        context: Any = None,
        lenient: bool = False,
        modern: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.taster = taster
        self.persistentStore: Callable[[Any, Any], Any] | None = persistentStore
        self.invoker = invoker
        self.context = context
        self._lenient = lenient
        self._modern = modern
        self._limits = limits
        self._table = sending_table(taster, modern, lenient)
        self._kinds: TypeDispatch | None = None
        self._found: dict[type[Any], TypeHandler] = {}
        # By id: expressions of the objects that may occur again; numbers of those that
        # have; and the objects themselves, kept alive.
        self._seen: dict[int, list[Any]] = {}
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []
        # Ids of objects with a number whose expression is not turned into a reference
        # yet; and of objects whose expression a hook is still making.
        self._cooked: list[int] = []
        self._prepared: set[int] = set()
        # Largest depth, number of nodes, items of a list, bytes of a string, and bits
        # of an integer.
        self._most = (
            _UNLIMITED
            if limits is None
            else (
                limits.depth,
                limits.nodes,
                limits.list_items,
                limits.string_bytes,
                limits.prefix_bytes * 7,
            )
        )

    def jelly(self, obj: Any) -> SExp:
        """Turn an object into an expression; hooks call this for parts of theirs.

        Args:
            obj: The object.

        Returns:
            The expression.  A hook must not copy it: if its object occurs again, it is
            changed in place.

        Raises:
            InsecureJelly: The policy refuses a part of the object.
            UnjellyableType: A part of it has no expression in the form asked for.
            LimitExceeded: The object is too large.
        """
        if self._is_running:
            return self._run(obj, self._level)
        self._is_running = True
        try:
            sexp = self._run(obj, 0)
        except RecursionError as error:
            if self._deepest_hook < _DEEP:
                raise
            reached = self._deepest_hook
            refusal = LimitExceeded("depth", reached + 1, reached)
            raise caused(refusal, error) from error
        finally:
            self._is_running = False
        if self._cooked:
            self._cooked = [key for key in self._cooked if not self._refer(key)]
        limits = self._limits
        if (self._numbers or self._has_frozensets) and not self._lenient:
            self._check_work()
        if limits is not None and (
            # The loop counts roughly: an item may be up to four nodes, a container up
            # to three levels more, and each reference adds a level.  Only an expression
            # that may be over the limits is measured.
            self._nodes * 4 > limits.nodes
            or self._deepest + 3 + len(self._numbers) > limits.depth
        ):
            check_size(sexp, limits)
        return sexp

    def kind_of(self, cls: type[Any]) -> TypeHandler:
        """Return the handler of a type that is not in the table.

        Raises:
            InsecureJelly: It is a builtin type that the policy refuses.
        """
        if cls not in self._found:
            self._found[cls] = self._types().find(cls)
        return self._found[cls]

    def prepare(self, object: Any) -> list[Any]:
        """Begin the expression of an object that its parts may refer to.

        Args:
            object: The object.

        Returns:
            An empty list, to be extended to the expression.
        """
        sexp: list[Any] = []
        self._seen[id(object)] = sexp
        self._kept.append(object)
        self._prepared.add(id(object))
        return sexp

    def preserve(self, object: Any, sexp: Any) -> SExp:
        """Complete the expression of an object, so that it can be referred to.

        Args:
            object: The object.
            sexp: Its expression; as a rule the list that `prepare` returned.

        Returns:
            The expression to use.
        """
        made: list[Any] = sexp if type(sexp) is list else list(sexp)
        key = id(object)
        self._seen[key] = made
        self._kept.append(object)
        self._prepared.discard(key)
        if not self._is_running and key in self._cooked:
            self._cooked.remove(key)
            self._refer(key)
        return made

    def unpersistable(
        self, reason: str | bytes, sxp: list[Any] | None = None
    ) -> list[Any]:
        """Return a placeholder expression for an object that is not sent.

        Args:
            reason: Reason for the receiver's program.
            sxp: A list to extend to the expression; None for a new one.
        """
        sexp = [] if sxp is None else sxp
        sexp.append(unpersistable_atom)
        sexp.append(reason.encode("utf-8") if isinstance(reason, str) else reason)
        return sexp

    def _refer(self, key: int) -> bool:
        """Turn an expression into a reference, unless a hook is still making it.

        Returns:
            True if it is a reference now.
        """
        if key in self._prepared:
            return False
        sexp = self._seen[key]
        sexp[:] = [reference_atom, self._numbers[key], sexp[:]]
        return True

    # The loop and its parts.

    def _run(self, obj: Any, level: int) -> SExp:  # noqa: C901
        """Serialize an object whose expression is an item of a list at a level.

        The module's docstring has the states.  An error leaves the frames unchanged, so
        that the path to the value can be read off them.
        """
        # Local names: each attribute read in the loop would cost a lookup per value.
        types = self._table.types
        kinds = self._found
        text, none, truth = self._table.scalars
        store = self.persistentStore
        seen, kept, numbers = self._seen, self._kept, self._numbers
        depth, most_nodes, most_items, most_bytes, most_bits = self._most
        deepest = self._deepest
        left = most_nodes - self._nodes
        stack: list[Frame] = []
        it: Iterator[Any] = iter((obj,))
        out: list[Any] = []
        pairs: list[Any] | None = None
        try:
            while True:
                if level >= depth:
                    # Checked once for the whole frame, not for each value.
                    it = self._checked(it, out, level)
                for x in it:
                    # In the order of frequency.  *text*, *none* and *truth* are types
                    # without values where the policy refuses the scalar.
                    cls = type(x)
                    if cls is text:
                        try:
                            raw = x.encode()
                        except UnicodeEncodeError:
                            out.append(self._leaf(TEXT, x))
                            continue
                        if len(raw) > most_bytes:
                            raise LimitExceeded("string_bytes", len(raw), most_bytes)
                        out.append([b"unicode", raw])
                        continue
                    if cls is int:
                        if x.bit_length() > most_bits:
                            raise _too_many_digits(x, most_bits)
                        out.append(x)
                        continue
                    if cls is none:
                        out.append([b"None"])
                        continue
                    if cls is truth:
                        out.append([b"boolean", b"true" if x else b"false"])
                        continue
                    if cls is bytes:
                        if len(x) > most_bytes:
                            raise LimitExceeded("string_bytes", len(x), most_bytes)
                        out.append(x)
                        continue
                    if cls is float:
                        out.append(x)
                        continue
                    key = id(x)
                    if key in seen:
                        # Only a frozenset cannot be made before the members that are
                        # within it, so messages without one skip the search.
                        if self._has_frozensets and not self._lenient:
                            self._check_member(x, [*stack, (it, out, pairs, level)])
                        number = numbers.get(key)
                        if number is None:
                            number = numbers[key] = len(numbers) + 1
                            self._cooked.append(key)
                        out.append([b"dereference", number])
                        continue

                    # One lookup in the compiled policy; a class of a program is found
                    # by its handler, which is kept for the message.
                    op = types.get(cls, 0)
                    kind = _NO_KIND
                    if not op:
                        kind = kinds.get(cls) or self.kind_of(cls)
                        op = kind.op
                    below = level + 1
                    is_mapping = False
                    if LIST <= op <= DEQUE:
                        size = len(x)
                        if size >= most_items:
                            raise LimitExceeded("list_items", size + 1, most_items)
                        if op >= DICT:
                            if size > FEW_KEYS and op != DEQUE:
                                self._check_keys(x)
                            if op == FROZENSET and size:
                                self._has_frozensets = True
                        made: Any = [_HEADS[op]]
                        seen[key] = made
                        kept.append(x)
                        inner, parts = made, x
                        is_mapping = op in _MAPPINGS
                        if is_mapping:
                            left -= 2 * size
                        elif op == DEQUE:
                            made.append(_maxlen(x))
                        left -= size + 1
                    elif (
                        op == PLAIN
                        and (store is None or kind.keeps_empty)
                        and (state := x.__dict__)
                        and id(state) not in seen
                    ):
                        # An instance and its state in one step: no code of the program
                        # runs, so two frames would only cost time.
                        if len(state) >= most_items:
                            used = len(state) + 1
                            raise LimitExceeded("list_items", used, most_items)
                        check_names(cls, state)
                        inner = [b"dictionary"]
                        made = [kind.tag, inner]
                        seen[key] = made
                        seen[id(state)] = inner
                        kept += (x, state)
                        parts = state
                        is_mapping = True
                        below += 1
                        left -= 3 * len(state) + 3
                    else:
                        self._nodes = most_nodes - left
                        made, parts = self._opened(x, op, kind, below)
                        inner = made
                        left = most_nodes - self._nodes
                    # Limits are checked before the parts are serialized, so that a
                    # value over them costs no more than the limits allow.
                    if left < 0:
                        raise LimitExceeded("nodes", most_nodes - left, most_nodes)
                    if below > deepest:
                        deepest = below
                        if below > depth:
                            raise LimitExceeded("depth", below, depth)
                    if is_mapping and parts and below == depth:
                        raise LimitExceeded("depth", below + 1, depth)
                    out.append(made)
                    if parts:
                        # Serialize the parts now: the order of second occurrences, and
                        # with it the numbers, must be that of the wire.
                        stack.append((it, out, pairs, level))
                        if is_mapping:
                            it = chain.from_iterable(parts.items())
                            out, pairs, level = [], inner, below + 1
                        else:
                            it = iter(parts)
                            out, pairs, level = inner, None, below
                        break
                else:
                    # The end of a frame: go on with the outer one.
                    if pairs is not None:
                        flat = iter(out)
                        pairs.extend(map(list, zip(flat, flat)))  # noqa: B905
                    if not stack:
                        break
                    it, out, pairs, level = stack.pop()
        except JellyError as error:
            frame = (it, out, pairs, level)
            error.with_prefix(place(stack, frame, is_state=self._hooks > 0))
            raise
        self._nodes = most_nodes - left
        self._deepest = max(self._deepest, deepest)
        result: SExp = out[0]
        return result

    def _opened(
        self, x: Any, op: int, kind: TypeHandler, level: int
    ) -> tuple[Any, Any]:
        """Begin the expression of a value that the loop does not handle in place.

        Returns:
            The expression, and a tuple of the parts to serialize and append to it; None
            if it has no parts.
        """
        made: Any
        parts: tuple[Any, ...] | None = None
        outer, self._level = self._level, level
        try:
            if op in LEAVES:
                made = self._leaf(op, x)
            elif op in CODE:
                made, parts = write_code(
                    op, x, self.taster, self._types(), lenient=self._lenient
                )
            elif op == SELF_JELLIED:
                made = self._hooked(x)
            elif kind.keeps_empty:
                made = self._registered(x, [kind.tag])
                parts = (x.getStateFor(self),)
            else:
                made, parts = self._instance(x, op, kind)
        finally:
            self._level = outer
        if type(made) is list:
            self._nodes += len(made) + len(parts or ())
        return made, parts

    def _check_keys(self, keys: Iterable[Any]) -> None:
        """Refuse keys or members that the receiver would refuse for equal hashes."""
        if not self._lenient:
            check_hashes(list(keys))

    def _check_member(self, x: Any, stack: list[Frame]) -> None:
        """Refuse a frozenset within the state of one of its members.

        The receiver could make neither of the two before the other.

        Args:
            x: An object that occurs again.
            stack: The frames around it, outermost first.
        """
        if not _is_in_frozenset(stack):
            return
        todo = [x]
        for part in todo:
            if type(part) is tuple or type(part) is frozenset:
                todo.extend(part)
                continue
            made = self._seen.get(id(part))
            if made is not None and has_own_hash(type(part)) and _is_open(made, stack):
                name = shown(qual(type(part)))
                raise UnjellyableType(
                    f"a frozenset within the state of a member of it, of {name}"
                )

    def _check_work(self) -> None:
        """Refuse keys and members that would take the receiver too long to hash.

        Only shared keys take longer to hash than to write, and only frozensets take
        longer to compare.
        """
        kept = self._kept
        if self._has_frozensets or _shares_keys(kept, self._numbers):
            limits = self._limits
            nodes = UNLIMITED_NODES if limits is None else 2 * limits.nodes
            check_work([x for x in kept if type(x) in _HASHING], nodes)

    def _types(self) -> TypeDispatch:
        """Return the dispatch by type, made at first use."""
        if self._kinds is None:
            self._kinds = TypeDispatch(
                self.taster, self._table, self._modern, self._lenient
            )
        return self._kinds

    def _registered(self, x: Any, made: list[Any]) -> list[Any]:
        """Note the expression of an object that may occur again, and return it."""
        self._seen[id(x)] = made
        self._kept.append(x)
        return made

    def _leaf(self, op: int, x: Any) -> list[Any]:
        """Return the expression of a leaf."""
        if op == TEXT and self._modern and self._types().allows_head(b"@str"):
            op = HEADS[True][b"@str"]
        dump = LEAVES[op].dump
        assert dump is not None
        most_bytes, most_bits = self._most[3:]
        made = dump(x, most_bits)
        for part in made:
            if type(part) is bytes:
                if len(part) > most_bytes:
                    raise LimitExceeded("string_bytes", len(part), most_bytes)
            elif type(part) is int and part.bit_length() > most_bits:
                raise _too_many_digits(part, most_bits)
        return self._registered(x, made) if op == BYTEARRAY else made

    def _hooked(self, x: Any) -> Any:
        """Let an object make its own expression."""
        self._hooks += 1
        self._deepest_hook = max(self._deepest_hook, self._hooks)
        self._deepest = max(self._deepest, self._level)
        try:
            made = x.jellyFor(self)
        finally:
            self._hooks -= 1
        if type(made) in (bytes, int, float):
            return made
        if not isinstance(made, (list, tuple)) or not made:
            raise UnjellyableType(
                f"jellyFor of {shown(qual(type(x)))} returned {shown(made)}"
            )
        if len(made) > self._most[2]:
            raise LimitExceeded("list_items", len(made), self._most[2])
        if id(x) in self._prepared or (type(made) is not list and id(x) in self._seen):
            return self.preserve(x, made)
        return made if type(made) is list else list(made)

    def _instance(self, x: Any, op: int, kind: TypeHandler) -> tuple[list[Any], Any]:
        """Begin the expression of an instance of a class that is not builtin."""
        if self.persistentStore is not None:
            key = self.persistentStore(x, self)
            if key is not None:
                if type(key) is str:
                    key = [unicode_atom, key.encode("utf-8")]
                return self._registered(x, [persistent_atom, key]), None
        if op == COPIED:
            assert kind.copier is not None
            made = self._registered(x, [kind.tag])
            return made, (kind.copier.state_of(x),)
        if op in (OBJECT, PLAIN):
            made = self._registered(x, [kind.tag])
            return made, (state_of(x),)
        if op == SUBCLASS:
            value = extended.plain_value(x, kind.base)
            made = self._registered(x, [b"@object", kind.tag])
            return made, (value, state_of(x))
        if op == EXCEPTION:
            parts = extended.exception_parts(x)
            return self._registered(x, [b"@exception", kind.tag]), parts
        if op == ENUM:
            return [b"@enum", kind.tag, extended.enum_key(x)], None
        if not self._lenient:
            raise kind.refused()
        reason = f"instance of class {qual(type(x))} deemed insecure"
        return self._registered(x, self.unpersistable(reason)), None

    def _checked(self, it: Iterator[Any], out: list[Any], level: int) -> Iterator[Any]:
        """Refuse values other than atoms in a frame at the largest depth.

        Args:
            it: The values to serialize.
            out: The list that their expressions are appended to.
            level: The level of that list.

        Returns:
            An iterator over the same values.
        """
        parts = list(it)
        for part in parts:
            if type(part) not in (int, float, bytes):
                raise LimitExceeded("depth", level + 1, self._most[0])
            # The path of the error counts the values before it.
            out.append(part)
        del out[-len(parts) :]
        return iter(parts)


_UNLIMITED: Final = (UNLIMITED,) * 5


def _is_in_frozenset(frames: list[Frame]) -> bool:
    """Return True if the current value is in a frozenset, directly or within tuples.

    Args:
        frames: All frames, outermost first.
    """
    head: Any = tuple_atom
    index = len(frames)
    while head == tuple_atom:
        # The outermost expression is empty, and is no tuple.
        index -= 1
        _, out, pairs, _ = frames[index]
        head = out[0] if out and pairs is None else None
    return bool(head == frozenset_atom)


def _is_open(made: list[Any], frames: list[Frame]) -> bool:
    """Return True if parts of an expression are still being serialized.

    Args:
        made: The expression.
        frames: All frames.
    """
    for _, out, pairs, _ in frames:
        if out is made:
            return True
        for item in made:
            if item is pairs:
                return True
    return False


def _shares_keys(kept: list[Any], numbers: dict[int, int]) -> bool:
    """Return True if a shared object does not cache the hash of its parts."""
    return any(id(x) in numbers and takes_hashing(type(x)) for x in kept)


def _too_many_digits(number: int, bits: int) -> LimitExceeded:
    """Return the error for an integer of more bits than the limit."""
    return LimitExceeded("prefix_bytes", (number.bit_length() + 6) // 7, bits // 7)


def _maxlen(value: deque[Any]) -> SExp:
    """Return the expression for the ``maxlen`` of a deque."""
    return [None_atom] if value.maxlen is None else value.maxlen
