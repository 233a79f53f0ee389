"""This module lists imported names, which programs reach through ``twisted.spread``.

Examples are ``pb.defer`` and ``jelly.qual``.  Each is imported at its first use, so
that the drop-in itself starts quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

__all__ = ["of"]

_STANDARD: Final = {
    "banana": {
        "BytesIO": "io:BytesIO",
        "copy": "copy",
        "fullyQualifiedName": "twisted.python.reflect:fullyQualifiedName",
        "iterbytes": "twisted.python.compat:iterbytes",
        "log": "twisted.python.log",
        "protocol": "twisted.internet.protocol",
        "struct": "struct",
        "styles": "twisted.persisted.styles",
    },
    "flavors": {
        "Interface": "zope.interface:Interface",
        "cmp": "twisted.python.compat:cmp",
        "comparable": "twisted.python.compat:comparable",
        "implementer": "zope.interface:implementer",
        "log": "twisted.python.log",
        "reflect": "twisted.python.reflect",
        "sys": "sys",
    },
    "interfaces": {"Interface": "zope.interface:Interface"},
    "jelly": {
        "NotKnown": "twisted.persisted.crefutil:NotKnown",
        "Version": "incremental:Version",
        "_Container": "twisted.persisted.crefutil:_Container",
        "_Dereference": "twisted.persisted.crefutil:_Dereference",
        "_DictKeyAndValue": "twisted.persisted.crefutil:_DictKeyAndValue",
        "_InstanceMethod": "twisted.persisted.crefutil:_InstanceMethod",
        "_Tuple": "twisted.persisted.crefutil:_Tuple",
        "copy": "copy",
        "datetime": "datetime",
        "decimal": "decimal",
        "deprecatedModuleAttribute": (
            "twisted.python.deprecate:deprecatedModuleAttribute"
        ),
        "implementer": "zope.interface:implementer",
        "namedAny": "twisted.python.reflect:namedAny",
        "namedObject": "twisted.python.reflect:namedObject",
        "nativeString": "twisted.python.compat:nativeString",
        "qual": "twisted.python.reflect:qual",
        "reduce": "functools:reduce",
        "types": "types",
    },
    "pb": {
        "Anonymous": "twisted.cred.credentials:Anonymous",
        "IAnonymous": "twisted.cred.credentials:IAnonymous",
        "ICredentials": "twisted.cred.credentials:ICredentials",
        "IUsernameHashedPassword": "twisted.cred.credentials:IUsernameHashedPassword",
        "Interface": "zope.interface:Interface",
        "Portal": "twisted.cred.portal:Portal",
        "banana": "pb_cred.drop_in._banana",
        "cmp": "twisted.python.compat:cmp",
        "comparable": "twisted.python.compat:comparable",
        "defer": "twisted.internet.defer",
        "failure": "twisted.python.failure",
        "implementer": "zope.interface:implementer",
        "md5": "hashlib:md5",
        "protocol": "twisted.internet.protocol",
        "random": "random",
        "reflect": "twisted.python.reflect",
        "registerAdapter": "twisted.python.components:registerAdapter",
        "styles": "twisted.persisted.styles",
    },
    "publish": {
        "banana": "pb_cred.drop_in._banana",
        "defer": "twisted.internet.defer",
        "flavors": "pb_cred.drop_in._flavors",
        "jelly": "pb_cred.drop_in._jelly",
        "time": "time",
    },
    "util": {
        "Failure": "twisted.python.failure:Failure",
        "basic": "twisted.protocols.basic",
        "defer": "twisted.internet.defer",
        "implementer": "zope.interface:implementer",
        "interfaces": "twisted.internet.interfaces",
        "pb": "pb_cred.drop_in._pb",
    },
}


def of(module: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of one of the modules.

    Args:
        module: The name of the module, without that of the package.
    """
    names = _STANDARD[module]

    def get(name: str) -> Any:
        where = names.get(name)
        if where is None:
            raise AttributeError(
                f"module 'twisted.spread.{module}' has no attribute {name!r}"
            )
        found, _, attribute = where.partition(":")
        imported: Any = import_module(found)
        return getattr(imported, attribute) if attribute else imported

    return get
