"""This module turns s-expressions into objects."""

from __future__ import annotations

from pb_jelly._deserialize.unjelly_loop import Unjellying

__all__ = ["Unjellier"]


class Unjellier(Unjellying):
    """Turns s-expressions into objects, as a policy allows.

    One of these is for one message: the references in an expression are good for all
    others that it is given.

    Args:
        taster: The policy.
        persistentLoad: Called with what the other side's ``persistentStore`` returned,
            and this; returns the object.
        invoker: For the use of hooks; a broker.
        context: For the use of hooks.
        types: More names, and what is made of them as in a registry.  These are
            accepted whatever the policy says, and go before what is registered.  The
            words that jelly itself uses are not for this to change.
        modern: Whether the modern form is accepted as well.
        limits: The depth is kept to, or not if it is None.  All other sizes have been
            checked by whoever has read the expression.

    Attributes:
        taster: As above.
        persistentLoad: As above.
        invoker: As above.
        context: As above.
    """
