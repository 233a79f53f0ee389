"""Lets users in by tokens that somebody else has signed: JSON Web Tokens.

Prints:
    a token: alice is let in, until it expires
    one for another service: refused
    one that alice has signed herself: refused
"""

from __future__ import annotations

import time
from typing import Any

import jwt
from certificates import client_endpoint, server_endpoint
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.task import react

from pb_cred import pb
from pb_cred.tokens import BearerToken, BearerTokens

ISSUER, OURS = "https://login.example.com", "pb://accounts"
KEY, HERS = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())


def token(user: str, audience: str = OURS, key: Any = KEY) -> str:
    """Return what the issuer gives to somebody who has logged in there."""
    claims = {"iss": ISSUER, "aud": audience, "sub": user, "exp": time.time() + 60}
    return jwt.encode(claims, key, "ES256", {"kid": "2026-a"})


class Account(pb.Avatar):
    def perspective_who(self) -> str:
        end = "until it expires" if pb.session_of(self).expires else "for ever"
        return f"{self.avatarId.decode()} is let in, {end}"


async def main(reactor: Any) -> None:
    known = jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    tokens = BearerTokens(issuer=ISSUER, audience=OURS, keys={"2026-a": known})
    factory = pb.PBServerFactory(Portal(pb.Realm(Account), []), mechanisms=[tokens])

    async def enter(what: str, source: Any) -> None:
        endpoint = client_endpoint(reactor, port)
        try:
            async with pb.client(endpoint, credentials=BearerToken(source)) as account:
                print(f"{what}:", await account.callRemote("who"))
        except UnauthorizedLogin:
            print(f"{what}: refused")

    async with pb.serve(server_endpoint(reactor), factory) as port:
        await enter("a token", lambda: token("alice"))  # a fresh one for each login
        await enter("one for another service", token("alice", "pb://payroll"))
        await enter("one that alice has signed herself", token("root", key=HERS))


if __name__ == "__main__":
    react(main)
