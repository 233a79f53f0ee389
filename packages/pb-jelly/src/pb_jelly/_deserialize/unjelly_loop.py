"""This module turns s-expressions into objects.

Theory of operation.  `Unjellying._run` reads one expression with a stack of its own: a
frame holds an iterator over what is to be read, the values read so far, and what is to
be done with them at the end.  So nothing that a peer nests makes Python recurse, but
for hooks that ask for a part of their expression; these are counted as levels of it.

An expression is looked up by its head in the table of the policy: what is found there
is allowed, and says what to do.  A list, dict, set or instance is handed on, and can be
referred to, before it is filled.  What cannot be, and who has to wait for it, is the
business of `Forward`.
"""

from __future__ import annotations

import sys
import warnings
from collections import OrderedDict, deque
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from pb_jelly._deserialize.forward_references import (
    FEW_KEYS,
    UNLIMITED_NODES,
    Pending,
    check_hashes,
    hashed,
    known,
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
from pb_jelly._sexp.abbreviation import shown
from pb_jelly._sexp.atoms import None_atom, class_atom, dereference_atom, reference_atom
from pb_jelly._sexp.compiler import UNLIMITED, caused, mypyc_attr
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

#: How many hooks may be within one another before running out of Python's stack is
#: taken for the fault of the expression and not of a hook.
_DEEP: Final = 10


@mypyc_attr(allow_interpreted_subclasses=True)
class Unjellying:
    """What an unjellier is made of."""

    # Most messages end with these as they are.
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
        # A value may be looked at once when it is put off and once when it is hashed.
        nodes = UNLIMITED_NODES if limits is None else 2 * limits.nodes
        self._references = References(nodes)
        self._hooks: list[Running] = []
        self._callbacks: list[Callable[[], Any]] = []

    def unjellyFull(self, sexp: Any) -> Any:
        """Turn an expression into an object, and tell the objects that all is done.

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
            The object; for what is not a list, that itself.  Where it is a list or a
            dict in a cycle that is still being read, it is filled later on.

        Raises:
            InsecureJelly: The policy refuses something in it.
            MalformedJelly: It is not the jelly of anything; or a hook has asked for a
                part that cannot be there yet, as it is in a cycle through a tuple (see
                `unjelly_state`).
            LimitExceeded: It is too deep.
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
            obj: Where the object is put by item assignment, at once or, where it cannot
                be known before the whole is made, as soon as it is.
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
        """Turn an expression into the state of an object, and set it once it can be.

        What a hook should use for the state of its object.  Where the state is part of
        a cycle through a tuple, or through anything else that cannot be there before
        its parts are, it is known only after the hook has returned.

        Args:
            sexp: The expression.
            setter: Called with the state, as a rule at once, and else as soon as all
                that is in the state is known.

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
        """Say that the running hook will return this object and not its blank instance.

        To be called before any state is unjellied, so that a reference in the state to
        the object as a whole is to this.

        Args:
            obj: The object.

        Raises:
            MalformedJelly: Something refers to the blank instance already.
        """
        running = self._hooks[-1] if self._hooks else None
        if running is not None and running.number is not None:
            self._references.redefine(running, running.number, obj)
            self._references.unfinished[running.number] = running

    # The loop.

    def _run(self, sexp: Any, level: int) -> Any:  # noqa: C901
        """Read one expression, which is an item of a list at a level.

        An error leaves the frames as they are, for they tell the place.  At the end of
        a frame *x* is None, since then it is the frame as a whole that is wrong.

        Returns:
            The object, or a `Later` for it.
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
                    it = self._checked(it, values, level)
                for x in it:
                    if type(x) is not list:
                        values.append(x)
                        continue
                    try:
                        op = heads.get(x[0])
                    except (IndexError, TypeError):
                        raise caused(headless(x), None) from None
                    if op == TEXT:
                        try:
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
                                # A float is found by an equal int.
                                check_dereference(x)
                            if number in unfinished or type(value) not in _UNWATCHED:
                                value = references.watched(number, value)
                        if type(value) is Pending and kind == LIST:
                            filled, values, kind = values, values[:], WAITING
                        values.append(value)
                        continue
                    if op is None:
                        again = self._names().learned(x)
                        if again is not None:
                            it = chain((again,), it)
                            break
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

                    if op == DICT or op == ORDERED:  # noqa: SIM109
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
                    x = None
                    forward = references.forward
                    if kind == DICT:
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
                        # What has been made so far is there; its other parts follow.
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
        """Do what there is to do at the end of one of the rarer frames.

        Returns:
            What has been made of it, and its number; or `ABSENT` where that had been
            handed on before.
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
                # To compare two is to compare all that is in them, each time anew.
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
        """Refuse lists where there is no depth left.

        Args:
            it: What is to be read.
            values: What will be read from it.
            level: The level of the list that it is from.

        Returns:
            The same again.
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
            Its number, what it is of, and what is to be done with that.
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
        """Return what finds names."""
        if self._resolver is None:
            self._resolver = Resolver(
                self.taster, self._table, self._types, self._modern
            )
        return self._resolver

    def _old_instance(self, sexp: list[Any], level: int) -> tuple[Target, list[Any]]:
        """Find the class of an instance that is written as before 2015.

        Returns:
            What is made, and the expression to make it of.
        """
        if not self._has_warned:
            self._has_warned = True
            # Worded as programs that filter this warning have known it since.
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
        # Nothing but a class may be there, so this does not nest.
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
        """Open an expression whose state a registered factory is given."""
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
        """Note that an object is to be told when all is done; return it."""
        if hasattr(type(value), "postUnjelly"):
            self._callbacks.append(value.postUnjelly)
        return value

    def _give_state(
        self, frame: tuple[Target, Any, int | None, int], values: list[Any]
    ) -> None:
        """Give an instance its state, or see to it that it gets that later."""
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
        """Make an object that has more parts than those read; return how it goes on."""
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


#: All but these is looked at once more when it is referred to.
_UNWATCHED: Final = frozenset((list, dict, set, frozenset, str, bytes, int, float))
#: Keys and members of these types are always whole, and quickly hashed.
_SAFE: Final = frozenset((str, bytes, int, float, bool, type(None)))
# What is done with values later. (The compiler takes no closure in a method of an
# ordinary class.)


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


#: How an expression for a class may begin; the second kind is written by hand.
_CLASS_HEADS: Final = (class_atom, dereference_atom, "class", "dereference")


def _leaf(op: int, sexp: list[Any]) -> Any:
    """Return the value of a leaf."""
    load = LEAVES[op].load
    assert load is not None
    try:
        return load(sexp)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # Not chained: what these say of the peer's data may be as long as the data.
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
    """Refuse the expression for an instance if it has not just a state."""
    if len(sexp) != 2:
        raise MalformedJelly(f"{shown(sexp[0])} with {len(sexp) - 1} items")


def _blank(cls: Any) -> Any:
    """Return a blank instance."""
    try:
        return cls.__new__(cls)
    except MemoryError:
        raise
    except Exception as error:
        name = shown(cls.__name__)
        refusal = MalformedJelly(f"blank instances of {name} cannot be made")
        raise caused(refusal, error) from error
