"""This module makes a broker for each connection that is opened or accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.python.failure import Failure

from pb_broker._compatibility import MODERN, BrokerLimits, Compatibility
from pb_broker._connection.broker import Broker
from pb_broker._connection.closing import LINGER
from pb_broker._connection.deadlines import ConnectionDeadlines, as_heartbeat
from pb_broker._connection.login_turns import LoginTurns
from pb_broker._connection.transport_output import undelivered
from pb_broker._event_loops.clock import clock_of
from pb_broker._event_loops.shell import TWISTED, Shell
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
from .turned_away import TurnedAway

__all__ = ["PBClientFactory", "PBServerFactory"]

#: How much of a reason an error shows, in characters.
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
    """Return options that are given by name, and the two that have places as well."""
    given = dict(keywords)
    if unsafe_tracebacks is not None:
        given["unsafeTracebacks"] = unsafe_tracebacks
    if security is not None:
        given["security"] = security
    return given


class Watching:
    """A factory that has an eye on its connections."""

    protocol: Any = Broker
    # Subclasses may have an __init__ of their own.
    unsafeTracebacks: Any = False
    limits: BrokerLimits | None = None
    security: Any = None
    call_timeout: float | None = None
    #: Dialects that are spoken, best first; None for those of the broker.
    dialects: Any = None
    #: Who is told of each call.
    observer: CallObserver | None = None
    #: What has an eye on the connections.
    watch: ConnectionDeadlines | None = None
    #: The ``IReactorTime`` that the connections go by; None for the reactor.
    clock: Any = None
    #: The event loop that serves them; None for the reactor.
    shell: Shell | None = None
    #: Whether notes, members and causes of an exception go to the peer.
    explains_failures: bool = True

    def _take(self, options: ConnectionOptions) -> None:
        """Go by options; what is left out of them is as the class has it."""
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
        """Begin to have an eye on connections."""
        if self.watch is not None:
            self.watch.start(clock_of(self))

    def stopFactory(self) -> None:
        """Have an eye on nothing any more."""
        if self.watch is not None:
            self.watch.stop()

    def broker_made(self, broker: Broker) -> None:
        """Learn from a broker that its connection is made."""
        if self.watch is not None:
            self.watch.add(broker)

    def broker_lost(self, broker: Broker, reason: Failure) -> None:
        """Learn from a broker that its connection is lost.

        Args:
            broker: The broker.
            reason: Why.
        """
        if self.watch is not None:
            self.watch.discard(broker)


class PBClientFactory(Watching, _ClientFactory):
    """Makes the client's end of a connection.

    Hand it to ``reactor.connectTCP``, to an endpoint or to
    :func:`pb_broker.connect`; :meth:`getRootObject` may be called before or after.

    Args:
        unsafeTracebacks: As in :class:`ClientOptions`; None for what ``options`` say.
        security: Likewise.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, by the names that :class:`ClientOptions` has for
            them, in place of those in ``options``.

    Attributes:
        explains_failures: Whether notes, members of a group and causes of an exception
            go to the peer with it; True.

    Raises:
        TypeError: There is no such option, or one is of the wrong type.
        ValueError: A time is negative, or no number.
    """

    protocol: Any = Broker
    noisy = False
    # Why a broker has given up its connection; None if none has.
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
        """A Deferred with the first root object, or why there is none."""
        if self._deferred is None:
            self._deferred = self.getRootObject()
        return self._deferred

    def buildProtocol(self, addr: Any) -> Broker:
        """Return a broker for a connection to ``addr``."""
        return _make_broker(self, True)

    def startedConnecting(self, connector: Any) -> None:
        """Learn that a connector will tell of failures."""
        self._connector_tells = True

    def clientConnectionMade(self, broker: Broker) -> None:
        """Learn from a broker that its connection is ready."""
        self._broker = broker
        self._root = broker.remoteForName("root")
        waiting, self.rootObjectRequests = self.rootObjectRequests, []
        for deferred in waiting:
            _give(deferred, self._root)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Fail whoever waits for the root object."""
        self._failAll(reason)

    def clientConnectionLost(
        self, connector: Any, reason: Failure, reconnecting: Any = 0
    ) -> None:
        """Fail whoever waits for the root object, unless there is another try.

        Args:
            connector: What made the connection.
            reason: Why it was lost.
            reconnecting: Whether a subclass is connecting again, so that whoever
                waits gets the next connection's root object.
        """
        given_up, self._given_up = self._given_up, None
        if reconnecting:
            self._broker = None
            self._root = None
        else:
            # A connector knows no more than that the connection was aborted here.
            self._failAll(given_up or reason)

    def broker_lost(self, broker: Broker, reason: Failure) -> None:
        """Learn from a broker that its connection is lost.

        A connector tells the factory itself, with the chance to connect again; an
        endpoint does not.

        Args:
            broker: The broker.
            reason: Why.
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
        Cancelling it stops the waiting, and nothing else.

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
        all: Those that are open.
        strangers: Those of them that have yet to log in.
        turns: What strangers have had of the event loop's turn.
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
        unsafeTracebacks: As in :class:`ServerOptions`; None for what ``options`` say.
        security: Likewise.
        options: Options of the server; None for the defaults.
        **keywords: Single options, by the names that :class:`ServerOptions` has for
            them, in place of those in ``options``.

    Attributes:
        explains_failures: Whether notes, members of a group and causes of an exception
            go to a peer with it; True.  Peers that have yet to log in get none.

    Raises:
        TypeError: ``root`` has no root object to give, there is no such option, or one
            is of the wrong type.
        ValueError: A time is negative, or no number.
    """

    protocol: Any = Broker
    unsafeTracebacks: Any = False
    #: With how many strangers some are turned away, and with how many all.
    login_backlog: tuple[int, int] | None = None
    #: Decides who is turned away.
    random: Random = Random()
    #: How many seconds a connection of a server that closes lingers at least.
    linger: float = LINGER
    _connections: _Connections | None = None
    # Who waits until all are closed; None if this does not close down.
    _draining: list[Deferred[int]] | None = None
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

        A connection that comes too late, or that is one of too many that have yet to
        log in, gets a protocol that ends it at once.
        """
        if self._draining is not None or self._turns_away():
            # Before anything is made for it: there may be many.
            return TurnedAway()
        broker = _make_broker(self, False)
        root = self.root.rootObject(broker)
        later = broker.shell.awaitable(root)
        broker.setNameForLocal(b"root", root if later is None else LaterRoot(later))
        return broker

    def clientConnectionMade(self, protocol: Broker) -> None:
        """Learn from a broker that its connection is ready."""

    @property
    def _open(self) -> _Connections:
        if self._connections is None:
            self._connections = _Connections()
        return self._connections

    def broker_made(self, broker: Broker) -> None:
        """Learn from a broker that its connection is made."""
        super().broker_made(broker)
        self._open.all.add(broker)
        if self._draining is not None:
            broker.abort()
        elif not broker.is_authenticated:
            self._open.strangers.add(broker)
            if broker.profile.shares_turns:
                broker.reading.turns = self._open.turns

    def broker_authenticated(self, broker: Broker) -> None:
        """Learn from a broker that its peer has logged in."""
        self._open.strangers.discard(broker)

    def broker_logged_out(self, broker: Broker) -> None:
        """Learn from a broker that nobody is logged in over it any more."""
        self._open.strangers.add(broker)
        if self.watch is not None:
            # From now on, and not from when the connection was made.
            self.watch.add(broker)

    def _turns_away(self) -> bool:
        """Say whether a stranger is to be turned away, because there are so many.

        By chance, the more the fuller it is: whoever wants to keep others out has to
        open connections faster than all of them together.
        """
        strangers = len(self._open.strangers)
        if not strangers:
            return False
        # A program may put a function in the place of the class.
        kind = (
            self.protocol if hasattr(self.protocol, "profile") else type(self).protocol
        )
        backlog = self.login_backlog or getattr(kind, "profile", MODERN).login_backlog
        if backlog is None:
            return False
        some, all_ = backlog
        over = strangers - some
        return over >= 0 and self.random.random() * (all_ - some) <= over

    def broker_lost(self, broker: Broker, reason: Failure) -> None:
        """Learn from a broker that its connection is lost.

        Args:
            broker: The broker.
            reason: Why.
        """
        super().broker_lost(broker, reason)
        self._open.all.discard(broker)
        self._open.strangers.discard(broker)
        self._finish_draining()

    def drain(self, timeout: float | None = None) -> Deferred[int]:
        """Close down: finish what has begun, and begin nothing more.

        New connections are closed at once (stop listening as well, so that nobody
        tries), and new calls fail with :class:`~pb_broker.ClosingDown`.  When the calls
        that have come over a connection are answered, and its streams and pagers are
        at their end, it lingers, and is closed.

        Args:
            timeout: After how many seconds the connections are cut off over which
                there is something left to be done; None for never.  Streams then fail
                with ``ClosingDown``.

        Returns:
            A Deferred with how many had to be cut off, when all are closed.
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
                # Others are still told that their calls are not begun.
                broker.time_is_up()


def server_factory_of(
    kind: Callable[..., PBServerFactory],
    root: Any,
    options: ConnectionOptions | None,
    keywords: Mapping[str, Any],
) -> PBServerFactory:
    """Return a factory for what is to be served: that itself, if it is one.

    Args:
        kind: The class of the factory that is made.
        root: A factory, or what it takes for its root object.
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
    """Return the factory of a client, made if there is none.

    Args:
        kind: The class of the factory.
        factory: A factory; None to make one.
        options: Options for the factory that is made.
        keywords: Options as keyword arguments.

    Raises:
        TypeError: It is no such factory, or has options besides.
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
    # A certificate that was not accepted, most of all.
    error.__cause__ = lost.value
    return error
