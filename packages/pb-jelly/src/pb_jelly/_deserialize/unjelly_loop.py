"""This module is the unjelly loop, which turns s-expressions into objects.

Theory of operation.  `Unjellying._run` reads one expression with a stack of its own: a
frame holds an iterator over the expressions to read, the values read so far, and the
container to fill at the end.  So a peer's nesting never makes Python recurse, except
through hooks that ask for a part of their expression; these are counted as levels.

The head of an expression is looked up in the table of the policy: a head found there is
allowed, and its operation is the branch to take.  A list, dict, set or instance is
handed on, and can be referred to, before it is filled.  `ForwardReferences` takes care
of the objects that cannot be, and of the steps that wait for them.

States of the loop.  The current frame is in five variables; its kind says what *values*
and *filled* are, and what happens at its end:

=========  ==================  ======================  ================================
kind       values              filled                  at the end of the frame
=========  ==================  ======================  ================================
ROOT       the one result      None                    return the result
LIST       the list itself     None                    none: it was filled in place
WAITING    all items           list, blank from the    extend the list once all items
                               first unknown item on   are known
DICT       keys and values     blank dict              put the pairs in
           in turn
SET        members             blank set               put the members in
FROZENSET  members             number or None          make the frozenset
TUPLE      items               number or None          make the tuple
DEQUE      items               blank deque             extend it
OBJECT     the state           (target, instance,      give the instance its state
                               number, mark)
BUILD      parts               the `Build`             make or fill the object; go on
                                                       with further parts if it has any
=========  ==================  ======================  ================================

From LIST there is one transition, to WAITING, at the first item that is not known yet.
The kinds SET, FROZENSET, TUPLE and DEQUE are those of the table of types; all of LIST,
DICT, SET, DEQUE, OBJECT and a blank BUILD are among the values of the outer frame from
their beginning, TUPLE, FROZENSET and any other BUILD are appended there at their end.
"""

from __future__ import annotations

import sys
import warnings
from collections import OrderedDict, deque
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from pb_jelly._deserialize.forward_references import Pending, known
from pb_jelly._deserialize.hash_limits import (
    FEW_KEYS,
    UNLIMITED_NODES,
    check_hashes,
    hashed,
    not_hashed,
)
from pb_jelly._deserialize.rare_forms import ABSENT, Build, open_special
from pb_jelly._deserialize.references import (
    References,
    Running,
    check_dereference,
    is_number,
)
from pb_jelly._deserialize.value_path import BUILD, ROOT, WAITING, Frame, place
from pb_jelly._policy.class_lookup import Resolver, head_of, headless
from pb_jelly._policy.compiled_policy import (
    FACTORY,
    GENERIC,
    HOOK,
    STATE,
    Target,
    table_for,
)
from pb_jelly._sexp.atoms import None_atom, class_atom, dereference_atom, reference_atom
from pb_jelly._sexp.compiler import UNLIMITED, caused, mypyc_attr
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types.type_table import (
    DEQUE,
    DEREFERENCE,
    DICT,
    FROZENSET,
    INSTANCE,
    LEAVES,
    LIST,
    OBJECT,
    ORDERED,
    REFERENCE,
    SET,
    TEXT,
    TUPLE,
)
from pb_jelly.errors import JellyError, LimitExceeded, MalformedJelly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pb_jelly._policy.taster import Taster
    from pb_jelly._sexp.limits import Limits

__all__ = ["Unjellying"]

#: Number of nested hooks from which a RecursionError is reported as the fault of the
#: expression, and no longer as the fault of a hook.
_DEEP: Final = 10


@mypyc_attr(allow_interpreted_subclasses=True)
class Unjellying:
    """The compiled base class of `Unjellier`."""

    # Class attributes, since most messages never write to them: an instance costs less.
    _deepest_hook = 0
    _level = 0
    _is_running = False
    _has_warned = False

    def __init__(
        self,
        taster: Taster,
        persistentLoad: Callable[[Any, Any], Any] | None = None,
        invoker: Any = None,
        *,
        context: Any = None,
        types: Mapping[bytes, Any] | None = None,
        modern: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.taster = taster
        self.persistentLoad = persistentLoad
        self.invoker = invoker
        self.context = context
        self._table = table_for(taster, modern)
        self._types = types
        self._modern = modern
        self._resolver: Resolver | None = None
        self._depth = UNLIMITED if limits is None else limits.depth
        # Twice the nodes: a value is counted once when it is put off, and once when it
        # is hashed.
        nodes = UNLIMITED_NODES if limits is None else 2 * limits.nodes
        self._references = References(nodes)
        self._hooks: list[Running] = []
        self._callbacks: list[Callable[[], Any]] = []

    def unjellyFull(self, sexp: Any) -> Any:
        """Turn an expression into an object, and call ``postUnjelly`` of its instances.

        Args:
            sexp: The expression.

        Returns:
            The object.  ``postUnjelly()`` has been called on every instance in it whose
            class has such a method.

        Raises:
            JellyError: As `unjelly`.
        """
        value = self.unjelly(sexp)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
        return value

    def unjelly(self, sexp: Any) -> Any:
        """Turn an expression into an object; hooks call this for parts of theirs.

        Args:
            sexp: The expression.

        Returns:
            The object; an expression that is not a list is its own object.  A list or a
            dict in a cycle that is still being read is filled later on.

        Raises:
            InsecureJelly: The policy refuses a part of the expression.
            MalformedJelly: The expression is not the jelly of any object; or a hook has
                asked for a part that does not exist yet, as in a cycle through a tuple
                (see `unjelly_state`).
            LimitExceeded: The expression is too deep.
        """
        if not isinstance(sexp, list):
            return sexp
        if type(sexp) is not list:
            sexp = list(sexp)
        if self._is_running:
            value = known(self._run(sexp, self._level))
            if type(value) is Pending:
                raise MalformedJelly("a part that is known only when the whole is made")
            return value
        self._is_running = True
        try:
            value = self._run(sexp, 0)
        except RecursionError as error:
            if self._deepest_hook < _DEEP:
                raise
            reached = self._deepest_hook
            refusal = LimitExceeded("depth", reached + 1, reached)
            raise caused(refusal, error) from error
        finally:
            self._is_running = False
        self._references.check()
        return known(value)

    def unjellyInto(self, obj: Any, loc: Any, jel: Any) -> Any:
        """Turn an expression into an object and put that into a container.

        Args:
            obj: The container.  The item is assigned at once or, for an object that is
                known only after the whole is made, later.
            loc: The key or index.
            jel: The expression.

        Returns:
            The object; None while it is not known.

        Raises:
            JellyError: As `unjelly`.
        """
        result: list[Any] = [None]
        self.unjelly_state(jel, _putting(obj, loc, result))
        return result[0]

    def unjelly_state(self, sexp: Any, setter: Callable[[Any], Any]) -> None:
        """Turn an expression into the state of an object, and set it once it is known.

        Hooks should use this for the state of their object.  In a cycle through a
        tuple, or through another object that does not exist before its parts do, the
        state is known only after the hook has returned.

        Args:
            sexp: The expression.
            setter: Called with the state: at once, or as soon as all parts of the state
                are known.

        Raises:
            JellyError: As `unjelly`.
        """
        if not self._is_running:
            setter(self.unjelly(sexp))
            return
        mark = len(self._references.forward.steps)
        value = self._run(sexp, self._level)
        forward = self._references.forward
        if not forward.is_needed:
            setter(value)
            return
        step = forward.when_known([value], _with_first(setter), mark)
        if type(step) is Pending and self._hooks:
            self._hooks[-1].waits.append(step)

    def announce(self, obj: Any) -> None:
        """Replace the blank instance of the running hook by the object it will return.

        A hook calls this before it unjellies any state, so that references in the state
        to the object find the right one.

        Args:
            obj: The object.

        Raises:
            MalformedJelly: The blank instance has been referred to already.
        """
        running = self._hooks[-1] if self._hooks else None
        if running is not None and running.number is not None:
            self._references.redefine(running, running.number, obj)
            self._references.unfinished[running.number] = running

    # The loop.

    def _run(self, sexp: Any, level: int) -> Any:  # noqa: C901
        """Read one expression, which is an item of a list at a level.

        The module's docstring has the states.  An error leaves the frames unchanged, so
        that the path to the value can be read off them.  At the end of a frame *x* is
        None: an error then concerns the frame as a whole.

        Returns:
            The object, or a `Pending` for it.
        """
        heads = self._table.heads
        targets = self._table.targets
        references = self._references
        objects = references.objects
        unfinished = references.unfinished
        depth = self._depth
        stack: list[Frame] = []
        it: Iterator[Any] = iter((sexp,))
        values: list[Any] = []
        kind = ROOT
        filled: Any = None
        x: Any = None
        try:
            while True:
                if level >= depth:
                    # Checked once for the whole frame, not for each item.
                    it = self._checked(it, values, level)
                for x in it:
                    # In the order of frequency: atoms, text, references, the rest.
                    if type(x) is not list:
                        values.append(x)
                        continue
                    try:
                        # A list as head is unhashable, hence the TypeError.
                        op = heads.get(x[0])
                    except (IndexError, TypeError):
                        raise caused(headless(x), None) from None
                    if op == TEXT:
                        try:
                            # The right form needs no check; any other goes to `_leaf`,
                            # which has the error.
                            _, raw = x
                            values.append(raw.decode())
                        except (AttributeError, TypeError, ValueError):
                            values.append(_leaf(TEXT, x))
                        continue
                    if op == DEREFERENCE:
                        try:
                            _, number = x
                            value = objects[number]
                        except (KeyError, TypeError, ValueError):
                            value = references.not_defined(x)
                        else:
                            if type(number) is not int:
                                # A float finds the object of the equal int.
                                check_dereference(x)
                            if number in unfinished or type(value) not in _UNWATCHED:
                                value = references.watched(number, value)
                        if type(value) is Pending and kind == LIST:
                            # The list itself must never hold a placeholder, since it
                            # has been handed on: collect in a copy from here on.
                            filled, values, kind = values, values[:], WAITING
                        values.append(value)
                        continue
                    if op is None:
                        # An unknown head: a policy with methods is asked about the
                        # word, after which the expression is read again.
                        again = self._names().learned(x)
                        if again is not None:
                            it = chain((again,), it)
                            break
                    # Each list of the wire is a level, so a reference around an
                    # expression is one, and so are the pairs of a dictionary.
                    below = level + 1
                    number = None
                    if op == REFERENCE:
                        number, x, op = self._referred(x)
                        below += 1
                        if type(x) is not list:
                            references.define(number, x)
                            values.append(x)
                            continue
                    if below > depth:
                        raise LimitExceeded("depth", below, depth)
                    target = None
                    if op == OBJECT:
                        target = targets[x[0]]
                    elif op is None:
                        target = self._names().target(x[0])
                    elif op == INSTANCE:
                        target, x = self._old_instance(x, level)

                    # ``or`` instead of ``in``: compiled, it compares machine integers.
                    if op == DICT or op == ORDERED:  # noqa: SIM109
                        # The pairs are checked before the blank dict is defined, so
                        # that a malformed one leaves no trace in the references.
                        pairs = x[1:]
                        for pair in pairs:
                            if type(pair) is not list or len(pair) != 2:
                                raise MalformedJelly("a dictionary of other than pairs")
                        if pairs and below == depth:
                            raise LimitExceeded("depth", below + 1, depth)
                        value = {} if op == DICT else OrderedDict()
                        if number is not None:
                            references.define(number, value)
                        values.append(value)
                        if pairs:
                            stack.append((it, values, kind, filled, level))
                            it = chain.from_iterable(pairs)
                            values, kind, filled, level = [], DICT, value, below + 1
                            break
                    elif op == LIST:
                        value = x[1:]
                        # A list of atoms is its own value and needs no frame.
                        if list not in map(type, value):
                            if number is not None:
                                references.define(number, value)
                            values.append(value)
                            continue
                        parts = value
                        value = []
                        if number is not None:
                            references.define(number, value)
                        values.append(value)
                        stack.append((it, values, kind, filled, level))
                        it = iter(parts)
                        values, kind, filled, level = value, LIST, None, below
                        break
                    elif target is not None and target.kind >= STATE:
                        _check_state(x)
                        value = _blank(target.make)
                        if number is not None:
                            references.define_blank(number, value)
                        values.append(value)
                        stack.append((it, values, kind, filled, level))
                        it = iter((x[1],))
                        filled = (target, value, number, len(references.forward.steps))
                        values, kind, level = [], OBJECT, below
                        break
                    elif op == TUPLE or op == FROZENSET:  # noqa: SIM109
                        if op == TUPLE and list not in map(type, x):
                            value = tuple(x[1:])
                            if number is not None:
                                references.define(number, value)
                            values.append(value)
                            continue
                        stack.append((it, values, kind, filled, level))
                        it = iter(x)
                        next(it)
                        values, kind, filled, level = [], op, number, below
                        break
                    elif op == SET or op == DEQUE:  # noqa: SIM109
                        value, parts = (set(), x[1:]) if op == SET else _deque(x)
                        if number is not None:
                            references.define(number, value)
                        values.append(value)
                        stack.append((it, values, kind, filled, level))
                        it = iter(parts)
                        values, kind, filled, level = [], op, value, below
                        break
                    elif op in LEAVES:
                        value = _leaf(op, x)
                        if number is not None:
                            references.define(number, value)
                        values.append(value)
                    else:
                        value = self._opened(op, target, x, number, below)
                        if type(value) is not Build:
                            values.append(value)
                            continue
                        if value.blank is not ABSENT:
                            values.append(value.blank)
                        stack.append((it, values, kind, filled, level))
                        it = iter(value.parts)
                        values, kind, filled, level = [], BUILD, value, below
                        break
                else:
                    # The end of a frame: complete its object, and go on with the outer.
                    x = None
                    forward = references.forward
                    if kind == DICT:
                        # The detour is needed where a key or a value is not known yet,
                        # or where hashing a key may take long or need a whole object.
                        if forward.is_needed or (
                            forward.is_wary
                            and not _SAFE.issuperset(map(type, values[::2]))
                        ):
                            forward.fill_dict(filled, values)
                        else:
                            flat = iter(values)
                            try:
                                if len(values) > 2 * FEW_KEYS:
                                    check_hashes(values[::2])
                                filled.update(zip(flat, flat))  # noqa: B905
                            except Exception as error:
                                refusal = not_hashed(values[::2], error)
                                raise refusal from refusal.__cause__
                        it, values, kind, filled, level = stack.pop()
                    elif kind == LIST:
                        it, values, kind, filled, level = stack.pop()
                    elif kind == OBJECT:
                        self._give_state(filled, values)
                        it, values, kind, filled, level = stack.pop()
                    elif kind == ROOT:
                        return values[0]
                    elif kind == BUILD and (rest := self._built(filled, values)):
                        # The object exists now; its other parts are read into it.
                        stack[-1][1].append(rest.blank)
                        it, values, filled = iter(rest.parts), [], rest
                    else:
                        value, number = self._ended(kind, filled, values)
                        it, values, kind, filled, level = stack.pop()
                        if value is ABSENT:
                            continue
                        if number is not None:
                            references.define(number, value)
                        if type(value) is Pending and kind == LIST:
                            filled, values, kind = values, values[:], WAITING
                        values.append(value)
        except JellyError as error:
            frame = (it, values, kind, filled, level)
            is_hooked = len(self._hooks) > 0
            path = place(stack, frame, has_ended=x is None, is_state=is_hooked)
            error.with_prefix(path)
            raise

    def _ended(
        self, kind: int, filled: Any, values: list[Any]
    ) -> tuple[Any, int | None]:
        """Complete the object of one of the rarer frames.

        Returns:
            The object and its number; or `ABSENT` for an object that was handed on at
            the beginning of the frame.
        """
        forward = self._references.forward
        if kind == TUPLE:
            if not forward.is_needed:
                return tuple(values), filled
            return forward.when_known(values, tuple), filled
        if kind == BUILD:
            return self._finished(filled, values)
        if kind == WAITING:
            forward.fill_list(filled, values)
        elif kind == DEQUE:
            forward.when_known(values, filled.extend)
        elif kind == FROZENSET:
            if len(values) > 1:
                # Comparing two frozensets reads all their members, each time again.
                self._references.be_wary()
            if forward.is_needed or forward.is_wary:
                return forward.frozen(values), filled
            return hashed(values, partial(frozenset, values)), filled
        elif forward.is_needed or forward.is_wary:
            forward.fill_set(filled, values)
        else:
            hashed(values, partial(filled.update, values))
        return ABSENT, None

    def _checked(
        self, it: Iterator[Any], values: list[Any], level: int
    ) -> Iterator[Any]:
        """Refuse lists in a frame at the largest depth.

        Args:
            it: The items to read.
            values: The values of the frame, to which read atoms are added for the path
                of the error.
            level: The level of the list with the items.

        Returns:
            An iterator over the same items.
        """
        parts = list(it)
        for index, part in enumerate(parts):
            if type(part) is list:
                # For the path.
                values += parts[:index]
                raise LimitExceeded("depth", level + 1, self._depth)
        return iter(parts)

    # References.

    def _referred(self, sexp: list[Any]) -> tuple[int, Any, int | None]:
        """Open a reference.

        Returns:
            Its number, the expression in it, and the operation of that.
        """
        if len(sexp) != 3 or not is_number(sexp[1]):
            raise MalformedJelly("a reference takes a number and an expression")
        _, number, inner = sexp
        if type(inner) is not list:
            return number, inner, None
        op = self._table.heads.get(head_of(inner))
        if op is None:
            inner = self._names().learned(inner) or inner
            op = self._table.heads.get(inner[0])
        if op == REFERENCE or op == DEREFERENCE:  # noqa: SIM109
            raise MalformedJelly("a reference to a reference")
        return number, inner, op

    # Instances and hooks.

    def _names(self) -> Resolver:
        """Return the resolver of names, made at first use."""
        if self._resolver is None:
            self._resolver = Resolver(
                self.taster, self._table, self._types, self._modern
            )
        return self._resolver

    def _old_instance(self, sexp: list[Any], level: int) -> tuple[Target, list[Any]]:
        """Find the class of an instance in the form from before 2015.

        Returns:
            The target, and the expression in the present form.
        """
        if not self._has_warned:
            self._has_warned = True
            # The wording of twisted.spread, for programs that filter this warning.
            warnings.warn_explicit(
                "Unjelly support for the instance atom is deprecated since "
                "Twisted 15.0.0.  Upgrade peer for modern instance support.",
                category=DeprecationWarning,
                filename="",
                lineno=0,
            )
        named: Any = sexp[1] if len(sexp) == 3 else None
        # The class may be referred to by later instances.
        if type(named) is list and len(named) == 3 and named[0] == reference_atom:
            named = named[2]
        # Only the expression of a class is allowed there, so `_run` does not recurse.
        if type(named) is not list or head_of(named) not in _CLASS_HEADS:
            raise MalformedJelly("an instance takes a class and a state")
        cls = self._run(sexp[1], level)
        if not isinstance(cls, type):
            raise MalformedJelly("an instance of something that is not a class")
        return Target(GENERIC, cls), [sexp[0], sexp[2]]

    def _opened(
        self,
        op: int | None,
        target: Target | None,
        sexp: list[Any],
        number: int | None,
        level: int,
    ) -> Any:
        """Open an expression that is not a container, a leaf or a plain instance.

        Returns:
            The object; or a `Build` that makes it.
        """
        outer, self._level = self._level, level
        try:
            if target is None:
                made = open_special(self, self._names(), op, sexp)
            elif target.kind == FACTORY:
                made = self._factory(target.make, sexp)
            else:
                return self._hooked(target, sexp, number)
        finally:
            self._level = outer
        if type(made) is Build:
            made.number = number
            made.mark = len(self._references.forward.steps)
            if number is not None and made.blank is not ABSENT:
                self._references.define_blank(number, made.blank)
        elif number is not None:
            self._references.define(number, made)
        return made

    def _factory(self, factory: Callable[[Any], Any], sexp: list[Any]) -> Build:
        """Open an expression whose state is passed to a registered factory."""
        _check_state(sexp)
        return Build(
            sexp[1:],
            _making(self, factory),
            names=(None,),
            needs_whole=True,
        )

    def _hooked(self, target: Target, sexp: list[Any], number: int | None) -> Any:
        """Let a registered class or callable make an object of an expression."""
        hook: Callable[[Any, Any], Any] = target.make
        running = Running(number)
        if target.kind == HOOK:
            blank = _blank(target.make)
            hook = blank.unjellyFor
            if number is not None:
                self._references.define_blank(number, blank, running)
        self._hooks.append(running)
        self._deepest_hook = max(self._deepest_hook, len(self._hooks))
        try:
            value = hook(self, sexp)
        finally:
            self._hooks.pop()
        if number is not None:
            self._references.redefine(running, number, value)
            self._references.unfinished.pop(number, None)
        forward = self._references.forward
        if forward.blank or running.waits:
            forward.completed(value, running.waits)
        return self.made(value)

    def made(self, value: Any) -> Any:
        """Note the ``postUnjelly`` of an object, to be called at the end; return it."""
        if hasattr(type(value), "postUnjelly"):
            self._callbacks.append(value.postUnjelly)
        return value

    def _give_state(
        self, frame: tuple[Target, Any, int | None, int], values: list[Any]
    ) -> None:
        """Give an instance its state, now or once the state is known."""
        target, inst, number, mark = frame
        forward = self._references.forward
        if number is not None:
            del self._references.unfinished[number]
        if forward.is_needed:
            step = forward.when_known(values, _setting(target, inst, self), mark)
            forward.completed(inst, (step,))
        else:
            target.set_state(inst, self, values[0])
            if forward.blank:
                forward.completed(inst, ())
        if target.has_callback:
            self._callbacks.append(inst.postUnjelly)

    def _built(self, build: Build, values: list[Any]) -> Build | None:
        """Make an object that has further parts, and return the `Build` for them.

        None stands for an object without further parts, which is not made here.
        """
        if build.rest is None:
            return None
        value = self._references.forward.when_known(values, build.make)
        if type(value) is Pending:
            raise MalformedJelly("a cycle that cannot be made")
        rest = build.rest(value)
        rest.number = build.number
        rest.mark = len(self._references.forward.steps)
        if rest.number is not None:
            self._references.define_blank(rest.number, value)
        return rest

    def _finished(self, build: Build, values: list[Any]) -> tuple[Any, int | None]:
        """Make an object of its parts, or fill it with them, as `_ended`."""
        forward = self._references.forward
        mark = build.mark if build.needs_whole else None
        made = forward.when_known(values, build.make, mark)
        if build.blank is ABSENT:
            return made, build.number
        if build.number is not None:
            del self._references.unfinished[build.number]
        forward.completed(build.blank, (made,))
        return ABSENT, None


#: Types whose values need no check when they are referred to: they are whole, and are
#: not hashed by their parts.
_UNWATCHED: Final = frozenset((list, dict, set, frozenset, str, bytes, int, float))
#: Keys and members of these types are always whole, and quickly hashed.
_SAFE: Final = frozenset((str, bytes, int, float, bool, type(None)))

# Actions on values that are known later.  They are functions because mypyc supports no
# closures in the methods of a native class.


def _putting(obj: Any, loc: Any, result: list[Any]) -> Callable[[Any], Any]:
    def put(value: Any) -> None:
        obj[loc] = result[0] = value

    return put


def _with_first(action: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    return lambda values: action(values[0])


def _making(
    unjellier: Unjellying, factory: Callable[[Any], Any]
) -> Callable[[list[Any]], Any]:
    return lambda values: unjellier.made(factory(values[0]))


def _setting(
    target: Target, inst: Any, unjellier: Unjellying
) -> Callable[[list[Any]], Any]:
    return lambda values: target.set_state(inst, unjellier, values[0])


#: Heads of expressions for a class; those of type str occur in expressions by hand.
_CLASS_HEADS: Final = (class_atom, dereference_atom, "class", "dereference")


def _leaf(op: int, sexp: list[Any]) -> Any:
    """Return the value of a leaf."""
    load = LEAVES[op].load
    assert load is not None
    try:
        return load(sexp)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # Not chained: these exceptions may quote the peer's data at any length.
        refusal = MalformedJelly(f"not a value of the kind {shown(sexp[0])}")
        raise caused(refusal, None) from None


def _deque(sexp: list[Any]) -> tuple[deque[Any], list[Any]]:
    """Return a blank deque, and the expressions for its items."""
    maxlen: Any = sexp[1] if len(sexp) > 1 else b""
    if maxlen == [None_atom]:
        maxlen = None
    elif type(maxlen) is not int or not 0 <= maxlen <= sys.maxsize:
        raise MalformedJelly("a deque takes the most items that it may have")
    return deque(maxlen=maxlen), sexp[2:]


def _check_state(sexp: list[Any]) -> None:
    """Refuse an instance's expression with other items than a head and a state."""
    if len(sexp) != 2:
        raise MalformedJelly(f"{shown(sexp[0])} with {len(sexp) - 1} items")


def _blank(cls: Any) -> Any:
    """Return a blank instance of a class."""
    try:
        return cls.__new__(cls)
    except MemoryError:
        raise
    except Exception as error:
        name = shown(cls.__name__)
        refusal = MalformedJelly(f"blank instances of {name} cannot be made")
        raise caused(refusal, error) from error
