"""The watch over planted secrets finds them in every place."""

from __future__ import annotations

import logging
import warnings
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.portal import Portal
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure

import pb_broker
from pb_broker.testing import MemoryTransport
from pb_cred import pb
from pb_cred._passwords.scram_verifier import derive, prepared
from pb_cred._tickets import ticket_issuer as ticket_server

from .planted import (
    ANYWHERE,
    PASSWORDS,
    forms_of,
    plant,
    plant_key,
    see,
    watching,
)
from .support import OneRealm, connected
from .token_support import EC, private_pem_of

pytest_plugins = ["pytester"]

SECRET = "Pa\u00aaword-\u2168-19e4"
_log = Logger(namespace="test")


@pytest.fixture(autouse=True)
def _nothing_planted_is_told() -> None:
    """Allow these tests to disclose their secrets."""


class Holder:
    """Object whose repr shows a secret."""

    def __repr__(self) -> str:
        return f"<Holder of {SECRET}>"


class Coy(Exception):
    """Object whose repr hides its secret."""

    def __init__(self) -> None:
        super().__init__("nothing")
        self.state = SECRET


def failure_of(error: Exception, cause: Exception | None = None) -> Failure:
    try:
        raise error from cause
    except Exception:
        return Failure()


def in_context() -> Failure:
    try:
        try:
            raise ValueError(SECRET)
        except ValueError:
            raise LookupError from None
    except LookupError:
        return Failure()


def in_our_frame() -> Failure:
    """Fail in a function of the package with the secret in a local variable."""
    try:
        derive(SECRET, b"salt", -1)
    except ValueError:
        return Failure()
    raise AssertionError


def with_note() -> Failure:
    error: Any = ValueError("nothing")
    error.__notes__ = [SECRET]
    return failure_of(error)


def with_variables() -> Failure:
    held = SECRET
    try:
        raise ValueError("nothing" if held else "")
    except ValueError:
        return Failure(captureVars=True)


FAILURES: list[Callable[[], Failure]] = [
    lambda: failure_of(ValueError(SECRET)),
    lambda: failure_of(ValueError("nothing", 5, {"x": [SECRET]})),
    lambda: failure_of(ValueError("nothing"), cause=LookupError(SECRET)),
    lambda: failure_of(Coy()),
    in_context,
    in_our_frame,
    with_note,
    with_variables,
]


@pytest.mark.parametrize("make", FAILURES)
def test_secrets_in_failures_are_found(make: Any) -> None:
    for tell in (
        see,
        lambda failure: _log.failure("It failed", failure),
        lambda failure: _log.info("It failed", why=failure.value),
        log.err,
        lambda failure: logging.getLogger("x").error(
            "it failed", exc_info=failure.value
        ),
    ):
        failure = make()
        with watching() as watch:
            plant(SECRET)
            tell(failure)
            if make is with_variables and failure.value.args == ("nothing",):
                # They are in the failure, not in the exception.
                see(failure)
        assert watch.found


@pytest.mark.parametrize(
    "tell",
    [
        lambda: _log.info(SECRET),
        lambda: _log.debug("{secret}", secret=SECRET),
        lambda: _log.debug("nothing", secret=[SECRET]),
        lambda: _log.warn("{thing}", thing=Holder()),
        lambda: _log.warn("nothing", things={"a": Holder()}),
        lambda: log.msg("password", SECRET),
        lambda: logging.getLogger("pb").debug("nothing but %s", SECRET),
        lambda: logging.getLogger("pb").info("%s", Holder()),
        lambda: warnings.warn(f"it is {SECRET}", UserWarning, stacklevel=2),
    ],
)
@pytest.mark.filterwarnings("ignore:it is:UserWarning")
def test_secrets_in_logs_are_found(tell: Any) -> None:
    with watching() as watch:
        plant(SECRET)
        tell()
    assert watch.found
    with pytest.raises(AssertionError):
        watch.check()


def test_warnings_keep_their_place() -> None:
    with watching():
        with pytest.warns(UserWarning, match="^one$") as one:
            warnings.warn("one", UserWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="^two$") as two:
            warnings.warn("two")  # noqa: B028
    assert [each.filename for each in [*one, *two]] == [__file__] * 2


def test_secrets_in_sent_data_are_found() -> None:
    data = b"\0alice\0" + SECRET.encode()
    for pieces in ([data], [data[:9], data[9:]], [bytes([each]) for each in data]):
        for method in ("write", "writeSequence"):
            with watching() as watch:
                plant(SECRET)
                transport = MemoryTransport()
                for piece in pieces:
                    getattr(transport, method)(piece if method == "write" else [piece])
            assert len(watch.found) == 1
        with watching() as watch:
            plant(SECRET)
            for piece in pieces:
                # By two, each of whom has sent nothing of it but a part.
                MemoryTransport().write(piece)
        assert len(watch.found) == (len(pieces) == 1)


def test_secrets_in_received_data_are_found() -> None:
    with watching() as watch:
        plant(SECRET)
        pair = connected(Portal(OneRealm()))
        message = [b"didNotUnderstand", b64encode(SECRET.encode())]
        data = pair.server._connection.encode(message)
        pair.client.dataReceived(data)
        assert any("what is sent" in found for found in watch.found)
        pair.close()


def test_secret_is_allowed_in_its_own_message_only() -> None:
    password = PASSWORDS[0]
    for is_found, data in [
        (False, b"begin PLAIN \0alice\0" + password),
        (True, b"begin SCRAM \0alice\0" + password),
        (True, password + b" PLAIN"),
        (True, b"PLAIN" + b" " * 1300 + password),
        # It is sent as it is.
        (True, b"begin PLAIN \0alice\0" + b64encode(password)),
    ]:
        with watching() as watch:
            MemoryTransport().write(data)
        assert bool(watch.found) is is_found
    for within, is_found in [(ANYWHERE, False), (None, True), (b"X-TOKEN", True)]:
        with watching() as watch:
            plant(SECRET, within)
            MemoryTransport().write(SECRET.encode())
            assert bool(watch.found) is is_found
            # What may be sent is not to be logged.
            _log.info("{secret}", secret=SECRET)
            assert watch.found


def test_tickets_that_servers_make_are_planted() -> None:
    server: Any = ticket_server
    with watching() as watch:
        ticket = server.make(b"f" * 16)
        _log.info("{ticket}", ticket=ticket)
        assert watch.found == []
        _log.info("{ticket}", ticket=bytes(ticket))
        assert watch.found


def test_line_of_a_private_key_is_found() -> None:
    pem = private_pem_of(EC).encode()
    _, first, *_ = pem.splitlines()
    with watching() as watch:
        plant_key(pem)
        _log.info("{pem}", pem="-----BEGIN PRIVATE KEY-----")
        assert watch.found == []
        _log.info("{line}", line=first)
    assert watch.found


def test_end_of_watching_restores_the_replaced_functions() -> None:
    server: Any = ticket_server

    def around() -> Any:
        root = logging.getLogger()
        return (
            *(warnings.warn, MemoryTransport.write, pb_broker.Broker.dataReceived),
            *(server.make, root.level, list(root.handlers)),
        )

    before = around()
    with watching() as watch:
        assert around() != before
    assert around() == before
    _log.info("{secret}", secret=PASSWORDS[0])
    plant(SECRET)
    see(failure_of(ValueError(PASSWORDS[0])))
    assert watch.found == []


def test_refusal_to_plant_a_short_secret() -> None:
    with watching(), pytest.raises(ValueError, match="short"):
        plant("short")


@given(st.binary(min_size=6, max_size=40), st.binary(max_size=9), st.binary(max_size=9))
def test_base64_is_found_at_any_offset(
    secret: bytes, before: bytes, after: bytes
) -> None:
    encoded = b64encode(before + secret + after)
    assert any(form in encoded for form in forms_of(secret))


def test_other_forms_of_a_secret_are_found() -> None:
    secret = SECRET.encode()
    told = [
        *(secret, secret.hex().encode(), SECRET.encode("utf-16"), prepared(secret)),
        *(repr(secret).encode(), ascii(SECRET).encode(), b"Pa%C2%AAword-"),
    ]
    assert len(set(told)) == len(told)
    for text in told[:-1]:
        assert any(form in text for form in forms_of(secret))
    assert prepared(secret) == b"Paaword-IX-19e4"
    assert forms_of(b"abcdef") != forms_of(b"abcdeg")


CONFTEST = f"""
from importlib import import_module

watched = import_module("{__package__}.conftest")
_nothing_planted_is_told = watched._nothing_planted_is_told
"""

TESTS = """
from twisted.logger import Logger

def test_discloses_a_secret():
    Logger().info("{password}", password=b"sesame")

def test_discloses_nothing():
    Logger().info("{password}", password=b"******")
"""


def test_disclosure_of_a_secret_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    ran = pytester.runpytest("-p", "no:cacheprovider")
    ran.assert_outcomes(passed=2, errors=1)
    ran.stdout.fnmatch_lines(["*ERROR at teardown of test_discloses_a_secret *"])


def test_names_of_unknown_users_are_no_secret() -> None:
    with watching() as watch:
        _log.info("{user}", user=pb.Avatar(b"alice"))
    assert watch.found == []
