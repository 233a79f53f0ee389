"""This module holds `Unjellier`, the public class that makes objects of s-expressions.

The work is done by its compiled base class.
"""

from __future__ import annotations

from pb_jelly._deserialize.unjelly_loop import Unjellying

__all__ = ["Unjellier"]


class Unjellier(Unjellying):
    """Turns s-expressions into objects, as a policy allows.

    An unjellier is for one message: all expressions that it is given share their
    references.

    Args:
        taster: The policy.
        persistentLoad: Called with the key that the sender's ``persistentStore``
            returned, and the unjellier; returns the object.  None if persistent objects
            are not supported.
        invoker: For the use of hooks; a broker.
        context: For the use of hooks.
        types: Further classes and callables by name, as in a registry.  They are
            accepted without asking the policy, and take precedence over the registry,
            but not over the words of jelly.
        modern: True to accept the modern form besides the legacy one.
        limits: Limits, of which the depth applies; None for no limit.  The other sizes
            are checked by the decoder of the bytes.

    Attributes:
        taster: As above.
        persistentLoad: As above.
        invoker: As above.
        context: As above.
    """
