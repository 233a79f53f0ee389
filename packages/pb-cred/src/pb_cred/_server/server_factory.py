"""This module defines the server factory, which serves a portal or a root."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from warnings import warn

from twisted.cred.portal import IRealm, Portal

import pb_broker
from pb_broker import IPBRoot, SecurityOptions
from pb_broker.extending import ServedRoot, clock_of
from pb_cred._sessions.audit_log import Audit
from pb_cred._sessions.session_list import SessionPolicy, Sessions
from pb_cred.mechanisms import ServerMechanism

from .legacy_arguments import in_our_order
from .login_root import PortalRoot
from .login_service import LoginService
from .login_throttle import LoginDelays
from .options import ServerFactoryKeywords, ServerOptions, server_options_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["PBServerFactory"]


class _Same:
    """The mark of an argument that was left out."""

    def __repr__(self) -> str:
        return "as it is"


_SAME = _Same()


class PBServerFactory(pb_broker.PBServerFactory):
    """Makes the server's end of each connection: a root object, or a login.

    Args:
        root: An object that provides or can be adapted to :class:`pb_broker.IPBRoot`,
            such as a :class:`pb_broker.Root`; or a ``twisted.cred`` Portal, for a
            server that peers have to log in to.
        security: As in :class:`ServerOptions`; None for what ``options`` say.
        portal: Another way to give a Portal; ``root`` may then be left out, or be
            the portal's realm.
        unsafeTracebacks: As in :class:`ServerOptions`; None for what ``options`` say.
        options: Options of the server; None for the defaults.
        **keywords: Single options, by the names that :class:`ServerOptions` and
            :class:`LoginOptions` have for them, in place of those in ``options``.

    Attributes:
        sessions: The sessions of logged-in users: to be listed and ended.

    Raises:
        TypeError: There is no root to serve, or two; there are options of logins, and
            no portal; or there is no such option, or one is of the wrong type.
        ValueError: There is no such mechanism, or the portal's checkers cannot serve
            it; or a time is negative.
    """

    portal_root: type[PortalRoot] = PortalRoot
    # Class attributes, for subclasses whose __init__ does not call this one.
    allow_legacy_md5: bool = False
    _sessions: Sessions | None = None

    def __init__(
        self,
        root: ServedRoot | Portal | None = None,
        security: SecurityOptions | None = None,
        portal: Portal | None = None,
        unsafeTracebacks: Any = None,
        *,
        options: pb_broker.ServerOptions | None = None,
        **keywords: Unpack[ServerFactoryKeywords],
    ) -> None:
        legacy = in_our_order(security, portal, unsafeTracebacks)
        if legacy[0] is not security or legacy[1] is not portal:
            warn(
                "unsafeTracebacks in the second place and a policy in the third are"
                " deprecated: give them by name",
                DeprecationWarning,
                stacklevel=2,
            )
            security, portal, unsafeTracebacks = legacy
        taken = server_options_of(options, keywords, type(self).__name__)
        login = taken.login
        if login.allow_legacy_md5 is not None:
            self.allow_legacy_md5 = login.allow_legacy_md5
        policy = login.session_policy or SessionPolicy()
        self._sessions = Sessions(policy, Audit(login.audit))
        served: Any = root
        if portal is not None:
            if root is not None and not IRealm.providedBy(root):
                raise TypeError("with a portal, the only root is its login")
            served = self._login_to(portal, taken)
        elif isinstance(root, Portal) and _adapted(root) is None:
            # A program may have registered an adapter for portals of its own.
            served = self._login_to(root, taken)
        elif login.mechanisms is not None or login.tickets is not None:
            raise TypeError("without a portal, there is no login by any mechanism")
        elif login.session_policy or login.login_delays or login.audit:
            raise TypeError("without a portal, there is no login to have an eye on")
        super().__init__(served, unsafeTracebacks, security, options=taken)

    def _login_to(self, portal: Portal, options: ServerOptions) -> PortalRoot:
        """Return the root object by which peers log in."""
        login, profile = options.login, self.protocol.profile
        return self.portal_root(
            portal,
            login_limits=_or(login.login_limits, profile.login_limits),
            login_tries=_or(login.login_tries, profile.login_tries),
            mechanisms=login.mechanisms,
            allow_legacy_md5=self.allow_legacy_md5,
            login_timeout=_or(options.login_timeout, profile.login_timeout),
            login_delays=login.login_delays,
            sessions=self._sessions,
            tickets=login.tickets,
        )

    @property
    def sessions(self) -> Sessions:
        """The sessions of logged-in users."""
        login_service: LoginService | None = getattr(
            getattr(self, "root", None), "login_service", None
        )
        if login_service is not None:
            # A program may have made the root, and its sessions, itself.
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
        """Change the options of later logins; each change is audited.

        Args:
            mechanisms: As when the factory is made; left out for no change.
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

    def login_names(self) -> list[str] | None:
        """Return the names of the mechanisms; None for a root without a login."""
        root = getattr(self, "root", None)
        login_service: LoginService | None = getattr(root, "login_service", None)
        return None if login_service is None else login_service.present_names()

    def startFactory(self) -> None:
        """Begin to watch connections and sessions."""
        super().startFactory()
        self.sessions.start(clock_of(self))

    def stopFactory(self) -> None:
        """Stop watching connections and sessions."""
        super().stopFactory()
        self.sessions.stop()


def _or(given: Any, usual: Any) -> Any:
    return usual if given is None else given


def _adapted(root: Any) -> Any:
    """Return the IPBRoot that ``root`` provides or is adapted to; None for none."""
    interface: Any = IPBRoot
    return interface(root, None)
