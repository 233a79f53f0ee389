"""This module finds planted secrets that a test discloses.

While a test runs, `watching` looks at all that is logged, by Twisted and by Python, at
warnings, and at all bytes that cross a connection; `see` at what a test hands it, such
as a failure.  Each is searched for each planted secret, in any form in
which it could be recognized.  A secret that is found makes the test fail.

Planted are the passwords that the tests use, the tickets that servers make, and what a
test has given to `plant`.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeVar
from unittest import mock
from urllib.parse import quote_from_bytes
from weakref import WeakKeyDictionary

from twisted.logger import LogEvent, eventAsText, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

import pb_broker
import pb_cred
import pb_jelly
from pb_broker.testing import MemoryTransport
from pb_cred._passwords.scram_verifier import saslprep
from pb_cred._tickets import ticket
from pb_cred._tickets import ticket_issuer as ticket_server

_Secret = TypeVar("_Secret", bound="bytes | str")

#: The passwords that tests use.  They are no words that anybody would say otherwise.
PASSWORDS = (b"sesame", b"simsalabim")
#: What stands before a password in the one message that may have it.
PLAIN = b"PLAIN"
#: What stands before anything.
ANYWHERE = b""

#: How many secrets of one test are searched for: the latest, and the passwords.
_MOST_SECRETS = 50
#: A form that is shorter stands in many things by chance.
_SHORTEST = 6
_PEM_LINE = 64
#: How many bytes there may be between what allows a secret and the secret: a name.
_REACH = 1200

_OURS = tuple(each.__path__[0] for each in (pb_broker, pb_cred, pb_jelly))


# In which forms a secret is searched for.


@lru_cache(maxsize=1000)
def forms_of(secret: bytes) -> tuple[bytes, ...]:
    """Return the forms to search for, in bytes and in text as UTF-8."""
    text = secret.decode("utf-8", "surrogateescape")
    digest = hashlib.md5(secret)
    found = {secret, digest.digest(), digest.hexdigest().encode()}
    found |= {secret.hex().encode(), secret.hex().upper().encode()}
    found |= {quote_from_bytes(secret).encode(), *_in_base64(secret)}
    found |= {shown[1:-1].encode() for shown in (ascii(text), repr(secret)[1:])}
    with suppress(ValueError):
        found |= {saslprep(secret), text.encode("utf-16-le"), text.encode("utf-16-be")}
    return tuple(each for each in found if len(each) >= _SHORTEST)


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """Yield the forms of a secret in base64, for each offset in the encoded data."""
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            encoded = encode(bytes(before) + secret)
            # What depends on what is before and after it is left out.
            begin = (0, 2, 3)[before]
            end = (0, 3, 2)[(before + len(secret)) % 3]
            yield encoded[begin : len(encoded) - end]


# What there is to be seen of a thing.


def shown(value: object) -> Iterator[str]:
    """Yield every printable text of a value that was logged or raised."""
    with suppress(Exception):
        # Tests have things that cannot be shown.
        yield repr(value)
    with suppress(Exception):
        yield str(value)
    if isinstance(value, Failure):
        for detail in ("default", "brief", "verbose"):
            yield value.getTraceback(detail=detail)
        yield from _locals_of(value.getTracebackObject())
        value = value.value
    if isinstance(value, BaseException):
        yield from _shown_error(value, set())


def _shown_error(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Yield texts and local variables of an exception, its cause and its context."""
    if id(error) in seen:
        return
    seen.add(id(error))
    for value in (error, *error.args, *getattr(error, "__notes__", ())):
        for show in (repr, str):
            with suppress(Exception):
                yield show(value)
    yield from map(repr, vars(error).values())
    yield from _locals_of(error.__traceback__)
    for behind in (error.__cause__, error.__context__):
        if behind is not None:
            yield from _shown_error(behind, seen)


def _locals_of(traceback: Any) -> Iterator[str]:
    """Yield the local variables of our own functions, as crash reports show them."""
    while isinstance(traceback, TracebackType):
        frame = traceback.tb_frame
        if frame.f_code.co_filename.startswith(_OURS):
            for value in frame.f_locals.values():
                with suppress(Exception):
                    yield repr(value)
        traceback = traceback.tb_next


class Watch:
    """Searches logs, errors and sent bytes for planted secrets.

    Attributes:
        found: Places of secrets that were found.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        # Each with what may stand before it on the wire.
        self._planted: dict[bytes, set[bytes]] = {}
        # Of no object that is not there any more.
        self._tails: WeakKeyDictionary[object, bytes] = WeakKeyDictionary()
        for password in PASSWORDS:
            self.plant(password, PLAIN)

    def plant(self, secret: bytes, within: bytes | None) -> None:
        """Look for a secret from now on; see `plant`."""
        if len(secret) < _SHORTEST:
            raise ValueError("a secret that short stands in many things by chance")
        self._planted.setdefault(secret, set()).update(
            [] if within is None else [within]
        )
        if len(self._planted) > _MOST_SECRETS:
            # The passwords stay.
            del self._planted[list(self._planted)[len(PASSWORDS)]]

    def see(self, where: str, *values: object) -> None:
        """Search values.

        Args:
            where: Name of the place, for the report.
            *values: Values to search.
        """
        texts = {text for value in values for text in shown(value)}
        data = "\0".join(texts).encode("utf-8", "backslashreplace")
        # A copy: what a thread logs is looked at there, while this one plants.
        for secret in tuple(self._planted):
            if any(form in data for form in forms_of(secret)):
                self._note(where, secret)

    def see_event(self, event: LogEvent) -> None:
        """Search an event of Twisted's log."""
        where = f"log: {event.get('log_format') or event.get('format')}"
        self.see(where, formatEvent(event), eventAsText(event), *event.values())

    def see_sent(self, sender: object, data: bytes) -> None:
        """Search sent bytes.

        Args:
            sender: The transport.  A secret cut in two is found in one sender's bytes.
            data: The bytes.
        """
        tail = self._tails.get(sender, b"")
        data = tail + data
        longest = 0
        for secret, allowed in tuple(self._planted.items()):
            if ANYWHERE in allowed:
                continue
            for form in forms_of(secret):
                longest = max(longest, len(form))
                # Not what was seen before.
                place = data.find(form, max(len(tail) - len(form) + 1, 0))
                while place >= 0:
                    before = data[max(place - _REACH, 0) : place]
                    if form != secret or not any(each in before for each in allowed):
                        self._note("what is sent", secret)
                    place = data.find(form, place + 1)
        self._tails[sender] = data[-longest - _REACH :]

    def _note(self, where: str, secret: bytes) -> None:
        # Once for each place.
        found = f"{secret!r} in {where}"
        if found not in self.found:
            self.found.append(found)

    def check(self) -> None:
        """Assert that no secret was found."""
        __tracebackhide__ = True
        assert not self.found, f"secrets were told: {', '.join(self.found)}"


_watches: list[Watch] = []


def plant(secret: _Secret, within: bytes | None = None) -> _Secret:
    """Search the logs, errors and sent bytes of the rest of the test for a secret.

    Args:
        secret: Six bytes or more that occur nowhere by chance.
        within: Text before it in a message that may have it, such as a
            mechanism's name; `ANYWHERE` if any message may; None if none may.

    Returns:
        The secret.
    """
    data = bytes(secret) if isinstance(secret, bytes) else secret.encode()
    for watch in _watches:
        watch.plant(data, within)
    return secret


def plant_key(pem: bytes) -> None:
    """Plant a private key in PEM, of which one line is enough to be found."""
    for line in pem.splitlines():
        # The last may be short.
        if len(line) == _PEM_LINE and not line.startswith(b"-"):
            plant(line)


def see(*values: object) -> None:
    """Search failures or other values of a test, which must have no secret."""
    for watch in _watches:
        watch.see("what a call ended with", *values)


class _Handler(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._watch.see(f"logging: {record.msg}", record.getMessage(), record.args)
        self._watch.see(f"logging: {record.msg}", error)


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch logs, warnings and connections meanwhile."""
    watch = Watch()
    handler = _Handler(watch)
    root = logging.getLogger()
    observe: Any = watch.see_event
    with ExitStack() as stack:
        _watches.append(watch)
        stack.callback(_watches.remove, watch)
        globalLogPublisher.addObserver(observe)
        stack.callback(globalLogPublisher.removeObserver, observe)
        stack.callback(root.setLevel, root.level)
        root.setLevel(logging.DEBUG)
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        for patched in (_warnings(watch), _sent(watch), _received(watch), _tickets()):
            stack.enter_context(patched)
        yield watch


def _warnings(watch: Watch) -> Any:
    warn = warnings.warn

    def seen(
        message: Any, category: Any = None, stacklevel: int = 1, *args: Any, **kw: Any
    ) -> None:
        watch.see("a warning", message)
        warn(message, category, stacklevel + 1, *args, **kw)

    return mock.patch.object(warnings, "warn", seen)


def _sent(watch: Watch) -> Any:
    write = MemoryTransport.write

    def seen(self: MemoryTransport, data: bytes) -> None:
        watch.see_sent(self, data)
        write(self, data)

    return mock.patch.object(MemoryTransport, "write", seen)


def _received(watch: Watch) -> Any:
    receive = pb_broker.Broker.dataReceived

    def seen(self: pb_broker.Broker, data: bytes) -> None:
        watch.see_sent(self, data)
        receive(self, data)

    return mock.patch.object(pb_broker.Broker, "dataReceived", seen)


def _tickets() -> Any:
    def planted(family: bytes) -> Any:
        return plant(ticket.make(family), ANYWHERE)

    return mock.patch.object(ticket_server, "make", planted)
