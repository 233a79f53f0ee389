"""This module makes a broker for each connection that is opened or accepted."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.python.failure import Failure

from pb_broker._compatibility import MODERN, BrokerLimits, Compatibility
from pb_broker._connection.broker import Broker
from pb_broker._connection.closing import LINGER
from pb_broker._connection.deadlines import ConnectionDeadlines, Heartbeat, as_heartbeat
from pb_broker._connection.login_turns import LoginTurns
from pb_broker._connection.transport_output import undelivered
from pb_broker._event_loops.clock import clock_of
from pb_broker._event_loops.shell import TWISTED, Shell
from pb_broker._objects.deferred_root import LaterRoot
from pb_broker._objects.remote_reference import RemoteReference
from pb_broker._session.observers import CallObserver
from pb_broker.errors import ClosingDown, DeadReferenceError, reason_text

from .argument_checks import checked_options, checked_root
from .turned_away import TurnedAway

__all__ = ["PBClientFactory", "PBServerFactory"]

#: How much of a reason an error shows, in characters.
_MOST_REASON: Final = 300

if TYPE_CHECKING:
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
    return broker


def _watch(
    factory: Any,
    handshake_timeout: float | None,
    login_timeout: float | None,
    heartbeat: Heartbeat | bool | None,
) -> ConnectionDeadlines:
    profile: Compatibility = getattr(factory.protocol, "profile", MODERN)
    if handshake_timeout is None:
        handshake_timeout = profile.handshake_timeout
    if login_timeout is None:
        login_timeout = profile.login_timeout
    return ConnectionDeadlines(
        handshake_timeout, login_timeout, as_heartbeat(heartbeat)
    )


class _Watching:
    """A factory that has an eye on its connections."""

    # Subclasses may have an __init__ of their own.
    limits: BrokerLimits | None = None
    security: Any = None
    call_timeout: float | None = None
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


class PBClientFactory(_Watching, _ClientFactory):
    """Makes the client's end of a connection.

    Hand it to ``reactor.connectTCP``, to an endpoint or to
    :func:`pb_broker.connect`; :meth:`getRootObject` may be called before or after.

    Args:
        unsafeTracebacks: Whether remote methods of ours that fail show the peer
            their traceback.
        security: The policy for the peer's values; None means
            :data:`pb_jelly.globalSecurity`.
        limits: What the connection may cost; None means the process's default.
        call_timeout: How long answers to calls from here are waited for, in seconds;
            None for ever.
        handshake_timeout: How many seconds a peer has until both ends are ready to
            talk; None means the default, 30.
        heartbeat: Whether a peer that is silent is asked for a sign of life, and a
            connection without any is ended: True for after 60 seconds, which may take
            20 more, or a :class:`Heartbeat`.
        observer: Who is told of each call, there and back; None for nobody.

    Attributes:
        explains_failures: Whether notes, members of a group and causes of an exception
            go to the peer with it; True.
    """

    protocol: Any = Broker
    noisy = False
    # Why a broker has given up its connection; None if none has.
    _given_up: Failure | None = None

    def __init__(
        self,
        unsafeTracebacks: Any = False,
        security: Any = None,
        *,
        limits: BrokerLimits | None = None,
        call_timeout: float | None = None,
        handshake_timeout: float | None = None,
        heartbeat: Heartbeat | bool | None = None,
        observer: CallObserver | None = None,
    ) -> None:
        checked_options(
            limits=limits,
            call_timeout=call_timeout,
            handshake_timeout=handshake_timeout,
        )
        self.watch = _watch(self, handshake_timeout, None, heartbeat)
        self.observer = observer
        self.unsafeTracebacks = unsafeTracebacks
        self.security = security
        self.limits = limits
        self.call_timeout = call_timeout
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


class PBServerFactory(_Watching, ServerFactory):
    """Makes the server's end of each connection, with an object to offer.

    Args:
        root: Something that provides, or can be adapted to,
            :class:`~pb_broker.interfaces.IPBRoot`: usually a
            :class:`~pb_broker.Root`.
        unsafeTracebacks: Whether remote methods that fail show the peer their
            traceback.
        security: The policy for the peers' values; None means
            :data:`pb_jelly.globalSecurity`.
        limits: What each connection may cost; None means the process's default.
        call_timeout: How long answers to calls from here are waited for, in seconds;
            None for ever.
        handshake_timeout: How many seconds a peer has until both ends are ready to
            talk; None means the default, 30.
        login_timeout: How many seconds a peer has to log in, where it has to; None
            means the default, 60.
        heartbeat: Whether a peer that is silent is asked for a sign of life, and a
            connection without any is ended: True for after 60 seconds, which may take
            20 more, or a :class:`Heartbeat`.
        login_backlog: With how many connections that have yet to log in some are turned
            away, by chance, and with how many all; None means the default, 100 and
            1,000.
        linger: For how many seconds at least a server that closes down answers calls
            with :class:`~pb_broker.ClosingDown` before it closes a connection, so that
            their callers know that they were not begun; two round trips are waited for
            in any case.  None means the default, 0.05; with 0 it closes at once.
        observer: Who is told of each call, there and back; None for nobody.

    Attributes:
        explains_failures: Whether notes, members of a group and causes of an exception
            go to a peer with it; True.  Peers that have yet to log in get none.

    Raises:
        TypeError: ``root`` has no root object to give.
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
        root: Any,
        unsafeTracebacks: Any = False,
        security: Any = None,
        *,
        limits: BrokerLimits | None = None,
        call_timeout: float | None = None,
        handshake_timeout: float | None = None,
        login_timeout: float | None = None,
        heartbeat: Heartbeat | bool | None = None,
        login_backlog: tuple[int, int] | None = None,
        linger: float | None = None,
        observer: CallObserver | None = None,
    ) -> None:
        checked_options(
            limits=limits,
            call_timeout=call_timeout,
            handshake_timeout=handshake_timeout,
            login_timeout=login_timeout,
        )
        self.observer = observer
        if linger is not None:
            self.linger = linger
        self.watch = _watch(self, handshake_timeout, login_timeout, heartbeat)
        if login_backlog is not None:
            self.login_backlog = login_backlog
        self.root: Any = checked_root(root)
        self.unsafeTracebacks = unsafeTracebacks
        self.security = security
        self.limits = limits
        self.call_timeout = call_timeout

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


def serving(
    root: Any, kind: type[PBServerFactory] = PBServerFactory
) -> PBServerFactory:
    """Return a factory for what is to be served: that itself, if it is one.

    Args:
        root: What a factory takes for its root object, or a factory.
        kind: Of what class to make one.
    """
    return root if isinstance(root, PBServerFactory) else kind(root)


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
