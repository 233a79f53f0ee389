"""This module reads and writes the one message of OAUTHBEARER (RFC 7628, section 3.1).

What a peer sends is wrapped before anything looks at it, and what looks at it keeps no
part of it in a variable: no traceback shows it, whatever goes wrong.
"""

from __future__ import annotations

import re
from typing import Final

from pb_cred._jwt.secret_token import Secret

__all__ = ["NAME", "authzid_in", "message_with", "token_in"]

NAME: Final = "OAUTHBEARER"

#: No channel is bound, perhaps a name in the form of GS2 (RFC 5801), then pairs.
_MESSAGE: Final = re.compile(
    rb"[ny],(?:a=([^,\0\x01]+))?,\x01((?:[A-Za-z]{1,16}=[\t\n\r -~]*\x01){1,8})\x01"
)
#: RFC 6750 says which characters, and RFC 7235 that the scheme has no case.
_AUTH: Final = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")


def message_with(token: Secret) -> bytes:
    """Return the message that shows a token."""
    return b"n,,\x01auth=Bearer %b\x01\x01" % token.raw


def token_in(message: Secret) -> Secret | None:
    """Return the token in a message; None if there is not exactly one."""
    found = _MESSAGE.fullmatch(message.raw)
    if found is None:
        return None
    # Unknown keys are ignored, as RFC 7628 demands.
    given = [
        Secret(pair.removeprefix(b"auth="))
        for pair in found[2].split(b"\x01")
        if pair.startswith(b"auth=")
    ]
    if len(given) != 1:
        return None
    found = _AUTH.fullmatch(given[0].raw)
    return None if found is None else Secret(found[1])


def authzid_in(message: Secret) -> bytes | None:
    """Return whom a peer says it is, as it stands in the message; None if it does not.

    Args:
        message: One that has a token.
    """
    found = _MESSAGE.fullmatch(message.raw)
    return None if found is None else found[1]
