"""This module turns objects into s-expressions."""

from __future__ import annotations

from pb_jelly._serialize.jelly_loop import Jellying

__all__ = ["Jellier"]


class Jellier(Jellying):
    """Turns objects into s-expressions, as a policy allows.

    One of these is for one message: the references in the expressions that it makes are
    good for all of them together.

    With ``modern`` false, all that is made can be read by any peer, and what a legacy
    peer would not understand, or would lose a part of, is refused.  An instance of an
    ordinary class (a dataclass and an attrs class are no more than that) is sent by the
    name of its class and its state, if the policy allows the class; so is an exception.
    A member of an enumeration, or an instance of a class that extends a type such as
    ``str`` or ``dict``, has no such form, and is sent only if its class has a
    ``jellyFor``.

    Args:
        taster: The policy.
        persistentStore: Called with each instance that is not of a builtin type, and
            this; returns None, or what stands for the instance, which is then not sent.
        invoker: For the use of hooks; a broker.
        context: For the use of hooks.
        lenient: Whether an instance that is refused is replaced by an expression that
            says so, as ever; otherwise the whole is refused with an error.
        modern: Whether the modern form is used, in which every type of the table is
            kept exactly, and that no legacy peer understands.
        limits: What the expressions have to keep to, if anything.

    Attributes:
        taster: As above.
        persistentStore: As above.
        invoker: As above.
        context: As above.
    """
