"""This module defines the client service, which stays connected and logged in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

import pb_broker
from pb_broker import Answer, CallTimeout, RemoteError, RemoteReference
from pb_broker.extending import ClientEndpoint, SafeLogger
from pb_cred._client.client_factory import PBClientFactory, log_in
from pb_cred._client.options import ClientKeywords
from pb_cred._tickets import ticket_request
from pb_cred._tickets.ticket import Ticket, TicketClientMechanism
from pb_cred.errors import MechanismError, NoTicket

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["PBClientService"]

_log = SafeLogger(namespace="pb_cred")


class PBClientService(pb_broker.PBClientService):
    """Connects to a server and logs in, and again whenever the connection is lost.

    Args:
        endpoint: As for :class:`pb_broker.PBClientService`, like the rest.
        factory: Makes our end of each connection.
        credentials: Credentials of the user; None for no login.  A function is called
            for them each time that they are needed; it may return a Deferred or a
            coroutine, and if it fails, so has the attempt.
        mind: An object of ours for the avatar to talk to.
        retry_policy: Called with the number of failed attempts, returns the seconds
            until the next one.  A refused login is a failed attempt.
        on_connected: Called with the target of calls: the avatar, or the root without
            credentials.
        on_lost: Called with the reason when the connection is lost.
        clock: An ``IReactorTime``; None for the reactor.
        tickets: True to ask for a ticket after a login with the credentials, and to
            log in by it from then on; or a ticket from before, to begin with.  Where
            the server has none, or refuses it, the credentials are used.
        on_ticket: Called with each ticket that is given, to save it.
        options: Options of the connections and of logins; None for the defaults.
        **keywords: Single options, as for :class:`PBClientFactory`.

    Attributes:
        ticket: The ticket of the next login; None if it is by the credentials.

    Raises:
        ValueError: There are to be tickets, and no credentials.
    """

    _factory_class: ClassVar[type[pb_broker.PBClientFactory]] = PBClientFactory

    def __init__(
        self,
        endpoint: IStreamClientEndpoint | ClientEndpoint,
        factory: PBClientFactory | None = None,
        credentials: object | None = None,
        mind: object | None = None,
        *,
        retry_policy: Callable[[int], float] | None = None,
        on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
        on_lost: Callable[[Failure], object] | None = None,
        clock: Any = None,
        tickets: bool | Ticket = False,
        on_ticket: Callable[[Ticket], object] | None = None,
        options: pb_broker.ClientOptions | None = None,
        **keywords: Unpack[ClientKeywords],
    ) -> None:
        if tickets is not False and credentials is None:
            raise ValueError("tickets are for those who have credentials as well")
        others: Any = keywords
        super().__init__(
            endpoint,
            factory,
            retry_policy=retry_policy,
            on_connected=on_connected,
            on_lost=on_lost,
            clock=clock,
            options=options,
            **others,
        )
        self._credentials: Any = credentials
        self._mind = mind
        self._asks_for_tickets = tickets is not False
        self._on_ticket = on_ticket
        #: Credentials that the function gave, until the server has accepted or refused
        #: them; None for none.
        self._asked: Any = None
        self.ticket: Ticket | None = None
        if isinstance(tickets, Ticket):
            self.ticket = tickets
            if tickets.on_change is None:
                tickets.on_change = on_ticket

    def when_avatar(
        self, fail_after: int | None = None
    ) -> Answer[RemoteReference[Any]]:
        """Wait until we are logged in.

        Args:
            fail_after: As for :meth:`when_root`.

        Returns:
            An :class:`~pb_broker.Answer` with a reference to the avatar.

        Raises:
            ValueError: There are no credentials to log in with.
        """
        if self._credentials is None:
            raise ValueError("without credentials there is no avatar")
        waiting: Answer[RemoteReference[Any]]
        waiting = self._shell.given(self._when_current(fail_after))
        return waiting

    def _greet(self, root: Any) -> Any:
        if self._credentials is None:
            return root
        if self.ticket is None:
            return self._log_in(root)
        # The mechanisms of the factory are for the credentials.
        by_ticket = (TicketClientMechanism(),)
        login = log_in(root, self.ticket, self._mind, by_ticket)
        return login.addErrback(self._fall_back, root)

    def _fall_back(self, failure: Failure, root: Any) -> Deferred[Any]:
        """Log in with the credentials, at a server that does not take the ticket."""
        # A server that violates the mechanism gets no credentials.
        failure.trap(LoginFailed)
        if failure.check(UnauthorizedLogin) is not None:
            self.ticket = None
        return self._log_in(root)

    def _log_in(self, root: Any) -> Deferred[Any]:
        return self._credentials_now().addCallback(self._log_in_with, root)

    def _credentials_now(self) -> Deferred[Any]:
        if not callable(self._credentials):
            return succeed(self._credentials)
        if self._asked is not None:
            return succeed(self._asked)

        def ask() -> Any:
            answer = self._credentials()
            waiting = self._shell.awaitable(answer)
            return answer if waiting is None else waiting

        def keep(credentials: Any) -> Any:
            # Kept for the next attempt, should the connection be lost before this one
            # is answered.
            self._asked = credentials
            return credentials

        return maybeDeferred(ask).addCallback(keep)

    def _log_in_with(self, credentials: Any, root: Any) -> Deferred[Any]:
        login = log_in(root, credentials, self._mind)
        login.addCallbacks(self._let_in, self._refused)
        if self._asks_for_tickets:
            login.addCallback(self._ask_for_ticket)
        return login

    def _let_in(self, avatar: Any) -> Any:
        self._asked = None
        return avatar

    def _refused(self, failure: Failure) -> Failure:
        if failure.check(UnauthorizedLogin) is not None:
            self._asked = None
        return failure

    def _ask_for_ticket(self, avatar: RemoteReference) -> Deferred[Any]:
        """Ask for a ticket before the avatar is used; none is no failure."""
        asked = ticket_request.ask(avatar, self._on_ticket)
        asked.addCallbacks(self._take, self._do_without)
        return asked.addCallback(lambda _: avatar)

    def _take(self, ticket: Ticket) -> None:
        self.ticket = ticket
        ticket._changed()

    def _do_without(self, failure: Failure) -> None:
        if failure.check(LoginFailed, NoTicket) is None:
            kind = failure.trap(MechanismError, RemoteError, CallTimeout)
            # The kind alone: the server's words are not for our log.
            _log.warn(
                "A server gave no ticket: {kind}",
                pb_event="ticket_not_given",
                kind=kind.__name__,
            )
