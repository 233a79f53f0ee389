"""This module has the argument checks of the public entry points.

Each argument is checked once, when a factory or an endpoint is made, so that the error
of a mistake points to its line and not to the first connection.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from warnings import warn

from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from pb_broker._limits import BrokerLimits
from pb_broker.interfaces import IPBRoot
from pb_jelly.codec import visible

__all__ = [
    "CLIENT_EXAMPLE",
    "SERVER_EXAMPLE",
    "checked_client_factory",
    "checked_dialects",
    "checked_host",
    "checked_options",
    "checked_root",
    "client_endpoint",
    "renamed",
    "see_trust_roots",
    "server_endpoint",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: The dialects that there are.
DIALECTS: Final = ("pb2", "pb")

#: Descriptions that errors show.
CLIENT_EXAMPLE: Final = '"tls:example.org:8787"'
SERVER_EXAMPLE: Final = '"ssl:8787:privateKey=server.key:certKey=server.pem"'
#: The argument of a client endpoint that names a directory of certificates.
_TRUST_ROOTS: Final = re.compile(r":trustRoots=((?:\\.|[^:\\])*)")


def _shown(value: object) -> str:
    """Describe a value of the wrong type, with a hint at a forgotten call or await."""
    if inspect.isclass(value):
        return f"the class {value.__qualname__} and not an instance: {value.__name__}()"
    if inspect.isawaitable(value):
        return f"a {type(value).__qualname__}: await it first"
    if inspect.isroutine(value):
        return f"the function {value.__qualname__}: call it"
    return f"a {type(value).__qualname__}"


def checked_root(root: Any) -> Any:
    """Return a provider of the root object for each connection.

    Args:
        root: An argument of a factory.

    Raises:
        TypeError: It has no root object to give.
    """
    interface: Any = IPBRoot
    adapted = interface(root, None)
    if adapted is None:
        raise TypeError(
            f"what is served is a Root object, or another that provides IPBRoot, "
            f"not {_shown(root)}"
        )
    return adapted


def checked_client_factory(factory: Any, cls: type[_T]) -> _T:
    """Return the factory of a client.

    Args:
        factory: An argument.
        cls: The class of factories.

    Raises:
        TypeError: It is no such factory.
    """
    # A program's factory may have the methods of ours without being a subclass.
    if inspect.isclass(factory) or not hasattr(factory, "getRootObject"):
        raise TypeError(
            f"a client's factory is a {cls.__name__}, not {_shown(factory)}"
        )
    made: _T = factory
    return made


def checked_options(**options: Any) -> None:
    """Check the types of limits and times.

    Args:
        **options: Arguments of a factory, by their names; None for the default.

    Raises:
        TypeError: One is of the wrong type.
        ValueError: A time is negative, or no number.
    """
    for name, value in options.items():
        if value is None:
            continue
        if name.endswith("limits"):
            if not isinstance(value, BrokerLimits):
                raise TypeError(f"{name} is a BrokerLimits, not {_shown(value)}")
        elif type(value) is bool or not isinstance(value, int | float):
            raise TypeError(f"{name} is a number of seconds, not {_shown(value)}")
        elif not value >= 0:
            raise ValueError(f"{name} is a number of seconds, not {value}")


def checked_dialects(names: object) -> None:
    """See that dialects are names of those that there are.

    Args:
        names: An argument of a factory.

    Raises:
        TypeError: It is no sequence of names.
        ValueError: There is no such dialect, or none is named.
    """
    if not isinstance(names, (list, tuple)):
        raise TypeError(f'dialects are a tuple such as ("pb2", "pb"), not {names!r}')
    for name in names:
        if name not in DIALECTS:
            known = ", ".join(map(repr, DIALECTS))
            raise ValueError(f"there is no dialect {name!r}; there are {known}")
    if not names or len(set(names)) != len(names):
        raise ValueError("dialects are one or more names, each of them once")


def checked_host(host: object, port: object) -> None:
    """Check the types of a host and a port for asyncio.

    Raises:
        TypeError: One is of the wrong type.
        ValueError: The host is the description of an endpoint.
    """
    if host is not None and not isinstance(host, str):
        raise TypeError(f"a host is text, or None, not {_shown(host)}")
    if port is not None and (type(port) is bool or not isinstance(port, int | str)):
        raise TypeError(f"a port is a number, not {_shown(port)}")
    if host is not None and re.match(r"(tcp|tls|ssl|unix|tcp6):", host):
        raise ValueError(
            f"{visible(repr(host), 200)} describes an endpoint, port and all"
        )


def renamed(old: str, new: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Return a decorator for a function with a renamed argument.

    The old name is accepted for one more minor version, with a DeprecationWarning.

    Args:
        old: The old name of the argument.
        new: Its present name.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @wraps(function)
        def called(*args: _P.args, **kw: _P.kwargs) -> _T:
            if old in kw:
                warn(
                    f"{function.__name__}({old}=...) is deprecated: it is {new}",
                    DeprecationWarning,
                    stacklevel=2,
                )
                kw[new] = kw.pop(old)
            return function(*args, **kw)

        return called

    return decorate


def client_endpoint(endpoint: Any, reactor: Callable[[], Any]) -> Any:
    """Return the endpoint to connect to.

    Args:
        endpoint: An endpoint, or the description of one.
        reactor: Returns the reactor.

    Raises:
        TypeError: The argument is neither.
        ValueError: The description describes no endpoint.
    """
    if not isinstance(endpoint, str):
        return _checked(endpoint, IStreamClientEndpoint, "connect", CLIENT_EXAMPLE)
    from twisted.internet.endpoints import clientFromString

    for directory in _TRUST_ROOTS.findall(endpoint):
        see_trust_roots(endpoint, Path(re.sub(r"\\(.)", r"\1", directory)))
    return _described(clientFromString, reactor(), endpoint, CLIENT_EXAMPLE)


def server_endpoint(endpoint: Any, reactor: Callable[[], Any]) -> Any:
    """Return the endpoint to listen on; see :func:`client_endpoint`."""
    if not isinstance(endpoint, str):
        return _checked(endpoint, IStreamServerEndpoint, "listen", SERVER_EXAMPLE)
    from twisted.internet.endpoints import serverFromString

    if endpoint.startswith("tls:"):
        # The prefix of clients; Twisted's servers have no such prefix.
        endpoint = f"ssl:{endpoint[4:]}"
    return _described(serverFromString, reactor(), endpoint, SERVER_EXAMPLE)


def _checked(endpoint: Any, interface: Any, method: str, example: str) -> Any:
    # A program's endpoint may have the method without declaring the interface.
    if inspect.isclass(endpoint) or not (
        interface.providedBy(endpoint) or hasattr(endpoint, method)
    ):
        raise TypeError(
            f"an endpoint is a description such as {example}, or an "
            f"{interface.__name__}, not {_shown(endpoint)}"
        )
    return endpoint


def _described(
    parse: Callable[..., Any], reactor: Any, endpoint: str, example: str
) -> Any:
    try:
        return parse(reactor, endpoint)
    except OSError:
        # It names the file that cannot be read.
        raise
    except Exception as error:
        why = visible(str(error) or type(error).__name__, 200)
        raise ValueError(
            f"{visible(repr(endpoint), 200)} does not describe an endpoint: {why}"
            f" (one is {example})"
        ) from error


def see_trust_roots(endpoint: str, directory: Path) -> None:
    """Check that a directory has certificates to trust.

    Raises:
        ValueError: It has none, so that no connection could be made.
    """
    if not directory.is_dir():
        why = "is a file" if directory.exists() else "does not exist"
    elif not any(directory.glob("*.pem")):
        why = "has no file *.pem"
    else:
        return
    raise ValueError(
        f"trustRoots of {visible(repr(endpoint), 200)} is a directory with certificates"
        f" in files *.pem: {visible(str(directory), 200)} {why}"
    )
