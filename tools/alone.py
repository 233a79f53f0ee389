"""This module proves the declared dependencies of a package: it works with them alone.

    python tools/alone.py jelly|banana|broker|cred

It is run where only the package, the layers beneath it and their declared dependencies
are installed. Every module of the package is imported, and a small program uses it. A
module may lack an extra of its package, or pytest, whose fixtures it has.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable
from importlib.metadata import requires
from importlib.util import find_spec
from typing import Any, Final

LAYERS: Final = ("jelly", "banana", "broker", "cred")

#: Modules that distributions of extras have, where their names differ.
NAMES: Final = {
    "argon2-cffi": "argon2",
    "libpass": "passlib",
    "opentelemetry-api": "opentelemetry",
    "pyjwt": "jwt",
    "pyopenssl": "OpenSSL",
    "service-identity": "service_identity",
}


def optional(layer: str) -> set[str]:
    """Return the modules that a package and the layers beneath it may lack."""
    found = {"pytest", "pytest_asyncio", "pytest_twisted", "anyio"}
    for name in LAYERS[: LAYERS.index(layer) + 1]:
        for requirement in requires(f"pb-{name}") or []:
            if "extra ==" in requirement:
                word = re.split(r"[^\w.-]", requirement)[0].lower()
                found.add(NAMES.get(word, word.replace("-", "_")))
    # twisted[tls] brings these.
    return found | {"OpenSSL", "cryptography", "idna", "service_identity"}


def import_all(layer: str) -> tuple[int, list[str]]:
    """Import every module of a package.

    Returns:
        Number of modules imported, and names of those that lack an extra.
    """
    package = importlib.import_module(f"pb_{layer}")
    may_lack = optional(layer)
    imported, lacking = 1, []
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in may_lack:
                raise
            lacking.append(module.name)
        else:
            imported += 1
    return imported, lacking


def use_jelly() -> None:
    """Turn a value into an s-expression and back."""
    jelly: Any = importlib.import_module("pb_jelly")
    value = [1, "two", {3: (4.0, None)}]
    assert jelly.unjelly(jelly.jelly(value)) == value


def use_banana() -> None:
    """Turn a value into bytes and back."""
    banana: Any = importlib.import_module("pb_banana")
    value = {"due": [1, -2.5, None, True, b"raw"]}
    assert banana.loads(banana.dumps(value)) == value


def use_broker() -> None:
    """Call a method over a connection in memory."""
    pb: Any = importlib.import_module("pb_broker")
    testing: Any = importlib.import_module("pb_broker.testing")

    class Root(pb.Root):  # type: ignore[misc]
        def remote_add(self, a: int, b: int) -> int:
            return a + b

    answers: list[object] = []
    pair = testing.connected_pair(Root())
    root = pair.client_factory.getRootObject()
    root.addCallback(lambda root: root.callRemote("add", 2, 3))
    root.addCallback(answers.append)
    pair.flush()
    pair.close()
    assert answers == [5]


def use_cred() -> None:
    """Log in over a connection in memory."""
    pb: Any = importlib.import_module("pb_cred.pb")
    testing: Any = importlib.import_module("pb_broker.testing")
    cred: Any = importlib.import_module("twisted.cred.checkers")
    portals: Any = importlib.import_module("twisted.cred.portal")
    credentials: Any = importlib.import_module("twisted.cred.credentials")

    class User(pb.Avatar):  # type: ignore[misc]
        def perspective_double(self, number: int) -> int:
            return 2 * number

    portal = portals.Portal(pb.Realm(User), [cred.AllowAnonymousAccess()])
    answers: list[object] = []
    pair = testing.connected_pair(
        server_factory=pb.PBServerFactory(portal), client_factory=pb.PBClientFactory()
    )
    avatar = pair.client_factory.login(credentials.Anonymous())
    avatar.addCallback(lambda avatar: avatar.callRemote("double", 21))
    avatar.addCallback(answers.append)
    pair.flush()
    pair.close()
    assert answers == [42]


USES: Final[dict[str, Callable[[], None]]] = {
    "jelly": use_jelly,
    "banana": use_banana,
    "broker": use_broker,
    "cred": use_cred,
}


def main(layer: str) -> int:
    """Prove one package; return the exit status."""
    above = LAYERS[LAYERS.index(layer) + 1 :]
    present = [f"pb_{name}" for name in above if find_spec(f"pb_{name}")]
    if layer in LAYERS[:2]:
        present += [name for name in ("twisted", "zope") if find_spec(name)]
    if present:
        print(f"pb_{layer} is not alone: {', '.join(present)} can be imported")
        return 1
    imported, lacking = import_all(layer)
    USES[layer]()
    print(f"pb_{layer}: {imported} modules imported, used once")
    if lacking:
        print(f"  without their extras: {', '.join(lacking)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
