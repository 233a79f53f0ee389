"""This module is SCRAM-SHA-256, with and without channel binding (RFC 5802, 7677).

Theory of operation
-------------------
The client shows that it knows the password, and the server that it has the user's
verifier, without either being sent.  Both proofs are over everything that was said, so
that nobody in between can change any of it: neither what was said about channel
binding, nor (by extensions of ours) the list of mechanisms that the server offered and
the negotiation of the dialect.

A client that could speak "pb2" says how the dialect was agreed on, whichever it was.
So a man in the middle who strikes "pb2" from the offer is found out: he cannot strike
what the client says of it.

A server needs a user's verifier.  It gets it from a checker that stores verifiers, or
makes it anew from the password of one that stores passwords; then the checker decides,
as it does for other credentials, and asks the credentials whether a password fits.

Nobody learns from a server who its users are: a user that there is not has a salt like
any other, and costs as much.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import xor
from secrets import token_bytes
from typing import Any, Final

from twisted.cred.credentials import IAnonymous, IUsernameHashedPassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_cred._passwords.scram_verifier import (
    LEAST_ITERATIONS,
    MOST_ITERATIONS,
    Keys,
    Password,
    ScramCost,
    Verifier,
    derive,
    fits,
    stand_in,
)
from pb_cred._user_names import MAX_NAME
from pb_cred.errors import LoginRefused, MechanismError
from pb_cred.interfaces import IScramVerifiers
from pb_cred.mechanisms import (
    Claim,
    ClientExchange,
    ClientMechanism,
    LoginContext,
    ServerExchange,
    ServerMechanism,
    Verified,
)

from . import messages
from .key_cache import CLIENT_KEYS
from .messages import Malformed

__all__ = [
    "NAME",
    "PLUS",
    "ScramClient",
    "ScramClientMechanism",
    "ScramCredentials",
    "ScramPlusClientMechanism",
    "ScramPlusServerMechanism",
    "ScramServer",
    "ScramServerMechanism",
    "as_name",
    "derive",
    "saslname",
    "takes",
]

NAME: Final = "SCRAM-SHA-256"
PLUS: Final = "SCRAM-SHA-256-PLUS"

#: Iterations for the passwords of a checker that stores them in plain text.  They are
#: hashed at each login, on the event loop, so this is the smallest number allowed,
#: which takes a millisecond.
PLAIN_TEXT_ITERATIONS: Final = LEAST_ITERATIONS

_PLAIN_TEXT_COST: Final = ScramCost(PLAIN_TEXT_ITERATIONS)

_BINDING: Final = b"p=tls-exporter"
_NONCE_BYTES: Final = 24
_KEY_BYTES: Final = 32


# The server's side


@implementer(IUsernameHashedPassword)
class ScramCredentials:
    """A peer's claim to a user name, with its proof, for a checker of passwords.

    Args:
        username: Who it says it is.
        salt: What the password is to be hashed with.
        iterations: How often.
        said: All that was said.
        proof: What the peer showed.
        digest: The hash.

    Attributes:
        username: As above.
        server_key: What the server proves itself with, once the proof was found right.
    """

    def __init__(
        self,
        username: bytes,
        salt: bytes,
        iterations: int,
        said: bytes,
        proof: bytes,
        digest: str = "sha256",
    ) -> None:
        self.username: bytes | str = username
        self.server_key: bytes | None = None
        self._salt = salt
        self._iterations = iterations
        self._said = said
        self._proof = proof
        self._digest = digest
        self._was_asked = False

    def checkPassword(self, password: bytes | str) -> bool:
        """Tell whether the proof was made with ``password``.

        Not by a Deferred, although it takes a while: a checker that took one for the
        answer would let everybody in.
        """
        self._was_asked = True
        keys = derive(password, self._salt, self._iterations, self._digest)
        if not fits(self._proof, keys.stored_key, self._said, self._digest):
            return False
        self.server_key = keys.server_key
        return True

    def spend(self) -> None:
        """Take as long as for a user that there is, if that has not been done."""
        if not self._was_asked:
            self.checkPassword(b"")


class ScramServer(ServerExchange):
    """One login by SCRAM, as the server sees it.

    Args:
        lookup: Called with a name, returns its verifier or a Deferred with it; None
            if the portal has a checker of passwords instead.
        secret: What nobody but this server knows.
        context: The login's.
        is_plus: Whether the channel is to be bound.
        nonce: The server's part of the nonce.
        digest: The hash.
    """

    def __init__(
        self,
        lookup: Callable[[bytes], Any] | None,
        secret: bytes,
        context: LoginContext,
        *,
        is_plus: bool = False,
        nonce: bytes | None = None,
        digest: str = "sha256",
    ) -> None:
        self._lookup = lookup
        self._secret = secret
        self._context = context
        self._is_plus = is_plus
        self._nonce = b64encode(token_bytes(_NONCE_BYTES)) if nonce is None else nonce
        self._digest = digest
        self._next: Callable[[bytes], Any] = self._begin
        self._first: messages.ClientFirst
        self._verifier: Verifier
        self._server_first = b""
        self._said = b""
        self._credentials: ScramCredentials | None = None

    def step(self, data: bytes) -> Any:
        """Take the client's first message, or its last.

        Raises:
            LoginRefused: It is neither, or the proof in it is not right.
        """
        take, self._next = self._next, self._over
        refusal: LoginRefused | None = None
        try:
            return take(data)
        except Malformed:
            refusal = LoginRefused()
        # Outside of the handler, so that it does not carry the other along.
        raise refusal

    def _over(self, data: bytes) -> Any:
        raise Malformed

    def _begin(self, data: bytes) -> Any:
        first = self._first = messages.parse_client_first(data)
        self._context.username = first.username
        if first.flag.startswith(b"p=") != self._is_plus:
            raise Malformed
        if self._is_plus:
            if first.flag != _BINDING or not self._context.channel_binding:
                raise Malformed
        elif first.flag == b"y" and PLUS in self._context.offered:
            # The client could have bound the channel, and was told that we could not.
            raise Malformed
        return self._look_up(self._ask)

    def _look_up(self, take: Callable[[Verifier], Any]) -> Any:
        """Call a function with the present verifier of the user."""
        username = self._first.username
        no_user = stand_in(self._secret, username, _PLAIN_TEXT_COST)
        if self._lookup is None:
            return take(no_user)
        try:
            found = self._lookup(username)
        except UnauthorizedLogin:
            found = None
        if not isinstance(found, Deferred):
            return take(no_user if found is None else found)

        def not_there(failure: Failure) -> None:
            failure.trap(UnauthorizedLogin)

        found.addErrback(not_there)
        return found.addCallback(lambda each: take(no_user if each is None else each))

    def _ask(self, verifier: Verifier) -> bytes:
        """Return the server-first message, with salt and iterations of a verifier."""
        self._verifier = verifier
        self._server_first = b"r=%b%b,s=%b,i=%d" % (
            self._first.nonce,
            self._nonce,
            b64encode(self._verifier.salt),
            self._verifier.iterations,
        )
        self._next = self._end
        return self._server_first

    def _end(self, data: bytes) -> Any:
        final = messages.parse_client_final(data)
        first = self._first
        binding = first.header
        if self._is_plus:
            binding += self._context.channel_binding or b""
        offer = messages.hash_of_offer(self._context.offered)
        is_same = hmac.compare_digest(final.binding, binding)
        is_same &= hmac.compare_digest(final.nonce, first.nonce + self._nonce)
        is_same &= hmac.compare_digest(
            offer if final.offer is None else final.offer, offer
        )
        if not is_same or not self._is_as_negotiated(final.negotiation):
            raise Malformed
        parts = (first.bare, self._server_first, final.without_proof)
        said = self._said = b",".join(parts)
        if self._lookup is None:
            verifier = self._verifier
            self._credentials = ScramCredentials(
                first.username,
                verifier.salt,
                verifier.iterations,
                said,
                final.proof,
                self._digest,
            )
            return Claim(self._credentials)
        # The client may have taken its time, in which a password can be changed.
        return self._look_up(partial(self._check, final.proof))

    def _is_as_negotiated(self, said: bytes | None) -> bool:
        """Tell whether the dialect is the one that an honest negotiation leads to.

        Args:
            said: The hash that the client has sent; None for none.
        """
        context = self._context
        if said is None:
            # A client of "pb" alone: the others all send it.
            return context.dialect != b"pb2"
        own = messages.hash_of_negotiation(context.negotiation)
        return hmac.compare_digest(said, own)

    def _check(self, proof: bytes, verifier: Verifier) -> Verified:
        if not fits(proof, verifier.stored_key, self._said, self._digest):
            raise LoginRefused
        self._verifier = verifier
        again = partial(self._look_up, self._check_again)
        return Verified(self._first.username, verify_again=again)

    def _check_again(self, verifier: Verifier) -> Verified:
        if verifier != self._verifier:
            raise LoginRefused("the password has been changed meanwhile")
        return Verified(self._first.username)

    def accepted(self) -> bytes:
        """Return the server's signature.

        Raises:
            LoginRefused: The checker has let somebody in without having asked whether
                the password fits.
        """
        key: bytes | None = None
        if self._credentials is None:
            key = self._verifier.server_key
        else:
            key = self._credentials.server_key
        if key is None:
            raise LoginRefused
        return b"v=" + b64encode(hmac.digest(key, self._said, self._digest))

    def refused(self) -> None:
        """Take as long as for a user that there is."""
        if self._credentials is not None:
            self._credentials.spend()


def takes(portal: Any, kind: Any) -> bool:
    """Tell whether a portal has a checker for credentials of some kind.

    A portal that decides in a way of its own, and has no checkers, is taken to.
    """
    checkers = getattr(portal, "checkers", None) or {}
    if not checkers and getattr(type(portal), "login", None) is not Portal.login:
        return True
    return kind in checkers


def _verifiers_of(portal: Any) -> Any:
    """Return the checker of a portal that has verifiers for SCRAM, or None."""
    if getattr(type(portal), "login", None) is not Portal.login:
        # A portal with a login of its own has no checkers to ask.
        return None
    checkers = portal.checkers.values()
    return next((each for each in checkers if IScramVerifiers.providedBy(each)), None)


class ScramServerMechanism(ServerMechanism):
    """SCRAM without channel binding.

    Args:
        secret: What makes the salts of those who have none; None for one that lasts
            as long as this object.
    """

    name = NAME
    _is_plus = False

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = token_bytes(_KEY_BYTES) if secret is None else secret

    def is_served_by(self, portal: Any) -> bool:
        """Tell whether there is a checker that has verifiers, or passwords."""
        if _verifiers_of(portal) is not None:
            return True
        return takes(portal, IUsernameHashedPassword)

    def is_available(self, context: LoginContext) -> bool:
        """Return True if the connection has a channel binding, or needs none."""
        return not self._is_plus or context.channel_binding is not None

    def start(self, portal: Any, context: LoginContext) -> ServerExchange:
        """Return the exchange of one login."""
        store = _verifiers_of(portal)
        lookup = None if store is None else store.scram_verifier
        return ScramServer(lookup, self._secret, context, is_plus=self._is_plus)


class ScramPlusServerMechanism(ScramServerMechanism):
    """SCRAM with channel binding."""

    name = PLUS
    _is_plus = True


# The client's side


class ScramClient(ClientExchange):
    """One login by SCRAM, as the client sees it.

    Args:
        username: Who we are, in UTF-8.
        password: How we show it.
        context: The login's.
        is_plus: Whether the channel is to be bound.
        nonce: The client's part of the nonce.
        digest: The hash.
    """

    def __init__(
        self,
        username: bytes,
        password: bytes | str,
        context: LoginContext,
        *,
        is_plus: bool = False,
        nonce: bytes | None = None,
        digest: str = "sha256",
    ) -> None:
        self._context = context
        self._nonce = b64encode(token_bytes(_NONCE_BYTES)) if nonce is None else nonce
        self._digest = digest
        self._bare = b"n=%b,r=%b" % (saslname(username), self._nonce)
        self._header = self._flag(is_plus) + b",,"
        self._bound = self._header
        if is_plus:
            self._bound += context.channel_binding or b""
        self._password = password
        self._has_answered = False
        self._signature: bytes | None = None
        # Keeps the keys once the server has shown that it knows the user.
        self._keep_keys: Callable[[], None] | None = None

    def _flag(self, is_plus: bool) -> bytes:
        if is_plus:
            return _BINDING
        context = self._context
        could = context.channel_binding is not None and PLUS in context.acceptable
        # The server compares this flag with its offer, and so detects a man in the
        # middle who removed the PLUS variant from the list.
        return b"y" if could else b"n"

    def begin(self) -> bytes:
        """Return the client-first message."""
        return self._header + self._bare

    def step(self, data: bytes) -> Any:
        """Answer the server's first message with a proof.

        Raises:
            MechanismError: It is not one, or has us hash too little or too often.
        """
        first: messages.ServerFirst | None = None
        if not self._has_answered:
            with suppress(Malformed):
                first = messages.parse_server_first(data, self._nonce)
        self._has_answered = True
        if first is None:
            raise MechanismError("the server's first message is not one of SCRAM")
        least, most = LEAST_ITERATIONS, MOST_ITERATIONS
        if not least <= first.iterations <= most:
            raise MechanismError(
                f"the server asks for {first.iterations} iterations; "
                f"{least} to {most} are allowed"
            )
        final = b"c=%b,r=%b" % (b64encode(self._bound), first.nonce)
        if self._context.offered:
            offer = messages.hash_of_offer(self._context.offered)
            final += b",o=" + b64encode(offer)
        if self._context.negotiation:
            said = messages.hash_of_negotiation(self._context.negotiation)
            final += b",d=" + b64encode(said)
        password = Password(self._password)
        source = (password, first.salt, first.iterations, self._digest)
        keys: Any = CLIENT_KEYS.find(*source)
        if keys is None:
            keys = self._context.in_thread(derive, *source)
        if not isinstance(keys, Deferred):
            keys = succeed(keys)
        return keys.addCallback(self._prove, source, data, final)

    def _prove(
        self,
        keys: Keys,
        source: tuple[Password, bytes, int, str],
        server_first: bytes,
        final: bytes,
    ) -> bytes:
        """Return the client-final message with the proof of the password."""
        self._keep_keys = partial(CLIENT_KEYS.keep, *source, keys)
        said = b",".join((self._bare, server_first, final))
        mask = hmac.digest(keys.stored_key, said, self._digest)
        self._signature = hmac.digest(keys.server_key, said, self._digest)
        return final + b",p=" + b64encode(bytes(map(xor, keys.client_key, mask)))

    def finish(self, data: bytes) -> None:
        """See whether the server knows the user.

        Raises:
            MechanismError: It does not, or has not been asked.
        """
        given = b""
        with suppress(Malformed):
            given = messages.parse_server_final(data)
        if self._signature is None or not hmac.compare_digest(given, self._signature):
            raise MechanismError("the server has not shown that it knows the user")
        assert self._keep_keys is not None
        self._keep_keys()
        self._keep_keys = None


def saslname(name: bytes) -> bytes:
    """Return a name as it stands in a message, with commas and equals signs escaped."""
    return name.replace(b"=", b"=3D").replace(b",", b"=2C")


class ScramClientMechanism(ClientMechanism):
    """SCRAM without channel binding."""

    name = NAME
    _is_plus = False

    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        """Tell whether these are a name and a password."""
        if IAnonymous.providedBy(credentials):
            return False
        if not isinstance(getattr(credentials, "password", None), (bytes, str)):
            return False
        return 0 < len(as_name(credentials)) <= MAX_NAME

    def start(self, credentials: Any, context: LoginContext) -> ClientExchange:
        """Return the exchange of one login."""
        name = as_name(credentials)
        return ScramClient(name, credentials.password, context, is_plus=self._is_plus)


class ScramPlusClientMechanism(ScramClientMechanism):
    """SCRAM with channel binding."""

    name = PLUS
    _is_plus = True

    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        """Return True if the connection has a channel binding, too."""
        can_bind = context.channel_binding is not None
        return can_bind and super().is_usable(credentials, context)


def as_name(credentials: Any) -> bytes:
    """Return the name in credentials in UTF-8; empty if they have none that is text."""
    name: Any = getattr(credentials, "username", None)
    with suppress(UnicodeError):
        text = name.decode() if isinstance(name, bytes) else name
        # A NUL ends strings in C, and so would another name.
        if isinstance(text, str) and "\0" not in text:
            return text.encode()
    return b""
