"""This module is for extending pb-broker: names for sibling packages, beyond its API.

It is for packages that are made and released together with this one, such as pb-cred,
and for no program: a name here may change with each minor version.  A further name that
a sibling needs is added here, with the reason; siblings never import from the folders
behind this module, which the contracts of the layers see to.

- Clocks and event loops: :func:`clock_of` gives the ``IReactorTime`` of a broker or a
  factory, :class:`Shell` is a broker's interface to its event loop (:data:`TWISTED` for
  the reactor, :class:`AsyncioShell` for asyncio), and :func:`as_deferred` turns the
  result of ``callRemote`` into a Deferred on any of them.
- Entry points: :class:`Client`, :class:`Serving` and :class:`Reconnecting` are the
  results of :func:`pb_broker.client` and its like.  A :data:`Greeting` turns the
  server's root object into the reference that a connection gives.
  :func:`client_factory_of` and :func:`server_factory_of` give them their factories,
  :class:`ClientEndpoint`, :data:`ClientPlace` and :data:`ServerPlace` are the types of
  places, and :func:`renamed` lets an argument have its old name for one minor version.
- Entry points for asyncio alone: :func:`split_options` separates options from arguments
  of the loop's :data:`CLIENT_METHODS` and :data:`SERVER_METHODS`; :func:`client_place`
  and :func:`server_place` read the arguments of a place, in the old order too.
- Options: :func:`options_of` builds options from keyword arguments, whose types are
  :class:`ClientFactoryKeywords` and :class:`ServerFactoryKeywords`;
  :func:`option_names` are the names that a class has, :func:`checked_options` checks
  the types of limits and times, and :data:`ServedRoot` is the type of a factory's root.
- Methods that peers call: :class:`Called` is the base of the classes that have them,
  :func:`find_method` and :func:`arguments_of` look up one and the arguments of a call.
- Ownership: an :class:`Owner`, such as a login, owns the exports of its calls; an
  :class:`Ownership` is the record of that for one connection.
- Errors and logs: :data:`ENDINGS` are the exceptions that end one call alone,
  :func:`reduced` is the ``__reduce__`` of an exception that can be pickled,
  :class:`SafeLogger` and :func:`for_log` escape and cut a peer's text in the log.
- Compatibility: a :class:`Compatibility` is the share of ``twisted.spread``'s behaviour
  that a class of brokers has, :class:`DefaultLimits` holds the limits of the process.
- The wire: :func:`process_unique_id` is equal for instances that are one object to a
  peer, :data:`WIRE_NAME` is the name of a failure on the wire; :func:`unjellyLocal`,
  :func:`unjellyCached` and :func:`unjellyLCache` read references to objects of this
  end.
"""

from __future__ import annotations

from ._compatibility import Compatibility
from ._endpoints.argument_checks import checked_options, renamed
from ._endpoints.asyncio_connections import Greeting
from ._endpoints.context_managers import Client, Reconnecting, Serving
from ._endpoints.factories import client_factory_of, server_factory_of
from ._endpoints.options import (
    ClientFactoryKeywords,
    ServerFactoryKeywords,
    option_names,
    options_of,
)
from ._endpoints.places import ClientEndpoint, ClientPlace, ServedRoot, ServerPlace
from ._errors.call_endings import ENDINGS
from ._errors.escaped_log import SafeLogger, for_log
from ._errors.exception_copies import reduced
from ._event_loops.asyncio_shell import AsyncioShell
from ._event_loops.clock import clock_of
from ._event_loops.shell import TWISTED, Shell, as_deferred
from ._interfaces.exposed_methods import Called, arguments_of, find_method
from ._limits import DefaultLimits
from ._objects.failures import WIRE_NAME
from ._objects.identity import process_unique_id
from ._objects.wire_types import unjellyCached, unjellyLCache, unjellyLocal
from ._session.ownership import Owner, Ownership
from .asyncio import (
    CLIENT_METHODS,
    SERVER_METHODS,
    client_place,
    server_place,
    split_options,
)

__all__ = [
    "CLIENT_METHODS",
    "ENDINGS",
    "SERVER_METHODS",
    "TWISTED",
    "WIRE_NAME",
    "AsyncioShell",
    "Called",
    "Client",
    "ClientEndpoint",
    "ClientFactoryKeywords",
    "ClientPlace",
    "Compatibility",
    "DefaultLimits",
    "Greeting",
    "Owner",
    "Ownership",
    "Reconnecting",
    "SafeLogger",
    "ServedRoot",
    "ServerFactoryKeywords",
    "ServerPlace",
    "Serving",
    "Shell",
    "arguments_of",
    "as_deferred",
    "checked_options",
    "client_factory_of",
    "client_place",
    "clock_of",
    "find_method",
    "for_log",
    "option_names",
    "options_of",
    "process_unique_id",
    "reduced",
    "renamed",
    "server_factory_of",
    "server_place",
    "split_options",
    "unjellyCached",
    "unjellyLCache",
    "unjellyLocal",
]
