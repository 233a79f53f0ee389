"""This module is the client service, which connects again after each loss.

Twisted's ClientService does that, but distinguishes only open and lost connections: one
that is lost while it is being prepared brings it out of step.  So it gets an endpoint
whose connections have been prepared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    fail,
    maybeDeferred,
    succeed,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker._connection.broker import Broker
from pb_broker._dialects.pb.messages import encoded_name
from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._event_loops.answers import Answer
from pb_broker._event_loops.shell import TWISTED, as_deferred
from pb_broker._objects.remote_reference import RemoteReference
from pb_broker._objects.stubs import Caller
from pb_broker.errors import DeadReferenceError, NotSent

from .argument_checks import client_endpoint
from .connect import unwrapped
from .factories import PBClientFactory, client_factory_of, ready
from .options import ClientKeywords, ClientOptions
from .places import ClientEndpoint

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["PBClientService", "ServiceReference"]

_log = SafeLogger(namespace="pb_broker")


class PBClientService(ClientService):
    """Connects to a server, and again whenever the connection is lost.

    A Twisted service: ``startService`` begins, ``stopService`` ends it.  Attempts that
    fail are repeated after growing, randomized pauses, so that the clients of a server
    that was away do not all come back at once.

    Args:
        endpoint: The server's endpoint: a Twisted client endpoint.
        factory: The factory of this end of each connection; None to make one with the
            options.
        retry_policy: Function from the number of failed attempts to the seconds until
            the next; None for one to sixty.
        on_connected: Called with the root object of each new connection, before any
            caller gets it.  If it returns a Deferred or a coroutine, the connection
            waits for that; if it fails, so has the attempt.
        on_lost: Called with a Failure, the reason, each time the connection is lost.
        clock: An ``IReactorTime``; None for the reactor.
        options: Options of the connections; None for the defaults.
        **keywords: Single options, as for :class:`PBClientFactory`.

    Raises:
        TypeError: ``endpoint`` is no endpoint, or ``factory`` no factory.
    """

    _factory_class: ClassVar[type[PBClientFactory]] = PBClientFactory

    def __init__(
        self,
        endpoint: IStreamClientEndpoint | ClientEndpoint,
        factory: PBClientFactory | None = None,
        *,
        retry_policy: Callable[[int], float] | None = None,
        on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
        on_lost: Callable[[Failure], object] | None = None,
        clock: Any = None,
        options: ClientOptions | None = None,
        **keywords: Unpack[ClientKeywords],
    ) -> None:
        policy = backoffPolicy() if retry_policy is None else retry_policy
        if isinstance(endpoint, str):
            raise TypeError(
                "a service connects to an endpoint: "
                "clientFromString(reactor, description)"
            )
        there = client_endpoint(endpoint, lambda: None)
        made = client_factory_of(self._factory_class, factory, options, keywords)
        prepared: Any = _Prepared(there, made, self._prepare)
        super().__init__(prepared, prepared, policy, clock)
        self._brokers = made
        self._shell = made.shell or TWISTED
        self._on_connected = on_connected
        self._on_lost = on_lost
        #: The reference for calls; None while there is no connection.
        self.current: Any = None

    def when_root(self, fail_after: int | None = None) -> Answer[RemoteReference[Any]]:
        """Wait for a connection.

        Args:
            fail_after: Number of failed attempts after which to give up; 0 to give up
                at once if there is no connection, None for never.

        Returns:
            An :class:`Answer` with a reference to the server's root object: a Deferred
            on Twisted's reactor, a Future on asyncio.  It fails with the error of the
            last attempt, with DeadReferenceError if ``fail_after`` is 0, and with
            CancelledError when the service is stopped.
        """
        when = self._when(fail_after, lambda: self._brokers.getRootObject())
        waiting: Answer[RemoteReference[Any]] = self._shell.given(when)
        return waiting

    def whenConnected(self, /, failAfterFailures: int | None = None) -> Deferred[Any]:
        """Wait for a connection; see ``ClientService``.

        Returns:
            A Deferred with the broker.
        """
        connected: Deferred[Any] = super().whenConnected(failAfterFailures)
        return connected.addCallback(lambda link: link.broker)

    def reference(self, *, hold: bool = True) -> ServiceReference:
        """Return a reference that lasts for all connections of this service.

        Args:
            hold: True to let calls wait while there is no connection; False to fail
                them with DeadReferenceError.
        """
        return ServiceReference(self, hold)

    def _when(self, fail_after: int | None, result: Callable[[], Any]) -> Deferred[Any]:
        self._shell.check_thread()
        if self.current is not None:
            return maybeDeferred(result)
        if fail_after == 0:
            return fail(DeadReferenceError("there is no connection now"))
        connected: Deferred[Any] = self.whenConnected(fail_after)
        return connected.addCallback(lambda _: result())

    def _when_current(self, fail_after: int | None) -> Deferred[Any]:
        return self._when(fail_after, lambda: self.current)

    def _prepare(self, broker: Broker) -> Deferred[Any]:
        """Prepare a new connection: greet the root object, and call on_connected."""
        prepared: Deferred[Any] = ready(broker)
        prepared.addCallback(lambda _: broker.remoteForName("root"))
        prepared.addCallback(self._greet)
        return prepared.addCallback(self._connected, broker)

    def _greet(self, root: Any) -> Any:
        """Return the reference for calls, or a Deferred of it; a login overrides it."""
        return root

    def _connected(self, current: Any, broker: Broker) -> Deferred[Any]:
        if self._on_connected is None:
            told: Deferred[Any] = succeed(None)
        else:
            told = self._shell.run(_called(self._on_connected, current))

        def begin(_: object) -> None:
            # Raises if the connection was lost meanwhile, so that it is not used.
            broker.notifyOnDisconnect(lambda: self._lost(broker))
            self.current = current

        return told.addCallback(begin)

    def _lost(self, broker: Broker) -> None:
        self.current = None
        if self._on_lost is not None:
            assert broker.lost_reason is not None
            self._on_lost(broker.lost_reason)


async def _called(function: Callable[[Any], Any], argument: Any) -> Any:
    result = function(argument)
    return await result if hasattr(result, "__await__") else result


class _Link(Protocol):
    """A stand-in for the connection, which ends with it, for ClientService."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker


@implementer(IStreamClientEndpoint)
class _Prepared:
    """An endpoint whose connections are prepared, and the factory of their links.

    Args:
        endpoint: The endpoint of the server.
        factory: The factory of this end of each connection.
        prepare: Called with the broker; returns a Deferred that fires when the
            connection can be used.
    """

    def __init__(
        self,
        endpoint: Any,
        factory: PBClientFactory,
        prepare: Callable[[Broker], Deferred[Any]],
    ) -> None:
        self._endpoint = endpoint
        self._factory = factory
        self._prepare = prepare
        self._broker: Any = None

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Connect, and give the service its link when the connection is prepared."""
        connecting: Deferred[Any] = self._endpoint.connect(self._factory)
        return connecting.addCallback(self._connected, protocolFactory)

    def _connected(self, protocol: Any, service: Any) -> Deferred[Any]:
        broker = unwrapped(protocol)
        prepared = self._prepare(broker)
        prepared.addCallback(self._link, broker, service)
        return prepared.addErrback(_close, broker)

    def _link(self, _: object, broker: Broker, service: Any) -> Any:
        self._broker = broker
        link = service.buildProtocol(None)
        link.makeConnection(broker.transport)
        # Raises if the connection was lost meanwhile.
        broker.notifyOnDisconnect(lambda: link.connectionLost(broker.lost_reason))
        return link

    def buildProtocol(self, addr: Any) -> _Link:
        """Return the link of a prepared connection."""
        return _Link(self._broker)


def _close(failure: Failure, broker: Broker) -> Failure:
    why: Any = failure.value
    broker.give_up(why)
    return failure


class _Stopped(NotSent, CancelledError):
    """A call waited for a connection of a service that was stopped."""


class ServiceReference(Caller):
    """A reference of a service, which calls through its present connection.

    Args:
        service: The service.
        hold: True to let calls wait while there is no connection; False to fail them.
    """

    __slots__ = ("_hold", "_service")

    def __init__(self, service: PBClientService, hold: bool) -> None:
        self._service = service
        self._hold = hold

    def callRemote(self, _name: str | bytes, /, *args: Any, **kw: Any) -> Answer[Any]:
        """Call a method; see :meth:`pb_broker.RemoteReference.callRemote`.

        A call is made once: if the connection is lost before its answer has come, it
        fails with MaybeExecuted, or with NotSent if it was not sent.  A call that waits
        for a connection fails with NotSent when the service is stopped.

        Raises:
            WrongThread: This is another thread than that of the event loop.
            TypeError: The name is no text.
        """
        encoded_name(_name)
        when = self._service._when_current(None if self._hold else 0)
        when.addErrback(self._never_connected)
        when.addCallback(
            lambda current: as_deferred(current.callRemote(_name, *args, **kw))
        )
        answer: Answer[Any] = self._service._shell.given(when)
        return answer

    def _never_connected(self, failure: Failure) -> Failure:
        """Return the failure of a call that was never made, NotSent at a stop."""
        if failure.check(CancelledError) and not self._service.running:
            # The service was stopped; the caller has not cancelled the call.
            return Failure(_Stopped("the service was stopped, and the call not made"))
        return failure
