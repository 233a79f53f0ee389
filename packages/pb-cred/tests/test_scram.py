"""The messages of SCRAM, without any connection."""

from __future__ import annotations

import traceback
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.credentials import IUsernameHashedPassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from pb_cred._mechanisms.scram import scram
from pb_cred._mechanisms.scram.messages import (
    Malformed,
    hash_of_negotiation,
    hash_of_offer,
    parse_client_final,
    parse_client_first,
    parse_server_first,
)
from pb_cred._mechanisms.scram.scram import (
    NAME,
    PLUS,
    ScramClient,
    ScramServer,
    derive,
)
from pb_cred._passwords.scram_verifier import Verifier, make_verifier, prepared
from pb_cred.errors import LoginRefused, MechanismError
from pb_cred.mechanisms import Claim, LoginContext, Verified

SALT = b"salt salt salt"
ALICE = make_verifier(b"sesame", SALT, 4096)
BINDING = b"b" * 32


def result(value: Any) -> Any:
    """Return the result of a step, given at once or by a Deferred."""
    if not isinstance(value, Deferred):
        return value
    got: list[Any] = []
    value.addBoth(got.append)
    assert len(got) == 1
    if isinstance(got[0], Failure):
        got[0].raiseException()
    return got[0]


def lookup(username: bytes) -> Verifier:
    if username != b"alice":
        raise UnauthorizedLogin
    return ALICE


def server(
    context: LoginContext | None = None, find: Any = lookup, **options: Any
) -> ScramServer:
    context = context or LoginContext(offered=(NAME,))
    return ScramServer(find, b"secret", context, **options)


def client(
    context: LoginContext | None = None,
    username: bytes = b"alice",
    password: bytes | str = b"sesame",
    **options: Any,
) -> ScramClient:
    context = context or LoginContext(offered=(NAME,), acceptable=(PLUS, NAME))
    return ScramClient(username, password, context, **options)


def bound(*offered: str, data: bytes = BINDING) -> LoginContext:
    return LoginContext(
        is_tls=True, channel_binding=data, offered=offered, acceptable=(PLUS, NAME)
    )


def converse(us: ScramClient, them: ScramServer) -> Any:
    """Carry the messages, and return the server's result."""
    first = result(them.step(us.begin()))
    found = result(them.step(result(us.step(first))))
    us.finish(them.accepted())
    return found


# What the RFCs say.


@pytest.mark.parametrize(
    ("digest", "client_nonce", "server_nonce", "salt", "proof", "signature"),
    [
        pytest.param(
            "sha1",
            b"fyko+d2lbbFgONRv9qkxdawL",
            b"3rfcNHYJY1ZVvWVs7j",
            b"QSXCR+Q6sek8bf92",
            b"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            b"rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            id="RFC 5802",
        ),
        pytest.param(
            "sha256",
            b"rOprNGfwEbeRWgbNEkqO",
            b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            b"W22ZaJ0SNY7soEsUEjb6gQ==",
            b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            id="RFC 7677",
        ),
    ],
)
def test_server_messages_equal_those_of_the_rfc(
    digest: str,
    client_nonce: bytes,
    server_nonce: bytes,
    salt: bytes,
    proof: bytes,
    signature: bytes,
) -> None:
    keys = derive(b"pencil", b64decode(salt), 4096, digest)
    verifier = Verifier(b64decode(salt), 4096, keys.stored_key, keys.server_key)
    them = server(find=lambda _: verifier, nonce=server_nonce, digest=digest)
    both = client_nonce + server_nonce
    first = them.step(b"n,,n=user,r=" + client_nonce)
    assert first == b"r=" + both + b",s=" + salt + b",i=4096"
    found = them.step(b"c=biws,r=" + both + b",p=" + proof)
    assert found == Verified(b"user")
    assert them.accepted() == b"v=" + signature


def test_client_messages_equal_those_of_the_rfc_with_the_offer() -> None:
    us = client(username=b"user", password=b"pencil", nonce=b"rOprNGfwEbeRWgbNEkqO")
    assert us.begin() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    final = result(us.step(b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
    without_proof = final.rpartition(b",p=")[0]
    offer = b64encode(hash_of_offer([NAME]))
    assert without_proof == b"c=biws,r=" + nonce + b",o=" + offer


# Both ends.


@pytest.mark.parametrize("find", [lookup, lambda name: succeed(lookup(name))])
def test_login_with_the_right_password(find: Any) -> None:
    assert converse(client(), server(find=find)) == Verified(b"alice")


@pytest.mark.parametrize("name", [b"a,b=c", b"=2C", "żółw".encode(), b"a b"])
def test_round_trip_of_any_name(name: bytes) -> None:
    found = converse(client(username=name), server(find=lambda _: ALICE))
    assert found == Verified(name)


def test_passwords_are_prepared_or_used_unchanged() -> None:
    assert prepared("I\u00adX") == b"IX"
    assert prepared("\U0001f600") == "\U0001f600".encode()
    assert prepared(b"\xff") == b"\xff"
    assert prepared(b"") == b""


@pytest.mark.parametrize(
    ("username", "password"), [(b"alice", b"simsalabim"), (b"bob", b"sesame")]
)
def test_wrong_password_is_refused_at_the_same_step_as_an_unknown_user(
    username: bytes, password: bytes
) -> None:
    us, them = client(username=username, password=password), server()
    first = result(them.step(us.begin()))
    with pytest.raises(LoginRefused):
        them.step(result(us.step(first)))


def test_store_may_report_an_unknown_user_later() -> None:
    them = server(find=lambda _: fail(UnauthorizedLogin()))
    first = result(them.step(client().begin()))
    assert first.endswith(b",i=4096")
    assert server(find=lambda _: None).step(client().begin()).endswith(b",i=4096")


def test_failures_of_a_store_are_passed_on() -> None:
    them = server(find=lambda _: fail(OSError("no such disk")))
    with pytest.raises(OSError, match="disk"):
        result(them.step(client().begin()))


def test_salt_of_an_unknown_user_depends_on_name_and_server_only() -> None:
    def salt(secret: bytes, name: bytes) -> bytes:
        them = ScramServer(None, secret, LoginContext(), nonce=b"n")
        return bytes(them.step(b"n,,n=" + name + b",r=x"))

    assert salt(b"secret", b"bob") == salt(b"secret", b"bob")
    assert salt(b"secret", b"bob") != salt(b"secret", b"eve")
    assert salt(b"secret", b"bob") != salt(b"other", b"bob")


# Checkers of passwords.


def test_checker_of_passwords_decides() -> None:
    us, them = client(), server(find=None)
    claim = result(them.step(result(us.step(them.step(us.begin())))))
    assert isinstance(claim, Claim)
    credentials = claim.credentials
    assert verifyObject(IUsernameHashedPassword, credentials)
    assert credentials.username == b"alice"
    assert credentials.checkPassword(b"simsalabim") is False
    with pytest.raises(LoginRefused):
        them.accepted()
    assert credentials.checkPassword("sesame") is True
    us.finish(them.accepted())


def test_unknown_user_costs_as_much_as_a_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    derivations: list[Any] = []

    def counted(*args: Any) -> Any:
        derivations.append(args)
        return derive(*args)

    for is_known in (True, False):
        us, them = client(), server(find=None)
        claim = result(them.step(result(us.step(them.step(us.begin())))))
        with monkeypatch.context() as patch:
            patch.setattr(scram, "derive", counted)
            derivations.clear()
            if is_known:
                claim.credentials.checkPassword(b"simsalabim")
            them.refused()
        assert len(derivations) == 1


# The channel.


def test_channel_is_bound() -> None:
    offered = (PLUS, NAME)
    us = client(bound(*offered), is_plus=True)
    them = server(bound(*offered), is_plus=True)
    assert us.begin().startswith(b"p=tls-exporter,,")
    assert converse(us, them) == Verified(b"alice")


def test_binding_of_another_channel_is_refused() -> None:
    us = client(bound(PLUS), is_plus=True)
    them = server(bound(PLUS, data=b"c" * 32), is_plus=True)
    first = them.step(us.begin())
    with pytest.raises(LoginRefused):
        them.step(result(us.step(first)))


@pytest.mark.parametrize(
    ("first", "is_plus", "offered", "is_taken"),
    [
        (b"n,,", False, (NAME,), True),
        (b"n,a=alice,", False, (NAME,), True),
        (b"n,a=bob,", False, (NAME,), False),
        (b"n,,", False, (PLUS, NAME), True),
        (b"y,,", False, (NAME,), True),
        (b"y,,", False, (PLUS, NAME), False),
        (b"n,,", True, (PLUS, NAME), False),
        (b"y,,", True, (PLUS, NAME), False),
        (b"p=tls-unique,,", True, (PLUS, NAME), False),
        (b"p=tls-exporter,,", True, (PLUS, NAME), True),
        (b"p=tls-exporter,,", False, (PLUS, NAME), False),
        (b"p=,,", True, (PLUS, NAME), False),
        (b"", False, (NAME,), False),
    ],
)
def test_channel_flag_of_the_client(
    first: bytes, is_plus: bool, offered: tuple[str, ...], is_taken: bool
) -> None:
    them = server(bound(*offered), is_plus=is_plus)
    message = first + b"n=alice,r=nonce"
    if is_taken:
        assert them.step(message).startswith(b"r=nonce")
    else:
        with pytest.raises(LoginRefused):
            them.step(message)


@pytest.mark.parametrize(
    ("context", "flag"),
    [
        (LoginContext(offered=(NAME,), acceptable=(PLUS, NAME)), b"n"),
        (bound(NAME), b"y"),
        (LoginContext(channel_binding=BINDING, acceptable=(NAME,)), b"n"),
    ],
)
def test_channel_flag_tells_whether_the_client_could_bind(
    context: LoginContext, flag: bytes
) -> None:
    assert client(context).begin().startswith(flag + b",,")


def test_client_with_a_changed_offer_is_refused() -> None:
    us = client(LoginContext(offered=(NAME, "PLAIN"), acceptable=(NAME,)))
    them = server(LoginContext(offered=(PLUS, NAME)))
    first = them.step(us.begin())
    with pytest.raises(LoginRefused):
        them.step(result(us.step(first)))


# The dialect.

OFFER = b"\x03\x80\x03\x82pb2\x02\x82pb\x04\x82none"
STRIPPED = b"\x02\x80\x02\x82pb\x04\x82none"
PB, PB2 = b"\x02\x82pb", b"\x03\x82pb2"


def negotiated(negotiation: bytes, dialect: bytes = b"pb") -> LoginContext:
    return LoginContext(
        dialect=dialect, negotiation=negotiation, offered=(NAME,), acceptable=(NAME,)
    )


@pytest.mark.parametrize(
    ("said", "own", "dialect"),
    [
        pytest.param(OFFER + PB2, OFFER + PB2, b"pb2", id="both speak pb2"),
        pytest.param(OFFER + PB, OFFER + PB, b"pb", id="chosen in spite of pb2"),
        pytest.param(STRIPPED + PB, STRIPPED + PB, b"pb", id="server of pb alone"),
        pytest.param(b"", OFFER + PB, b"pb", id="client of pb alone"),
        pytest.param(b"", STRIPPED + PB, b"pb", id="both of pb alone"),
    ],
)
def test_login_after_an_honest_negotiation(
    said: bytes, own: bytes, dialect: bytes
) -> None:
    us, them = client(negotiated(said, dialect)), server(negotiated(own, dialect))
    assert converse(us, them) == Verified(b"alice")


@pytest.mark.parametrize(
    ("said", "own", "dialect"),
    [
        pytest.param(STRIPPED + PB, OFFER + PB, b"pb", id="pb2 struck from the offer"),
        pytest.param(OFFER + PB2, OFFER + PB, b"pb", id="another choice"),
        pytest.param(OFFER + PB2, STRIPPED + PB, b"pb", id="pb2 added to the offer"),
        pytest.param(b"", OFFER + PB2, b"pb2", id="nothing said over pb2"),
    ],
)
def test_refusal_after_a_changed_negotiation(
    said: bytes, own: bytes, dialect: bytes
) -> None:
    us, them = client(negotiated(said)), server(negotiated(own, dialect))
    final = result(us.step(them.step(us.begin())))
    with pytest.raises(LoginRefused):
        them.step(final)


@pytest.mark.parametrize("negotiation", [OFFER + PB, b""])
def test_what_the_client_says_of_the_dialect_is_proven(negotiation: bytes) -> None:
    us, them = client(negotiated(STRIPPED + PB)), server(negotiated(OFFER + PB))
    final = result(us.step(them.step(us.begin())))
    old = b",d=" + b64encode(hash_of_negotiation(STRIPPED + PB))
    new = b",d=" + b64encode(hash_of_negotiation(negotiation)) if negotiation else b""
    assert old in final
    with pytest.raises(LoginRefused):
        them.step(final.replace(old, new))


def test_a_client_of_pb_alone_says_nothing_of_the_dialect() -> None:
    us = client(negotiated(b""), nonce=b"n")
    assert b",d=" not in result(us.step(b"r=nx,s=c2FsdA==,i=4096"))


# What is not as it should be.


@pytest.mark.parametrize("iterations", [b"4095", b"1000001", b"1", b"9999999"])
def test_client_refuses_iterations_out_of_bounds(iterations: bytes) -> None:
    us = client(nonce=b"nonce")
    with pytest.raises(MechanismError, match="iterations"):
        us.step(b"r=nonce-more,s=c2FsdA==,i=" + iterations)


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b",", b"r=nonce", b"r=nonce,s=c2FsdA==,i=4096", b"e=other-error"),
        *(b"r=other,s=c2FsdA==,i=4096", b"s=c2FsdA==,r=nonce-x,i=4096"),
        *(b"r=nonce-x,s=c2FsdA==,i=04096", b"r=nonce-x,s=c2FsdA==,i=4e3"),
        *(b"r=nonce-x,s=c2FsdA==,i=-4096", b"r=nonce-x,s=c2FsdA==,i=" + b"9" * 5000),
        *(b"r=nonce-x,s=,i=4096", b"r=nonce-x,s=c2FsdA,i=4096"),
        *(b"r=nonce-x,s=!!!!,i=4096", b"m=x,r=nonce-x,s=c2FsdA==,i=4096"),
        *(b"r=nonce-x,s=c2FsdA==,i=4096,m=x", b"r=nonce-x,s=c2FsdA==,i=4096,i=4096"),
        *(b"r=nonce-" + b"x" * 300 + b",s=c2FsdA==,i=4096", b"\xff", b"\0"),
        *(b"r=nonce-\x80,s=c2FsdA==,i=4096", b"r=nonce- ,s=c2FsdA==,i=4096"),
    ],
)
def test_refusal_of_malformed_server_first_messages(message: bytes) -> None:
    us = client(nonce=b"nonce")
    with pytest.raises(MechanismError):
        us.step(message)
    # Nor is there another chance.
    with pytest.raises(MechanismError):
        us.step(b"r=nonce-more,s=c2FsdA==,i=4096")


def test_optional_extensions_are_ignored() -> None:
    assert parse_server_first(b"r=nx,s=c2FsdA==,i=4096,z=?", b"n").salt == b"salt"
    first = parse_client_first(b"n,,n=a,r=n,z=?")
    assert (first.username, first.bare) == (b"a", b"n=a,r=n,z=?")
    final = parse_client_final(b"c=biws,r=n,z=?,p=cHJvb2Y=")
    assert (final.without_proof, final.offer) == (b"c=biws,r=n,z=?", None)
    assert final.negotiation is None


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"n", b"n,", b"n,,", b"n,,n=alice", b"n,,r=x,n=alice", b"n,,n=,r=x"),
        *(b"n,,m=x,n=alice,r=x", b"n,,n=alice,r=", b"n,,n=a=2,r=x", b"n,,n=a=2c,r=x"),
        *(b"n,,n=\xff,r=x", b"n,,n=a\0b,r=x", b"n,,n=alice,r=x\n", b"n,,n=alice,r=x,"),
        *(b"n,,n=" + b"a" * 1025 + b",r=x", b"n,,n=alice,r=" + b"x" * 257),
        *(b"x,,n=alice,r=x", b"n,,n=alice,r=x,r=x", b"n,,n=alice,n=bob,r=x"),
    ],
)
def test_refusal_of_malformed_client_first_messages(message: bytes) -> None:
    them = server()
    with pytest.raises(LoginRefused) as caught:
        them.step(message)
    assert caught.value.__context__ is None
    with pytest.raises(LoginRefused):
        them.step(b"n,,n=alice,r=x")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *((b"c=biws", b"c=eSws"), (b"c=biws", b"c=biw="), (b"c=biws,", b"")),
        *((b",r=", b",r=x"), (b",p=", b",q="), (b",o=", b",m="), (b",p=", b",z=1,p=")),
        *((b",o=", b",o=x"), (b",o=", b",c="), (b"c=", b"a=x,c="), (b"c=", b"c==")),
    ],
)
def test_refusal_of_malformed_client_final_messages(old: bytes, new: bytes) -> None:
    us, them = client(), server()
    final = result(us.step(them.step(us.begin())))
    assert old in final
    with pytest.raises(LoginRefused):
        them.step(final.replace(old, new, 1))


def test_refusal_of_proofs_of_another_length() -> None:
    us, them = client(), server()
    final = result(us.step(them.step(us.begin())))
    with pytest.raises(LoginRefused):
        them.step(final.rpartition(b",p=")[0] + b",p=" + b64encode(b"short"))


def test_proof_is_accepted_once() -> None:
    us, them = client(), server()
    final = result(us.step(them.step(us.begin())))
    them.step(final)
    with pytest.raises(LoginRefused):
        them.step(final)
    again = server()
    again.step(us.begin())
    with pytest.raises(LoginRefused):
        again.step(final)


@pytest.mark.parametrize("data", [b"", b"v=", b"v=AAAA", b"e=invalid-proof", b"x"])
def test_client_refuses_a_server_without_proof(data: bytes) -> None:
    us, them = client(), server()
    them.step(result(us.step(them.step(us.begin()))))
    with pytest.raises(MechanismError, match="knows the user"):
        us.finish(data)


def test_client_refuses_a_server_that_ends_too_early() -> None:
    us = client()
    us.begin()
    with pytest.raises(MechanismError):
        us.finish(b"v=AAAA")


BYTES = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet="nypcrsivmoa=,+/0123456789A", max_size=80).map(str.encode),
)


@given(BYTES)
def test_any_bytes_to_a_server_are_refused_or_begin(data: bytes) -> None:
    them = server()
    try:
        first = them.step(data)
    except LoginRefused:
        return
    assert first.startswith(b"r=")
    with pytest.raises(LoginRefused):
        them.step(data)


@given(BYTES)
def test_any_bytes_at_the_end_are_refused(data: bytes) -> None:
    them = server()
    them.step(client().begin())
    with pytest.raises(LoginRefused):
        them.step(data)


@given(BYTES)
def test_any_bytes_to_a_client_are_an_error(data: bytes) -> None:
    us = client()
    with pytest.raises(MechanismError):
        us.step(data)
    with pytest.raises(MechanismError):
        us.finish(data)


@given(st.integers(0, 10**4), st.integers(0, 255))
def test_changed_byte_is_detected(place: int, byte: int) -> None:
    us, them = client(nonce=b"nonce"), server(nonce=b"other")
    final = bytearray(result(us.step(them.step(us.begin()))))
    place %= len(final)
    if final[place] == byte:
        return
    final[place] = byte
    with pytest.raises(LoginRefused):
        them.step(bytes(final))


# Secrets.


def test_reprs_have_no_secrets() -> None:
    us, them = client(), server(find=None)
    claim = result(them.step(result(us.step(them.step(us.begin())))))
    keys = derive(b"sesame", SALT, 4096)
    for thing in (us, them, claim, claim.credentials, keys, bound(PLUS)):
        for secret in (b"sesame", keys.client_key, keys.server_key, BINDING):
            assert repr(secret)[2:-1] not in repr(thing)


def test_tracebacks_have_no_secrets() -> None:
    us = client(password=b"sesame\xff", nonce=b"nonce")
    with pytest.raises(MechanismError) as caught:
        us.step(b"bad")
    text = "".join(traceback.format_exception(caught.value))
    assert "sesame" not in text
    with pytest.raises(Malformed):
        parse_client_first(b"n,,n=\xff,r=sesame")
