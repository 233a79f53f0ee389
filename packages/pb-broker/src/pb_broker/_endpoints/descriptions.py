"""This module reads descriptions of endpoints for asyncio, such as ``tls:host:8787``.

Theory of operation
-------------------
Their syntax is Twisted's, so that one text serves both kinds of event loop: a prefix,
then arguments between colons, by position or with a ``name=``; a backslash takes away
the meaning of the character after it.  Twisted makes an endpoint of a description; this
module makes arguments of it, for asyncio's ``create_connection``, ``create_server`` and
their like.  An argument of Twisted's without an equivalent on asyncio is an error, like
an unknown one: a connection is never less secure than its description says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from ssl import (
    PROTOCOL_TLS_CLIENT,
    Purpose,
    SSLContext,
    SSLError,
    create_default_context,
)
from tempfile import TemporaryDirectory
from typing import Any, Final

from pb_jelly.codec import visible

from .argument_checks import CLIENT_EXAMPLE, SERVER_EXAMPLE, see_trust_roots

__all__ = ["client_location", "server_location"]

_NETWORK: Final = ("host", "port", "timeout", "bindAddress")

#: Arguments of clients by prefix, positional ones first, and the number of these.
_CLIENT: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "tcp": (_NETWORK, 4),
    "tls": ((*_NETWORK, "certificate", "privateKey", "trustRoots"), 4),
    "ssl": (("host", "port", "certKey", "privateKey", "caCertsDir", *_NETWORK[2:]), 2),
    "unix": (("path", "timeout"), 2),
}

_TLS_SERVER: Final = (
    "port",
    "interface",
    "backlog",
    "privateKey",
    "certKey",
    "extraCertChain",
)

#: Arguments of servers by prefix, positional ones first, and the number of these.
_SERVER: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "tcp": (("port", "interface", "backlog"), 3),
    "ssl": (_TLS_SERVER, 1),
    "tls": (_TLS_SERVER, 1),
    "unix": (("address", "backlog"), 1),
}


class _Reader:
    """The arguments of one description.

    Args:
        description: The description.
        known: The arguments of each prefix, and the number of positional ones.
        example: A correct description, for errors.

    Attributes:
        prefix: The text before the first colon.

    Raises:
        ValueError: The description describes no endpoint of asyncio's.
    """

    def __init__(
        self,
        description: str,
        known: Mapping[str, tuple[tuple[str, ...], int]],
        example: str,
    ) -> None:
        self._shown = visible(repr(description), 200)
        self._example = example
        (self.prefix, *_), *parts = _parts(description)
        if self.prefix not in known:
            prefixes = ", ".join(f"{each}:" for each in known)
            raise self.error(
                f"there is no prefix {visible(repr(self.prefix), 60)} on asyncio, but "
                f"{prefixes}"
            )
        names, placed = known[self.prefix]
        self._found: dict[str, str] = {}
        for place, part in enumerate(parts):
            if len(part) > 1:
                name, value = part[0], "=".join(part[1:])
            elif place < placed:
                name, value = names[place], part[0]
            else:
                raise self.error(f"{visible(repr(part[0]), 60)} needs a name before it")
            if name not in names:
                raise self.error(
                    f"{visible(repr(name), 60)} is no argument of {self.prefix}: on "
                    f"asyncio, which has {', '.join(names)}"
                )
            if name in self._found:
                raise self.error(f"{name} is there twice")
            self._found[name] = value

    def error(self, why: str) -> ValueError:
        """Return the error of this description, with the reason."""
        return ValueError(
            f"{self._shown} does not describe an endpoint: {why} (one is, as for "
            f"Twisted's reactor, {self._example})"
        )

    def text(self, name: str) -> str:
        """Return a required argument."""
        if not self._found.get(name):
            raise self.error(f"{name} is missing")
        return self._found[name]

    def get(self, name: str) -> str | None:
        """Return an argument, or None if it is missing."""
        return self._found.get(name)

    def number(self, name: str) -> int:
        """Return a required argument, as a number."""
        text = self.text(name)
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise self.error(f"{name} is a number, not {visible(repr(text), 60)}")
        return int(text)

    def file(self, name: str) -> str | None:
        """Return the name of a readable file, or None if the argument is missing.

        Raises:
            OSError: The file cannot be read; the error names it.
        """
        path = self._found.get(name)
        if path is not None:
            # Opened here because errors of the TLS library do not name the file.
            Path(path).open("rb").close()
        return path

    def chain(self, context: SSLContext, certificate: str, key: str | None) -> None:
        """Load a certificate and its key into a context."""
        try:
            context.load_cert_chain(certificate, key)
        except SSLError as error:
            why = visible(str(error), 100)
            raise self.error(
                f"the certificate or its key is not usable: {why}"
            ) from error


def _parts(description: str) -> list[list[str]]:
    """Return the parts between colons, each split at its ``=``."""
    parts = [[""]]
    characters = iter(description)
    for character in characters:
        if character == ":":
            parts.append([""])
        elif character == "=" and len(parts) > 1:
            parts[-1].append("")
        else:
            if character == "\\":
                character = next(characters, "\\")
            parts[-1][-1] += character
    return parts


def client_location(description: str, ssl: SSLContext | bool | None) -> dict[str, Any]:
    """Return arguments for the loop's ``create_connection``, or its like for ``path``.

    Args:
        description: The description of an endpoint to connect to.
        ssl: TLS context, or True for the default one, in place of the description's;
            None for that one.

    Raises:
        ValueError: The description describes no endpoint of asyncio's.
        OSError: A file that it names cannot be read.
    """
    read = _Reader(description, _CLIENT, CLIENT_EXAMPLE)
    where: dict[str, Any] = {}
    if read.prefix == "unix":
        where["path"] = read.text("path")
    else:
        where["host"], where["port"] = read.text("host"), read.number("port")
    if read.get("timeout") is not None:
        where["timeout"] = read.number("timeout")
    if read.get("bindAddress") is not None:
        where["local_addr"] = (read.text("bindAddress"), 0)
    if ssl is None and read.prefix in ("tls", "ssl"):
        ssl = _client_context(read, description)
    return {**where, "ssl": ssl}


def _client_context(read: _Reader, description: str) -> SSLContext:
    directory = read.get("trustRoots") or read.get("caCertsDir")
    if directory is None:
        context = create_default_context()
    else:
        see_trust_roots(description, Path(directory))
        context = SSLContext(PROTOCOL_TLS_CLIENT)
        for file in sorted(Path(directory).glob("*.pem")):
            try:
                context.load_verify_locations(file)
            except SSLError as error:
                shown = visible(str(file), 200)
                raise read.error(f"{shown} has no certificate to trust") from error
    certificate = read.file("certificate") or read.file("certKey")
    key = read.file("privateKey")
    if certificate is not None or key is not None:
        read.chain(context, certificate or str(key), key)
    return context


def server_location(description: str, ssl: SSLContext | None) -> dict[str, Any]:
    """Return arguments for the loop's ``create_server``, or its like for ``path``.

    Args:
        description: The description of an endpoint to listen on.
        ssl: TLS context in place of the description's; None for that one.

    Raises:
        ValueError: The description describes no endpoint of asyncio's.
        OSError: A file that it names cannot be read.
    """
    read = _Reader(description, _SERVER, SERVER_EXAMPLE)
    where: dict[str, Any] = {}
    if read.prefix == "unix":
        where["path"] = read.text("address")
    else:
        where["port"] = read.number("port")
        # Twisted's default: IPv6 only with an interface that asks for it.
        where["host"] = read.get("interface") or "0.0.0.0"
    if read.get("backlog") is not None:
        where["backlog"] = read.number("backlog")
    if ssl is None and read.prefix in ("tls", "ssl"):
        key = read.file("privateKey") or read.file("certKey")
        if key is None:
            raise read.error("privateKey is missing")
        ssl = create_default_context(Purpose.CLIENT_AUTH)
        certificate, more = read.file("certKey") or key, read.file("extraCertChain")
        if more is None:
            read.chain(ssl, certificate, key)
        else:
            # The library reads a chain from a single file.
            with TemporaryDirectory() as directory:
                chain = Path(directory) / "chain.pem"
                files = (certificate, more)
                chain.write_bytes(b"\n".join(Path(each).read_bytes() for each in files))
                read.chain(ssl, str(chain), key)
    return {**where, "ssl": ssl}
