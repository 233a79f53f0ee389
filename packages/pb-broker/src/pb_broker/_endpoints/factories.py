"""This module has the factories, which make a broker for each connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.python.failure import Failure

from pb_broker._compatibility import MODERN, Compatibility
from pb_broker._connection.broker import Broker
from pb_broker._connection.closing import LINGER
from pb_broker._connection.deadlines import ConnectionDeadlines, as_heartbeat
from pb_broker._connection.login_turns import LoginTurns
from pb_broker._connection.writing import undelivered
from pb_broker._event_loops.clock import clock_of
from pb_broker._event_loops.shell import TWISTED, Shell
from pb_broker._limits import BrokerLimits
from pb_broker._objects.deferred_root import LaterRoot
from pb_broker._objects.remote_reference import RemoteReference
from pb_broker._session.observers import CallObserver
from pb_broker.errors import ClosingDown, DeadReferenceError, reason_text
from pb_jelly import SecurityOptions

from .argument_checks import checked_client_factory, checked_root
from .options import (
    ClientFactoryKeywords,
    ClientOptions,
    ConnectionOptions,
    ServerFactoryKeywords,
    ServerOptions,
    options_of,
)
from .places import ServedRoot
from .turned_away import TurnedAway, turns_away

__all__ = ["PBClientFactory", "PBServerFactory"]

#: The longest part of a reason that an error shows, in characters.
_MOST_REASON: Final = 300

if TYPE_CHECKING:
    from typing_extensions import Unpack

    _ClientFactory = ClientFactory[Broker]
else:
    # Not generic in the oldest Twisted that is supported.
    _ClientFactory = ClientFactory


def _make_broker(factory: Any, is_client: bool) -> Broker:
    broker: Broker = factory.protocol(isClient=is_client, security=factory.security)
    broker.factory = factory
    if factory.limits is not None:
        broker.set_limits(factory.limits)
    if factory.call_timeout is not None:
        broker.call_timeout = factory.call_timeout
    if factory.clock is not None:
        broker.clock = factory.clock
    if factory.shell is not None:
        broker.shell = factory.shell
    if factory.observer is not None:
        broker.observe(factory.observer)
    if factory.dialects is not None:
        names = [name.encode() for name in factory.dialects]
        # For peers that want a dialect without any vocabulary.
        broker.set_dialects([*names, b"none"] if b"pb" in names else names)
    return broker


def _given(
    keywords: Mapping[str, Any], unsafe_tracebacks: Any, security: Any
) -> dict[str, Any]:
    """Return the options given by name, and the two given by position."""
    given = dict(keywords)
    if unsafe_tracebacks is not None:
        given["unsafeTracebacks"] = unsafe_tracebacks
    if security is not None:
        given["security"] = security
    return given


class Watching:
    """A factory that keeps the deadlines of its connections."""

    protocol: Any = Broker
    # Defaults on the class: an __init__ of a subclass may not call this one.
    unsafeTracebacks: Any = False
    limits: BrokerLimits | None = None
    security: Any = None
    call_timeout: float | None = None
    #: Dialects that are spoken, best first; None for those of the broker.
    dialects: Any = None
    #: Observer of each call; None for none.
    observer: CallObserver | None = None
    #: The deadlines of the connections; None in a subclass that has not set them.
    watch: ConnectionDeadlines | None = None
    #: The ``IReactorTime`` for the timers of the connections; None for the reactor.
    clock: Any = None
    #: The event loop of the connections; None for the reactor.
    shell: Shell | None = None
    #: True to send the peer the notes, members and causes of an exception.
    explains_failures: bool = True

    def _take(self, options: ConnectionOptions) -> None:
        """Take over options; None in them means the default of the profile."""
        profile: Compatibility = getattr(self.protocol, "profile", MODERN)
        handshake_timeout = options.handshake_timeout
        if handshake_timeout is None:
            handshake_timeout = profile.handshake_timeout
        login_timeout: float | None = getattr(options, "login_timeout", None)
        if login_timeout is None:
            login_timeout = profile.login_timeout
        self.watch = ConnectionDeadlines(
            handshake_timeout, login_timeout, as_heartbeat(options.heartbeat)
        )
        self.unsafeTracebacks = options.unsafeTracebacks
        self.security = options.security
        self.limits = options.limits
        self.call_timeout = options.call_timeout
        self.observer = options.observer
        if options.dialects is not None:
            self.dialects = options.dialects

    def startFactory(self) -> None:
        """Begin to keep deadlines."""
        if self.watch is not None:
            self.watch.start(clock_of(self))

    def stopFactory(self) -> None:
        """Keep no deadlines any more."""
        if self.watch is not None:
            self.watch.stop()

    def broker_made(self, broker: Broker) -> None:
        """Begin the deadlines of a connection that was made."""
        if self.watch is not None:
            self.watch.add(broker)

    def broker_lost(self, broker: Broker, reason: Failure) -> None:
        """End the deadlines of a connection that was lost.

        Args:
            broker: The broker of the connection.
            reason: The failure with which it was lost.
        """
        if self.watch is not None:
            self.watch.discard(broker)


class PBClientFactory(Watching, _ClientFactory):
    """Makes the client's end of a connection.

    Hand it to ``reactor.connectTCP``, to an endpoint or to
    :func:`pb_broker.connect`; :meth:`getRootObject` may be called before or after.

    Args:
        unsafeTracebacks: As in :class:`ClientOptions`; None for that of ``options``.
        security: As in :class:`ClientOptions`; None for that of ``options``.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, named as the fields of :class:`ClientOptions`, which
            replace those in ``options``.

    Attributes:
        explains_failures: True, the default, to send the peer the notes, the members of
            a group and the causes of an exception with it.

    Raises:
        TypeError: There is no such option, or one is of the wrong type.
        ValueError: A time is negative, or no number.
    """

    protocol: Any = Broker
    noisy = False
    # Failure with which a broker has given up its connection; None if none has.
    _given_up: Failure | None = None

    def __init__(
        self,
        unsafeTracebacks: Any = None,
        security: SecurityOptions | None = None,
        *,
        options: ClientOptions | None = None,
        **keywords: Unpack[ClientFactoryKeywords],
    ) -> None:
        given = _given(keywords, unsafeTracebacks, security)
        self._take(options_of(ClientOptions, options, given, type(self).__name__))
        self._connector_tells = False
        self._deferred: Deferred[RemoteReference] | None = None
        self._reset()

    def _reset(self) -> None:
        self.rootObjectRequests: list[Deferred[RemoteReference]] = []
        self._broker: Broker | None = None
        self._root: RemoteReference | None = None

    @property
    def deferred(self) -> Deferred[RemoteReference]:
        """A Deferred with the first root object, or with the reason for its failure."""
        if self._deferred is None:
            self._deferred = self.getRootObject()
        return self._deferred

    def buildProtocol(self, addr: Any) -> Broker:
        """Return a broker for a connection to ``addr``."""
        return _make_broker(self, True)

    def startedConnecting(self, connector: Any) -> None:
        """Note that a connector, and not an endpoint, connects and reports losses."""
        self._connector_tells = True

    def clientConnectionMade(self, broker: Broker) -> None:
        """Fire the waiting Deferreds with the root object of a ready connection."""
        self._broker = broker
        self._root = broker.remoteForName("root")
        waiting, self.rootObjectRequests = self.rootObjectRequests, []
        for deferred in waiting:
            _give(deferred, self._root)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Fail the Deferreds that wait for the root object."""
        self._failAll(reason)

    def clientConnectionLost(
        self, connector: Any, reason: Failure, reconnecting: Any = 0
    ) -> None:
        """Fail the Deferreds that wait for the root object, unless there is a new try.

        Args:
            connector: The connector of the connection.
            reason: The failure with which it was lost.
            reconnecting: True if a subclass is connecting again; the Deferreds then get
                the next connection's root object.
        """
        given_up, self._given_up = self._given_up, None
        if reconnecting:
            self._broker = None
            self._root = None
        else:
            # A connector's reason only says that the connection was aborted here.
            self._failAll(given_up or reason)

    def broker_lost(self, broker: Broker, reason: Failure) -> None:
        """Fail the Deferreds that wait for the root object of a lost connection.

        With a connector, :meth:`clientConnectionLost` does so, and can connect again;
        an endpoint does not call it.

        Args:
            broker: The broker of the connection.
            reason: The failure with which it was lost.
        """
        super().broker_lost(broker, reason)
        if broker.why_given_up is not None:
            self._given_up = reason
        if not self._connector_tells and self._broker in (None, broker):
            self._failAll(reason)

    def _failAll(self, reason: Failure) -> None:
        waiting = self.rootObjectRequests
        self._reset()
        for deferred in waiting:
            _give(deferred, reason)

    def getRootObject(self) -> Deferred[RemoteReference]:
        """Return a Deferred with a reference to the server's root object.

        It fails if the connection cannot be made or is lost before it is ready.
        Cancelling it leaves the connection as it is.

        Raises:
            WrongThread: This is another thread than that of the event loop.
        """
        (self.shell or TWISTED).check_thread()
        root = self._root
        if self._broker and not self._broker.disconnected and root is not None:
            return succeed(root)
        deferred: Deferred[RemoteReference] = Deferred(self._forget_request)
        self.rootObjectRequests.append(deferred)
        return deferred

    def _forget_request(self, deferred: Deferred[RemoteReference]) -> None:
        if deferred in self.rootObjectRequests:
            self.rootObjectRequests.remove(deferred)

    def disconnect(self) -> None:
        """Close the connection, if there is one."""
        if self._broker is not None:
            self._broker.transport.loseConnection()


def _give(deferred: Deferred[Any], result: Any) -> None:
    if not deferred.called:
        deferred.callback(result)


def _cancelling(result: Any, timer: Any) -> Any:
    if timer.active():
        timer.cancel()
    return result


class _Connections:
    """The connections of a server.

    Attributes:
        all: Brokers of the open connections.
        strangers: Those of them whose peers have yet to log in.
        turns: The strangers' share of the event loop's turns.
    """

    __slots__ = ("all", "strangers", "turns")

    def __init__(self) -> None:
        self.all: set[Broker] = set()
        self.strangers: set[Broker] = set()
        self.turns = LoginTurns()


class PBServerFactory(Watching, ServerFactory):
    """Makes the server's end of each connection, with an object to offer.

    Args:
        root: An object that provides, or can be adapted to,
            :class:`~pb_broker.interfaces.IPBRoot`: usually a
            :class:`~pb_broker.Root`.
        unsafeTracebacks: As in :class:`ServerOptions`; None for that of ``options``.
        security: As in :class:`ServerOptions`; None for that of ``options``.
        options: Options of the server; None for the defaults.
        **keywords: Single options, named as the fields of :class:`ServerOptions`, which
            replace those in ``options``.

    Attributes:
        explains_failures: True, the default, to send a peer the notes, the members of a
            group and the causes of an exception with it.  Peers that have yet to log in
            get none of them.

    Raises:
        TypeError: ``root`` has no root object to give, there is no such option, or one
            is of the wrong type.
        ValueError: A time is negative, or no number.
    """

    protocol: Any = Broker
    unsafeTracebacks: Any = False
    #: Numbers of strangers with which some, and all, new connections are turned away;
    #: None for the profile's.
    login_backlog: tuple[int, int] | None = None
    #: Source of chance for turning away connections.
    random: Random = Random()
    #: Least number of seconds for which each connection lingers in a drain.
    linger: float = LINGER
    _connections: _Connections | None = None
    # Deferreds of the drain, which fire at its end; None before a drain begins.
    _draining: list[Deferred[int]] | None = None
    # Number of connections that were cut off in the drain.
    _cut_off: int = 0

    def __init__(
        self,
        root: ServedRoot,
        unsafeTracebacks: Any = None,
        security: SecurityOptions | None = None,
        *,
        options: ServerOptions | None = None,
        **keywords: Unpack[ServerFactoryKeywords],
    ) -> None:
        given = _given(keywords, unsafeTracebacks, security)
        taken = options_of(ServerOptions, options, given, type(self).__name__)
        self._take(taken)
        if taken.linger is not None:
            self.linger = taken.linger
        if taken.login_backlog is not None:
            self.login_backlog = taken.login_backlog
        self.root: Any = checked_root(root)

    def buildProtocol(self, addr: Any) -> Any:
        """Return a broker for a connection from ``addr``, with its root object.

        A connection that comes during a drain, or is one of too many that have yet to
        log in, gets a protocol that ends it at once.
        """
        if self._draining is not None or self._turns_away():
            # Before a broker is made, which costs more: there may be many of them.
            return TurnedAway()
        broker = _make_broker(self, False)
        root = self.root.rootObject(broker)
        later = broker.shell.awaitable(root)
        broker.setNameForLocal(b"root", root if later is None else LaterRoot(later))
        return broker

    def login_names(self) -> list[str] | None:
        """Return the names of the ways to log in; None for a root without a login."""
        return None

    def clientConnectionMade(self, protocol: Broker) -> None:
        """Have no effect: a server does not wait for its connections to be ready."""

    @property
    def _open(self) -> _Connections:
        if self._connections is None:
            self._connections = _Connections()
        return self._connections

    def broker_made(self, broker: Broker) -> None:
        """Count a connection that was made, as a stranger's if it has to log in."""
        super().broker_made(broker)
        self._open.all.add(broker)
        if self._draining is not None:
            broker.abort()
        elif not broker.is_authenticated:
            self._open.strangers.add(broker)
            if broker.profile.shares_turns:
                broker.reading.turns = self._open.turns

    def broker_authenticated(self, broker: Broker) -> None:
        """Count a connection no more as a stranger's, once its peer has logged in."""
        self._open.strangers.discard(broker)

    def broker_logged_out(self, broker: Broker) -> None:
        """Count a connection as a stranger's again, after a logout."""
        self._open.strangers.add(broker)
        if self.watch is not None:
            # The time for the login begins now, not with the connection.
            self.watch.add(broker)

    def _turns_away(self) -> bool:
        """Return True if a new connection is one of too many without a login."""
        strangers = len(self._open.strangers)
        if not strangers:
            return False
        # A program may set a function as the protocol, in place of a class.
        kind = (
            self.protocol if hasattr(self.protocol, "profile") else type(self).protocol
        )
        backlog = self.login_backlog or getattr(kind, "profile", MODERN).login_backlog
        if backlog is None:
            return False
        return turns_away(strangers, backlog, self.random)

    def broker_lost(self, broker: Broker, reason: Failure) -> None:
        """Count a lost connection no more; end the drain with the last of them.

        Args:
            broker: The broker of the connection.
            reason: The failure with which it was lost.
        """
        super().broker_lost(broker, reason)
        self._open.all.discard(broker)
        self._open.strangers.discard(broker)
        self._finish_draining()

    def drain(self, timeout: float | None = None) -> Deferred[int]:
        """Close down: finish the calls that have begun, and begin no more.

        New connections are closed at once (stop listening as well, so that no client
        connects in vain), and new calls fail with :class:`~pb_broker.ClosingDown`.
        When the calls that have come over a connection are answered, and its streams
        and pagers are at their end, it lingers, and is closed.

        Args:
            timeout: Seconds after which the connections with unfinished calls, streams
                or pagers are cut off; None for never.  Streams then fail with
                ``ClosingDown``.

        Returns:
            A Deferred that fires when all connections are closed, with the number of
            those that were cut off.
        """
        drained: Deferred[int] = Deferred()
        if self._draining is None:
            self._draining = []
        self._draining.append(drained)
        if timeout is not None and self._open.all:
            timer = clock_of(self).callLater(timeout, self._cut_all)
            drained.addBoth(_cancelling, timer)
        for broker in list(self._open.all):
            broker.drain()
        self._finish_draining()
        return drained

    def _finish_draining(self) -> None:
        if self._draining and not self._open.all:
            waiting, self._draining = self._draining, []
            for drained in waiting:
                _give(drained, self._cut_off)

    def _cut_all(self) -> None:
        for broker in list(self._open.all):
            is_ready = broker.connects is None
            if broker.has_begun() or (is_ready and undelivered(broker.transport)):
                self._cut_off += broker.why_given_up is None
                broker.cut_off(ClosingDown("the server has closed down"))
            else:
                # The peer is still told that its later calls are not begun.
                broker.time_is_up()


def server_factory_of(
    kind: Callable[..., PBServerFactory],
    root: Any,
    options: ConnectionOptions | None,
    keywords: Mapping[str, Any],
) -> PBServerFactory:
    """Return a factory for a root object, or a given factory as it is.

    Args:
        kind: The class of the factory that is made.
        root: A factory, or a root object for one.
        options: Options for the factory that is made.
        keywords: Options as keyword arguments.

    Raises:
        TypeError: There is a factory, and options besides.
    """
    if not isinstance(root, PBServerFactory):
        return kind(root, options=options, **keywords)
    _see_no_options(options, keywords)
    return root


def client_factory_of(
    kind: type[_Factory],
    factory: Any,
    options: ConnectionOptions | None,
    keywords: Mapping[str, Any],
) -> _Factory:
    """Return the given factory of a client, or a new one.

    Args:
        kind: The class of the factory.
        factory: A factory; None to make one.
        options: Options for the factory that is made.
        keywords: Options as keyword arguments.

    Raises:
        TypeError: The argument is no such factory, or options are given besides it.
    """
    if factory is None:
        made: Any = kind
        given: _Factory = made(options=options, **keywords)
        return given
    given = checked_client_factory(factory, kind)
    _see_no_options(options, keywords)
    return given


def _see_no_options(
    options: ConnectionOptions | None, keywords: Mapping[str, Any]
) -> None:
    if options is not None or keywords:
        named = ", ".join(keywords) or "options"
        raise TypeError(f"{named}: a factory is given, which has options of its own")


_Factory = TypeVar("_Factory", bound=PBClientFactory)


def ready(broker: Broker) -> Deferred[Broker]:
    """Return a Deferred that fires with ``broker`` when its connection is ready.

    It fails with DeadReferenceError if the connection ends before; cancelling it
    ends the connection.
    """
    if broker.disconnected:
        return fail(broker.gone())
    deferred: Deferred[Broker] = Deferred(lambda _: broker.abort())
    broker.notifyOnConnect(lambda: _give(deferred, broker))
    broker.notifyOnFail(lambda: _give(deferred, Failure(_never_ready(broker))))
    return deferred


def _never_ready(broker: Broker) -> DeadReferenceError:
    """Return the error of a connection that has ended too early, with the reason."""
    lost: Any = broker.lost_reason
    why = reason_text(lost)
    hint = "" if hasattr(lost.value, "hint") else broker.tls_hint(lost.value)
    hint = hint and f" ({hint})"
    said = f"the connection ended before it was ready: {why}"
    error = DeadReferenceError(said[: _MOST_REASON - len(hint)] + hint)
    # Most useful for a certificate that was not accepted.
    error.__cause__ = lost.value
    return error
