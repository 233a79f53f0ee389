"""This module defines the options of clients that can log in, each described once.

They are those of :class:`pb_broker.ClientOptions` and those of logins.  The keyword
arguments of the factory and of :func:`pb_cred.client` are the fields' names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pb_broker
from pb_broker import SecurityOptions
from pb_broker.extending import ClientFactoryKeywords as _ConnectionKeywords
from pb_cred.mechanisms import ClientMechanism

__all__ = ["ClientFactoryKeywords", "ClientKeywords", "ClientOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions(pb_broker.ClientOptions):
    """Options of a client: of its connection and of its login.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A time is negative, or no number.
    """

    mechanisms: Iterable[str | ClientMechanism] | None = None
    """Mechanisms by which to log in, the best first: names, or objects from
    :mod:`pb_cred.mechanisms`.  None for SCRAM-SHA-256-PLUS, SCRAM-SHA-256 and PLAIN
    with passwords, and ANONYMOUS; an empty list for no mechanism, to log in as legacy
    peers do, if that is allowed."""

    allow_legacy_md5: bool | None = None
    """True to log in by MD5 at a server that knows no mechanism, as a
    ``twisted.spread`` one; None for False, and in the drop-in for True."""

    def __post_init__(self) -> None:
        """Keep the mechanisms in a tuple: an iterator would give them once."""
        pb_broker.ClientOptions.__post_init__(self)
        # A single name in place of a list is refused where names are looked up.
        if self.mechanisms is not None and not isinstance(self.mechanisms, str):
            object.__setattr__(self, "mechanisms", tuple(self.mechanisms))


class ClientFactoryKeywords(_ConnectionKeywords, total=False):
    """Keyword arguments of a client's factory; see :class:`ClientOptions`."""

    mechanisms: Iterable[str | ClientMechanism] | None
    allow_legacy_md5: bool | None


class ClientKeywords(ClientFactoryKeywords, total=False):
    """Options as keyword arguments; see :class:`ClientOptions`."""

    unsafeTracebacks: bool
    security: SecurityOptions | None
