"""This module holds `Jellier`, the public class that makes s-expressions of objects.

The work is done by its compiled base class.
"""

from __future__ import annotations

from pb_jelly._serialize.jelly_loop import Jellying

__all__ = ["Jellier"]


class Jellier(Jellying):
    """Turns objects into s-expressions, as a policy allows.

    A jellier is for one message: all expressions that it makes share their references.

    With ``modern`` false, every expression can be read by any peer, and values that a
    legacy peer would not understand, or would lose a part of, are refused.  An instance
    of an ordinary class (dataclasses and attrs classes included) is sent by the name of
    its class and its state, if the policy allows the class; so is an exception.  A
    member of an enumeration, or an instance of a class that extends a type such as
    ``str`` or ``dict``, has no such form, and is sent only if its class has a
    ``jellyFor``.

    Args:
        taster: The policy.
        persistentStore: Called with each instance that is not of a builtin type, and
            the jellier; returns the key to send in place of the instance, or None to
            send the instance.
        invoker: For the use of hooks; a broker.
        context: For the use of hooks.
        lenient: True to replace a refused instance by an expression that gives the
            reason, as twisted.spread does; False to refuse the whole with an error.
        modern: True for the modern form, which keeps every type of the table exactly
            and which no legacy peer understands.
        limits: Limits of the expressions; None for no limits.

    Attributes:
        taster: As above.
        persistentStore: As above.
        invoker: As above.
        context: As above.
    """
