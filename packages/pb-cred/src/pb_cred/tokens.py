"""Logins by tokens of an issuer: OAUTHBEARER with JSON Web Tokens.

A server says who signs, for whom, and with which keys::

    tokens = BearerTokens(
        issuer="https://login.example.com",
        audience="pb://accounts.example.com",
        keys={"2026-a": Path("2026-a.pem").read_text()},
    )
    factory = pb.PBServerFactory(portal, mechanisms=[tokens, "SCRAM-SHA-256"])

A client shows a token, or gives a function that fetches a fresh one for each login::

    avatar = await factory.login(BearerToken(fetch_token))

A server takes ``pip install 'pb-cred[tokens]'``, and a client nothing more.  A token is
sent over TLS alone, and to nobody but a server whose certificate was verified.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from functools import partial
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred, maybeDeferred

from pb_cred._jwt.secret_token import MAX_TOKEN, Secret
from pb_cred._user_names import MAX_NAME, is_text

from ._jwt.key_cache import KeyRing
from ._jwt.keys import Key, checked_algorithms
from ._jwt.signed_token import SignedToken, as_type, is_for, time_in
from ._mechanisms.oauthbearer.mechanism import BearerToken
from ._mechanisms.oauthbearer.messages import NAME, authzid_in, token_in
from ._mechanisms.scram.scram import saslname
from ._threads.maybe_await import called
from .errors import LoginRefused, TokenKeyError
from .mechanisms import LoginContext, ServerExchange, ServerMechanism, Verified

__all__ = ["BearerToken", "BearerTokens", "Keys", "TokenKeyError"]

#: Keys by their ids, each as PEM, as a secret or as a JWK; or a JWK set.
Keys: TypeAlias = Mapping[str, Any]

#: The most that two clocks may differ, in seconds.
_MOST_LEEWAY: Final = 300

_now: Callable[[], float] = time.time


class _Server(ServerExchange):
    def __init__(self, tokens: BearerTokens, context: LoginContext) -> None:
        self._tokens = tokens
        self._context = context

    def step(self, data: bytes) -> Any:
        """Take the only message.

        Returns:
            A Deferred, so that nothing is raised where the message could be shown.  It
            fails with LoginRefused if the token is not good enough.
        """
        return maybeDeferred(self._take, Secret(data))

    def _take_again(self, message: Secret) -> Any:
        return maybeDeferred(self._take, message)

    def _take(self, message: Secret) -> Any:
        secret = token_in(message)
        if secret is None:
            raise LoginRefused("that is no message of OAUTHBEARER")
        found, token = self._tokens._look_at(secret)
        if isinstance(found, Deferred):
            return found.addCallback(self._decide, token, message)
        return self._decide(found, token, message)

    def _decide(self, key: Key | None, token: SignedToken, message: Secret) -> Any:
        claims, expires = self._tokens._verify(key, token)
        found = called(self._tokens._identify, claims)
        if not found.called:
            # The key may be gone by then.
            found.addCallback(self._if_verified, token)
        return found.addCallback(self._let_in, expires, message)

    def _if_verified(self, found: Any, token: SignedToken) -> Any:
        """Return whose a token is, if it can still be verified."""

        def verified(key: Key | None) -> Any:
            self._tokens._verify(key, token)
            return found

        key = self._tokens._keys.find(token.kid)
        return key.addCallback(verified) if isinstance(key, Deferred) else verified(key)

    def _let_in(self, found: Any, expires: datetime, message: Secret) -> Verified:
        if found is None:
            raise LoginRefused("the token is nobody's")
        avatar_id = _name(found) if isinstance(found, str) else found
        self._context.username = avatar_id if isinstance(avatar_id, bytes) else None
        whom = authzid_in(message)
        if whom is not None and whom != saslname(self._context.username or b""):
            raise LoginRefused("the token is another user's")
        again = partial(self._take_again, message)
        return Verified(avatar_id, expires=expires, verify_again=again)


class BearerTokens(ServerMechanism):
    """OAUTHBEARER (RFC 7628): users are let in by tokens that an issuer has signed.

    A token is a JSON Web Token (RFC 7519), signed and not encrypted.  It has to be by
    the issuer, for this audience, and valid now, with a time at which it expires; the
    session ends then.  It is verified by one of these algorithms with one of these
    keys, whatever else it says: a header with ``jku``, ``x5u``, ``jwk``, ``x5c`` or
    ``crit`` is refused, as is a claim or a header of another type than RFC 7519 says, a
    name that is there twice, or more than eight levels of lists and objects.

    A token is good for whoever has it, as often as they like, until it expires: it is
    not noted which were used, and a ``jti`` is not looked at.  So tokens should be
    short-lived.  A session that has begun goes on when a key is removed.

    A token that is refused is refused as any login is, and the peer is not told why.
    RFC 7628 would have the server send a challenge in JSON first, with the scopes that
    are needed.

    Args:
        issuer: Who signs: what the claim ``iss`` has to be.
        audience: Whom we are: what has to be in the claim ``aud``; one, or a list.
        keys: What it is verified with: a mapping of the keys' ids (``kid``) to the
            keys; or a JWK set as a mapping, ``{"keys": [...]}``, of which keys for
            something else are left out.  A public key is PEM, as text or bytes, or a
            JWK as a mapping; a secret for ``HS256`` and the like is bytes or a JWK.
            Or a function without arguments that returns one of these, or a Deferred or
            an awaitable with it: it is called when there is a token to verify and no
            key for it.  Nothing here fetches keys over HTTP; such a function can.
        algorithms: What a token may be signed with: of ``ES256``, ``ES384``,
            ``ES512``, ``EdDSA`` (with Ed25519), ``PS256``, ``PS384``, ``PS512``,
            ``RS256``, ``RS384``, ``RS512``; or of ``HS256``, ``HS384``, ``HS512``,
            with which whoever can verify a token can make one.  Each is used with keys
            of its own kind alone, and RSA keys have at least 2048 bits.
        claim: Which claim becomes the avatar id: text of at most 1,024 bytes, which
            becomes bytes, as the names in other logins are.  Or a function, which takes
            all claims of a verified token and returns an avatar id, where text becomes
            bytes as well, or None for nobody; or a Deferred or an awaitable with that.
        token_type: What the header ``typ`` has to be, such as ``at+jwt`` for the access
            tokens of RFC 9068; None for anything.  An issuer that signs several kinds
            of tokens with one key is a reason to say it.
        leeway: By how many seconds the issuer's clock may differ from ours, up to 300.
            A token, and its session, lasts so much longer.
        max_token_bytes: The longest token, up to 15 KiB.
        refresh_interval: How many seconds pass before the function for ``keys`` is
            called again, whatever peers send.  An answer that takes longer is not
            waited for.
        keys_max_age: How many seconds the keys are good for that it has given.  Then it
            has to give them again: a key that is gone is refused after this time at
            the latest.

    Raises:
        TokenKeyError: There are no keys or some cannot be used, or the extra
            ``pb-cred[tokens]`` is not installed.
        TypeError: The algorithms are one name, and no list.
        ValueError: An algorithm or a number is none that can be used, or there is no
            issuer or audience.
    """

    name = NAME

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | Iterable[str],
        keys: Keys | Callable[[], Any],
        algorithms: Iterable[str] = ("ES256",),
        claim: str | Callable[[dict[str, Any]], Any] = "sub",
        token_type: str | None = None,
        leeway: float = 5.0,
        max_token_bytes: int = 8192,
        refresh_interval: float = 60.0,
        keys_max_age: float = 3600.0,
    ) -> None:
        names = [audience] if isinstance(audience, str) else list(audience)
        if not issuer or not names or not all(names):
            raise ValueError("an issuer and an audience are not empty")
        if not 0 <= leeway <= _MOST_LEEWAY:
            raise ValueError(f"a leeway has 0 to {_MOST_LEEWAY} seconds")
        if not 0 < max_token_bytes <= MAX_TOKEN:
            raise ValueError(f"a token has at most {MAX_TOKEN} bytes")
        if not 0 < refresh_interval <= keys_max_age:
            raise ValueError("keys are good for longer than they are not asked for")
        self._issuer = issuer
        self._audience = frozenset(names)
        self._claim = claim
        self._type = None if token_type is None else as_type(token_type)
        self._leeway = leeway
        self._most = max_token_bytes
        allowed = checked_algorithms(algorithms)
        self._library = _library(allowed)
        self._keys = KeyRing(allowed, refresh_interval, keys_max_age)
        self.replace_keys(keys)

    def replace_keys(self, keys: Keys | Callable[[], Any]) -> None:
        """Take these keys from now on, in place of those before.

        To rotate keys, take the old one and the new one together for as long as there
        are tokens of the old one.  Tokens name their key then: one without a ``kid`` is
        taken only where there is exactly one key.  A key that is gone is refused at
        once.

        Args:
            keys: As above.

        Raises:
            TokenKeyError: As above; then everything stays as it was.
        """
        self._keys.replace(keys)

    def is_served_by(self, portal: Any) -> bool:
        """Say yes: no checker is asked."""
        return True

    def is_available(self, context: LoginContext) -> bool:
        """Return True on an encrypted connection."""
        return context.is_tls

    def start(self, portal: Any, context: LoginContext) -> ServerExchange:
        """Return the exchange of one login."""
        return _Server(self, context)

    def _look_at(self, secret: Secret) -> tuple[Any, SignedToken]:
        """Return a token's key, None or a Deferred of either; and the parsed token."""
        if len(secret.raw) > self._most:
            raise LoginRefused("the token is too long")
        token = SignedToken(secret)
        if self._type is not None and token.kind != self._type:
            raise LoginRefused("the token is of another type")
        return self._keys.find(token.kid), token

    def _verify(
        self, key: Key | None, token: SignedToken
    ) -> tuple[dict[str, Any], datetime]:
        """Return the claims of a token, and its expiry."""
        if key is None:
            raise LoginRefused("the token's key is not known")
        if token.algorithm not in key.algorithms:
            raise LoginRefused("the token's algorithm is not one for its key")
        claims = token.claims(self._library, key.value)
        if claims.get("iss") != self._issuer:
            raise LoginRefused("the token is from another issuer")
        if not is_for(claims.get("aud"), self._audience):
            raise LoginRefused("the token is for another audience")
        expires = self._end_of(claims)
        if not all(isinstance(claims.get(each, ""), str) for each in ("sub", "jti")):
            raise LoginRefused("the token has a claim of another type")
        return claims, expires

    def _end_of(self, claims: dict[str, Any]) -> datetime:
        """Return when a token is no longer valid, if it is valid now."""
        now = _now()
        for name in ("nbf", "iat"):
            begin = time_in(claims, name)
            if begin is not None and now < begin - self._leeway:
                raise LoginRefused(f"the token is not valid yet: its {name}")
        end = time_in(claims, "exp")
        if end is None:
            raise LoginRefused("the token does not expire")
        if now >= end + self._leeway:
            raise LoginRefused("the token has expired")
        return datetime.fromtimestamp(end + self._leeway, timezone.utc)

    def _identify(self, claims: dict[str, Any]) -> Any:
        """Return the user of a token; or a Deferred or awaitable with it."""
        if callable(self._claim):
            return self._claim(claims)
        found = claims.get(self._claim)
        return found if isinstance(found, str) else None


def _name(text: str) -> bytes:
    # Text that has no UTF-8 becomes bytes that are refused below.
    name = text.encode(errors="surrogatepass")
    if not 0 < len(name) <= MAX_NAME or not is_text(name):
        raise LoginRefused("the token's user is no name")
    return name


def _library(algorithms: tuple[str, ...]) -> Any:
    """Return a verifier of signatures by these algorithms and no others.

    Raises:
        TokenKeyError: It is not installed.
    """
    try:
        import cryptography  # noqa: F401
        from jwt import PyJWS
    except ModuleNotFoundError as error:
        raise TokenKeyError(
            f"{error.name} is not installed: pip install 'pb-cred[tokens]'"
        ) from error
    return PyJWS(algorithms=algorithms)
