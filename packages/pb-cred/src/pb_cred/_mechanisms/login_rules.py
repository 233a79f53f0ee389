"""This module holds the login rules that both ends keep to."""

from __future__ import annotations

from typing import Final

from twisted.python.failure import Failure

__all__ = ["LOGIN_NAME", "MAX_MESSAGE", "cleaned"]

#: Name, besides "root", under which a connection's login is found.
LOGIN_NAME: Final = b"pb-login"

#: Length of the longest message of a mechanism, in bytes.
MAX_MESSAGE: Final = 16 * 1024


def cleaned(failure: Failure) -> Failure:
    """Return a failure without the variables of frames: they may have a password."""
    failure.cleanFailure()
    return failure
