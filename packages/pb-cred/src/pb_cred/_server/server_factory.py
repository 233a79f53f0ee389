"""This module defines the server factory, which serves a Portal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.cred.portal import IRealm, Portal

import pb_broker
from pb_broker import BrokerLimits, CallObserver, Heartbeat, IPBRoot
from pb_broker.extending import checked_options, clock_of
from pb_cred._sessions.audit_log import Audit, AuditEvent
from pb_cred._sessions.session_list import SessionPolicy, Sessions
from pb_cred.mechanisms import ServerMechanism

from .login_root import PortalRoot
from .login_service import LoginService
from .login_throttle import LoginDelays

if TYPE_CHECKING:
    from pb_cred.tickets import Tickets

__all__ = ["PBServerFactory"]


class _Same:
    """What stands for an argument that was left out."""

    def __repr__(self) -> str:
        return "as it is"


_SAME = _Same()


class PBServerFactory(pb_broker.PBServerFactory):
    """Makes the server's end of each connection: a root object, or a login.

    Args:
        root: What provides or can be adapted to :class:`pb_broker.IPBRoot`, such as
            a :class:`pb_broker.Root`; or a ``twisted.cred`` Portal, for a server
            that peers have to log in to.
        security: The policy for the peers' values; None means
            :data:`pb_jelly.globalSecurity`.  As in ``twisted.spread``, a bool or an
            int in this place is ``unsafeTracebacks``.
        portal: Another way to give a Portal; ``root`` may then be left out, or be
            the portal's realm.  As in ``twisted.spread``, a policy in this place is
            ``security``.
        unsafeTracebacks: Whether remote methods that fail show the peer their
            traceback.
        limits: What each connection may cost; None means the process's default.
        login_limits: What it may cost as long as nobody has logged in; None means
            the default: 16 KiB, 256 nodes and 8 levels for a message, 16 references.
            Without a portal there is no login to wait for.
        call_timeout: How long answers to calls from here are waited for, in seconds;
            None for ever.
        handshake_timeout: As for :class:`pb_broker.PBServerFactory`.
        login_timeout: How many seconds a peer has to log in; None means the default,
            60.
        heartbeat: As for :class:`pb_broker.PBServerFactory`.
        login_backlog: As for :class:`pb_broker.PBServerFactory`.
        login_tries: How many refused logins end a connection; None means the default,
            6.
        linger: As for :class:`pb_broker.PBServerFactory`.
        observer: As for :class:`pb_broker.PBServerFactory`.
        mechanisms: By which mechanisms peers may log in, the best first: names, or
            objects from :mod:`pb_cred.mechanisms`.  None means those of
            SCRAM-SHA-256-PLUS, SCRAM-SHA-256 and ANONYMOUS that the portal's checkers
            can serve, and PLAIN where they have to see the password.
        allow_legacy_md5: Whether peers that know no mechanism, as ``twisted.spread``
            ones, may log in by MD5; None means the default, False.
        session_policy: How long sessions last, and how many each user may have; None
            for as long and as many as they like.
        login_delays: How long those wait who try to log in again and again; None means
            the default.
        tickets: What gives tickets to those who have logged in, and takes them in place
            of credentials; None for none.
        audit: Called with an :class:`AuditEvent` for each login, refusal and logout,
            and for what else concerns who may come in.

    Attributes:
        sessions: The sessions of those who have logged in: to be listed and ended.

    Raises:
        TypeError: There is nothing to serve, or two things; or there are mechanisms
            and no portal.
        ValueError: There is no such mechanism, or the portal's checkers cannot serve
            it.
    """

    portal_root: type[PortalRoot] = PortalRoot
    # Subclasses may have an __init__ of their own.
    allow_legacy_md5: bool = False
    _sessions: Sessions | None = None

    def __init__(
        self,
        root: Any = None,
        security: Any = None,
        portal: Any = None,
        unsafeTracebacks: Any = False,
        *,
        limits: BrokerLimits | None = None,
        login_limits: BrokerLimits | None = None,
        call_timeout: float | None = None,
        handshake_timeout: float | None = None,
        login_timeout: float | None = None,
        heartbeat: Heartbeat | bool | None = None,
        login_backlog: tuple[int, int] | None = None,
        login_tries: int | None = None,
        linger: float | None = None,
        observer: CallObserver | None = None,
        mechanisms: Iterable[str | ServerMechanism] | None = None,
        allow_legacy_md5: bool | None = None,
        session_policy: SessionPolicy | None = None,
        login_delays: LoginDelays | None = None,
        tickets: Tickets | None = None,
        audit: Callable[[AuditEvent], object] | None = None,
    ) -> None:
        checked_options(login_limits=login_limits, login_timeout=login_timeout)
        profile = self.protocol.profile
        if allow_legacy_md5 is not None:
            self.allow_legacy_md5 = allow_legacy_md5
        self._sessions = Sessions(session_policy or SessionPolicy(), Audit(audit))
        served = partial(
            self.portal_root,
            login_limits=_or(login_limits, profile.login_limits),
            login_tries=_or(login_tries, profile.login_tries),
            mechanisms=mechanisms,
            allow_legacy_md5=self.allow_legacy_md5,
            login_timeout=_or(login_timeout, profile.login_timeout),
            login_delays=login_delays,
            sessions=self._sessions,
            tickets=tickets,
        )
        if isinstance(security, int):
            security, unsafeTracebacks = None, security or unsafeTracebacks
        if hasattr(portal, "isTypeAllowed"):
            if security is not None:
                raise TypeError("there are two policies in place of one")
            security, portal = portal, None
        if portal is not None:
            if root is not None and not IRealm.providedBy(root):
                raise TypeError("with a portal, the only root is its login")
            root = served(portal)
        elif isinstance(root, Portal) and _adapted(root) is None:
            # Somebody may have registered an adapter for portals of their own.
            root = served(root)
        elif mechanisms is not None or tickets is not None:
            raise TypeError("without a portal, there is no login by any mechanism")
        elif session_policy or login_delays or audit:
            raise TypeError("without a portal, there is no login to have an eye on")
        super().__init__(
            root,
            unsafeTracebacks,
            security,
            limits=limits,
            call_timeout=call_timeout,
            handshake_timeout=handshake_timeout,
            login_timeout=login_timeout,
            heartbeat=heartbeat,
            login_backlog=login_backlog,
            linger=linger,
            observer=observer,
        )

    @property
    def sessions(self) -> Sessions:
        """The sessions of those who have logged in."""
        login_service: LoginService | None = getattr(
            getattr(self, "root", None), "login_service", None
        )
        if login_service is not None:
            # A program may have made the root in its own way.
            return login_service.sessions
        if self._sessions is None:
            self._sessions = Sessions(SessionPolicy(), Audit())
        return self._sessions

    def change_login(
        self,
        *,
        mechanisms: Iterable[str | ServerMechanism] | _Same | None = _SAME,
        allow_legacy_md5: bool | _Same = _SAME,
        login_tries: int | _Same | None = _SAME,
        login_delays: LoginDelays | _Same = _SAME,
        session_policy: SessionPolicy | _Same = _SAME,
    ) -> None:
        """Change who may log in from now on, and how; each change is audited.

        Args:
            mechanisms: As when the factory is made; what is left out stays as it is.
            allow_legacy_md5: Likewise.
            login_tries: Likewise; None for any number.
            login_delays: Likewise.
            session_policy: Likewise; holds for sessions that have begun as well.

        Raises:
            TypeError: There is no login.
            ValueError: There is no such mechanism, or the portal's checkers cannot
                serve it.  Nothing has been changed.
        """
        login_service: LoginService | None = getattr(self.root, "login_service", None)
        if login_service is None:
            raise TypeError("without a portal, there is no login to change")
        if not isinstance(mechanisms, _Same):
            before = login_service.mechanism_names()
            login_service.set_mechanisms(mechanisms)
            self._tell("mechanisms", before, login_service.mechanism_names())
        if not isinstance(allow_legacy_md5, _Same):
            before_md5, login_service.allow_legacy_md5 = (
                login_service.allow_legacy_md5,
                allow_legacy_md5,
            )
            self._tell("allow_legacy_md5", before_md5, allow_legacy_md5)
        if not isinstance(login_tries, _Same):
            before_tries, login_service.login_tries = (
                login_service.login_tries,
                login_tries,
            )
            self._tell("login_tries", before_tries, login_tries)
        if not isinstance(login_delays, _Same):
            before_delays, login_service.tries.delays = (
                login_service.tries.delays,
                login_delays,
            )
            self._tell("login_delays", before_delays, login_delays)
        if not isinstance(session_policy, _Same):
            self.sessions.policy = session_policy

    def _tell(self, what: str, before: object, after: object) -> None:
        if before != after:
            self.sessions.audit.tell(
                "policy_changed", what=what, before=before, after=after
            )

    def startFactory(self) -> None:
        """Begin to have an eye on connections and sessions."""
        super().startFactory()
        self.sessions.start(clock_of(self))

    def stopFactory(self) -> None:
        """Have an eye on nothing any more."""
        super().stopFactory()
        self.sessions.stop()


def _or(given: Any, usual: Any) -> Any:
    return usual if given is None else given


def _adapted(root: Any) -> Any:
    """Return what provides IPBRoot for ``root``, or None."""
    interface: Any = IPBRoot
    return interface(root, None)
