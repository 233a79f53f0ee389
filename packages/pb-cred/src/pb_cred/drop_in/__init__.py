"""This module installs the drop-in, in the place of ``twisted.spread``.

After :func:`install`, ``from twisted.spread import pb`` and the like import modules
of ours, with the names and the behaviour that programs rely on.  A program
that cannot be edited is started through it::

    python -m pb_cred.drop_in /usr/bin/twistd -n web --path=.
    python -m pb_cred.drop_in -m twisted.trial twisted.spread
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Final

import twisted.spread

from pb_broker.extending import SafeLogger
from pb_cred.errors import DropInError

from . import _banana, _flavors, _interfaces, _jelly, _pb, _publish, _util

__all__ = ["DropInError", "install"]

_log = SafeLogger(namespace="pb_cred")

_STAND_INS: Final[dict[str, ModuleType]] = {
    "banana": _banana,
    "flavors": _flavors,
    "interfaces": _interfaces,
    "jelly": _jelly,
    "pb": _pb,
    "publish": _publish,
    "util": _util,
}


def install() -> None:
    """Replace the modules of ``twisted.spread`` for all later imports.

    A second call has no effect.

    Raises:
        DropInError: A module of ``twisted.spread`` has been imported already, and the
            importer keeps its names.  No module has been replaced.
    """
    package = twisted.spread.__name__
    for name, stand_in in _STAND_INS.items():
        if sys.modules.get(f"{package}.{name}", stand_in) is not stand_in:
            raise DropInError(
                f"{package}.{name} has been imported already (twisted.web.server does "
                "it, for one): call pb_cred.drop_in.install() before anything else"
            )
    if sys.modules.get(f"{package}.pb") is not _pb:
        _log.warn(
            "twisted.spread is replaced; logins by MD5, as it has them, are allowed in"
            " programs that use it",
            pb_event="legacy_md5_allowed",
        )
    for name, stand_in in _STAND_INS.items():
        sys.modules[f"{package}.{name}"] = stand_in
        setattr(twisted.spread, name, stand_in)
