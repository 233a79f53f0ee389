"""OAUTHBEARER: accepted and refused tokens, and their secrecy."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from pb_broker.testing import Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb, tokens
from pb_cred._channel import tls as channel
from pb_cred._channel.tls import Security
from pb_cred._jwt.secret_token import MAX_TOKEN
from pb_cred._mechanisms.mechanism_table import client_mechanisms
from pb_cred.errors import NoMechanism, TokenKeyError
from pb_cred.mechanisms import LoginContext, Verified
from pb_cred.tokens import BearerToken, BearerTokens

from .support import OneRealm, call, log_in, logged, outcome, text_of, trapped
from .token_support import (
    CLAIMS,
    EC,
    ED,
    ISSUER,
    KEYS,
    NOW,
    ONE,
    OTHER_EC,
    OURS,
    RSA,
    SECRET,
    Clock,
    Source,
    answer_of,
    b64,
    jwk_of,
    message_of,
    pem_of,
    sent,
    shown,
    shown_to,
    signed,
    signed_parts,
    token_of,
    tokens_of,
)

TLS = Security(is_tls=True)
VERIFIED = Security(is_tls=True, is_verified=True)


@pytest.fixture(autouse=True, scope="module")
def _today() -> Iterator[None]:
    with mock.patch.object(tokens, "_now", return_value=NOW):
        yield


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOW)
    monkeypatch.setattr(tokens, "_now", clock)
    return clock


# Who is let in.


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_token_has_user_and_expiry(algorithm: str) -> None:
    private, public = KEYS[algorithm]
    mechanism = tokens_of({"1": public}, algorithms=[algorithm])
    context = LoginContext(is_tls=True)
    message = message_of(token_of(None, private, algorithm))
    [verified] = sent(mechanism, message, context)
    until = datetime.fromtimestamp(NOW + 605, timezone.utc)
    assert verified == Verified(b"alice", expires=until)
    assert context.username == b"alice"


def test_several_algorithms_are_allowed() -> None:
    keys = {"1": pem_of(EC), "2": pem_of(RSA), "3": pem_of(ED)}
    mechanism = tokens_of(keys, algorithms=["ES256", "RS256", "PS256", "EdDSA"])
    for kid, key, algorithm in [
        *(("1", EC, "ES256"), ("2", RSA, "RS256"), ("2", RSA, "PS256")),
        ("3", ED, "EdDSA"),
    ]:
        assert shown_to(mechanism, token_of(None, key, algorithm, kid=kid)) == b"alice"
    for kid, key, algorithm in [
        *(("1", RSA, "RS256"), ("2", EC, "ES256"), ("3", RSA, "RS256")),
        *(("2", RSA, "RS512"), ("2", ED, "EdDSA")),
    ]:
        assert shown_to(mechanism, token_of(None, key, algorithm, kid=kid)) is None


def test_another_claim_names_the_user() -> None:
    mechanism = tokens_of(claim="email")
    assert shown_to(mechanism, token_of({**CLAIMS, "email": "ä@b"})) == "ä@b".encode()
    assert shown_to(mechanism, token_of()) is None
    # It is none that can be a user, but a claim all the same.
    assert shown_to(mechanism, token_of({**CLAIMS, "email": "a", "sub": 5})) is None


def test_function_that_returns_the_user() -> None:
    asked: list[Any] = []

    def identify(claims: dict[str, Any]) -> Any:
        asked.append(claims)
        return claims.get("who")

    mechanism = tokens_of(claim=identify)
    for who, avatar_id in [("bob", b"bob"), (None, None), (["b"], ["b"]), ("", None)]:
        claims = {**CLAIMS, "who": who}
        assert shown_to(mechanism, token_of(claims)) == avatar_id
        assert asked.pop() == claims
    assert shown_to(mechanism, token_of(key=OTHER_EC)) is None
    assert asked == []


@pytest.mark.parametrize("who", ["bob", None])
def test_function_may_return_the_user_later(who: str | None) -> None:
    expected = None if who is None else b"bob"
    waiting: Deferred[Any] = Deferred()
    mechanism = tokens_of(claim=lambda claims: waiting)
    results = sent(mechanism, message_of(token_of()))
    assert results == []
    waiting.callback(who)
    assert answer_of(*results) == expected

    async def identify(claims: dict[str, Any]) -> Any:
        return await succeed(who)

    assert shown_to(tokens_of(claim=identify), token_of()) == expected


def test_exception_of_a_function_is_passed_on() -> None:
    def identify(claims: dict[str, Any]) -> Any:
        return claims["groups"]

    [failure] = sent(tokens_of(claim=identify), message_of(token_of()))
    assert failure.type is KeyError


def test_function_that_returns_another_type() -> None:
    mechanism = tokens_of(claim=lambda claims: 5)
    context = LoginContext(is_tls=True)
    [verified] = sent(mechanism, message_of(token_of()), context)
    assert (verified.avatar_id, context.username) == (5, None)


# The message.


@pytest.mark.parametrize(
    "form",
    [
        b"n,,\x01auth=Bearer %b\x01\x01",
        b"y,,\x01auth=Bearer %b\x01\x01",
        b"n,a=alice,\x01auth=Bearer %b\x01\x01",
        b"n,,\x01auth=bEARER   %b\x01\x01",
        b"n,,\x01host=a.example\x01port=8787\x01auth=Bearer %b\x01x=\x01\x01",
    ],
)
def test_well_formed_messages(form: bytes) -> None:
    assert answer_of(*sent(tokens_of(), form % token_of())) == b"alice"


@pytest.mark.parametrize(
    "form",
    [
        *(b"", b"\x01", b"n,,", b"n,,\x01\x01", b"n,,\x01auth=\x01\x01", b"%b"),
        *(b"n,,\x01auth=Bearer %b\x01", b"n,,\x01auth=Bearer %b\x01\x01\x01"),
        *(b"n,,auth=Bearer %b\x01\x01", b"p=tls-exporter,,\x01auth=Bearer %b\x01\x01"),
        *(b"F,n,,\x01auth=Bearer %b\x01\x01", b"n,a=,\x01auth=Bearer %b\x01\x01"),
        *(b"n,,\x01auth=Basic %b\x01\x01", b"n,,\x01auth=Bearer %b=\x01\x01"),
        *(b"n,,\x01auth=Bearer%b\x01\x01", b"n,,\x01auth=Bearer %b \x01\x01"),
        *(b"n,,\x01AUTH=Bearer %b\x01\x01", b"n,,\x01auth= Bearer %b\x01\x01"),
        b"n,,\x01auth=Bearer %b\x01auth=Bearer x\x01\x01",
        b"n,,\x01auth=Bearer %b\x01" + b"x=y\x01" * 8 + b"\x01",
        b"n,,\x01auth=Bearer %b\x01x=\xff\x01\x01",
        b"n,,\x01auth=Bearer %b\x01x\x01\x01",
        b"n,,\x01auth=Bearer %b\x01" + b"x" * 17 + b"=y\x01\x01",
        *(
            b"n,a=bob,\x01auth=Bearer %b\x01\x01",
            b"n,a=\xff,\x01auth=Bearer %b\x01\x01",
        ),
        *(b"n,a=Alice,\x01auth=Bearer %b\x01\x01", b"p,,\x01auth=Bearer %b\x01\x01"),
    ],
)
def test_refusal_of_malformed_messages(form: bytes) -> None:
    message = form.replace(b"%b", token_of())
    assert answer_of(*sent(tokens_of(), message)) is None


def test_authorization_identity_with_encoded_commas() -> None:
    message = b"n,a=a=2Cb=3D,\x01auth=Bearer %b\x01\x01"
    token = token_of({**CLAIMS, "sub": "a,b="})
    assert answer_of(*sent(tokens_of(), message % token)) == b"a,b="
    mechanism = tokens_of(claim=lambda claims: ("a,b=",))
    assert answer_of(*sent(mechanism, message % token)) is None


# What is no token.


def test_refusal_of_tokens_with_other_than_three_parts() -> None:
    mechanism = tokens_of()
    good = token_of()
    header, payload, signature = good.split(b".")
    assert shown_to(mechanism, good) == b"alice"
    for bad in [
        *(b"", b".", b"..", b"a.b.c", header, header + b"." + payload),
        *(good + b".", good + b".x", b"." + good, good + b"=", b"x" + good),
        header + b"." + payload + b".",
        b".".join([payload, header, signature]),
        header + b"=." + payload + b"." + signature,
        # To others, the same bytes.
        good[:-1] + (b"A" if good[-1:] != b"A" else b"Q") + b"==",
        header.replace(b"e", b"+") + b"." + payload + b"." + signature,
    ]:
        assert shown_to(mechanism, bad) is None, bad


def test_refusal_of_other_base64_spellings() -> None:
    """The last character of a part has unused bits."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    def respelled(part: bytes) -> bytes:
        last = alphabet.index(part[-1:]) ^ 1
        return part[:-1] + alphabet[last : last + 1]

    header = b64(b'{"alg":"ES256","kid":"1"}')
    payload = json.dumps(CLAIMS).encode()
    payload = b64(payload + b" " * ((1 - len(payload)) % 3))
    assert (len(header) % 4, len(payload) % 4) == (2, 2)
    assert shown_to(tokens_of(), signed_parts(header, payload)) == b"alice"
    for parts in [(respelled(header), payload), (header, respelled(payload))]:
        assert shown_to(tokens_of(), signed_parts(*parts)) is None
    said, _, signature = signed_parts(header, payload).rpartition(b".")
    assert shown_to(tokens_of(), said + b"." + respelled(signature)) is None


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"ES256"',
        b'{"alg": "ES256", "kid": "1"',
        b'{"alg": "ES256", "kid": "1"} x',
        b'\xef\xbb\xbf{"alg": "ES256", "kid": "1"}',
        '{"alg": "ES256", "kid": "1"}'.encode("utf-16"),
        b'{"alg": "ES256", "kid": "\xff"}',
        b'{"alg": "ES256", "kid": "1", "kid": "1"}',
        b'{"alg": "ES256", "kid": "2", "kid": "1"}',
        b'{"alg": "none", "alg": "ES256", "kid": "1"}',
        b'{"alg": "ES256", "kid": "1", "x": NaN}',
        b'{"alg": "ES256", "kid": "1", "x": -Infinity}',
        b'{"alg": "ES256", "kid": "1", "x": ' + b"9" * 33 + b"}",
        b'{"alg": "ES256", "kid": "1", "x": ' + b"9." + b"9" * 33 + b"}",
        b'{"alg": "ES256", "kid": "1", "x": ' + b"[" * 8 + b"]" * 8 + b"}",
        b'{"alg": "ES256", "kid": "1", "x": ' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"alg": "ES256", "kid": "1", "x": "' + b"x" * 2048 + b'"}',
        b'{"alg": "ES256", "kid": "1", "x": "' + b'\\"' * 500,
        b'{"alg": "ES256", "kid": "1", "x": "\\',
        b'{"alg": "es256", "kid": "1"}',
        b'{"alg": "ES256 ", "kid": "1"}',
        b'{"alg": ["ES256"], "kid": "1"}',
        b'{"alg": null, "kid": "1"}',
        b'{"alg": 5, "kid": "1"}',
        b'{"kid": "1"}',
        b'{"alg": "ES256", "kid": 1}',
        b'{"alg": "ES256", "kid": null}',
        b'{"alg": "ES256", "kid": ["1"]}',
        b'{"alg": "ES256", "kid": {"1": 1}}',
        b'{"alg": "ES256", "kid": "01"}',
        b'{"alg": "ES256", "kid": "1 "}',
        b'{"alg": "ES256", "kid": ""}',
        b'{"alg": "ES256", "kid": "1", "typ": 5}',
        b'{"alg": "ES256", "kid": "1", "typ": null}',
    ],
)
def test_refusal_of_malformed_headers(header: bytes) -> None:
    token = signed(header, json.dumps(CLAIMS).encode())
    assert shown_to(tokens_of(), token) is None


def test_accepted_header_fields() -> None:
    for header in [
        b'{"alg": "ES256", "kid": "1", "x5t": "abc", "cty": 5, "y": {"a": [1, 2.5]}}',
        b' {"alg": "ES256", "kid": "\\u0031", "x": ' + b"[" * 7 + b"]" * 7 + b"} ",
        b'{"alg": "ES256", "kid": "1", "x": "' + b"[{" * 500 + b'\\"[["}',
    ]:
        token = signed(header, json.dumps(CLAIMS).encode())
        assert shown_to(tokens_of(), token) == b"alice"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jku", "https://evil.example/keys"),
        ("x5u", "https://evil.example/cert"),
        ("jwk", jwk_of(OTHER_EC, "ES256")),
        ("x5c", ["MII"]),
        ("crit", ["exp"]),
        ("crit", ["b64"]),
        ("crit", []),
        ("b64", False),
        ("b64", True),
        ("zip", "DEF"),
        ("enc", "A256GCM"),
    ],
)
def test_keys_and_rules_in_a_token_are_refused(name: str, value: Any) -> None:
    mechanism = tokens_of()
    for key in (EC, OTHER_EC):
        assert shown_to(mechanism, token_of(None, key, **{name: value})) is None


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"AA", b64(b"x" * 64)])
def test_refusal_of_unsigned_tokens(algorithm: str, signature: bytes) -> None:
    header = json.dumps({"alg": algorithm, "kid": "1"}).encode()
    token = b64(header) + b"." + b64(json.dumps(CLAIMS).encode()) + b"." + signature
    assert shown_to(tokens_of(), token) is None
    secrets = tokens_of({"1": SECRET}, algorithms=["HS256"])
    assert shown_to(secrets, token) is None


@pytest.mark.parametrize("spelling", [pem_of(RSA), pem_of(RSA).strip(), "DER", "JWK"])
def test_token_signed_with_the_public_key_is_refused(spelling: str) -> None:
    """The public key is used as the secret of an HMAC."""
    known = spelling.encode()
    if spelling == "DER":
        known = RSA.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    elif spelling == "JWK":
        known = json.dumps(jwk_of(RSA, "RS256")).encode()
    header = b'{"alg":"HS256","kid":"1"}'
    said = b64(header) + b"." + b64(json.dumps(CLAIMS).encode())
    forged = said + b"." + b64(hmac.digest(known, said, hashlib.sha256))
    assert shown_to(tokens_of({"1": pem_of(RSA)}, algorithms=["RS256"]), forged) is None
    # And nobody is to use one as such.
    with pytest.raises(TokenKeyError, match="no secret"):
        tokens_of({"1": known}, algorithms=["HS256"])


def test_signature_must_be_by_the_named_key() -> None:
    keys = {"1": pem_of(EC), "2": pem_of(OTHER_EC)}
    mechanism = tokens_of(keys)
    assert shown_to(mechanism, token_of(key=OTHER_EC, kid="2")) == b"alice"
    assert shown_to(mechanism, token_of(key=OTHER_EC, kid="1")) is None
    assert shown_to(mechanism, token_of(key=EC, kid="2")) is None
    assert shown_to(mechanism, token_of(key=EC, kid="3")) is None
    # One that another algorithm would take.
    wide = tokens_of({"1": pem_of(RSA)}, algorithms=["RS256", "PS256"])
    token = token_of(None, RSA, "PS256", alg="RS256")
    assert shown_to(wide, token) is None


def test_token_without_a_key_id_is_accepted_with_a_single_key() -> None:
    one = tokens_of()
    assert shown_to(one, token_of(kid=None)) == b"alice"
    assert shown_to(one, token_of(key=OTHER_EC, kid=None)) is None
    two = tokens_of({"1": pem_of(EC), "2": pem_of(OTHER_EC)})
    assert shown_to(two, token_of(kid=None)) is None


@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_token_type_can_be_required(kind: str) -> None:
    mechanism = tokens_of(token_type=kind)
    for given_type in ("at+jwt", "At+Jwt", "application/at+jwt", "APPLICATION/AT+JWT"):
        assert shown_to(mechanism, token_of(typ=given_type)) == b"alice"
    for other in (None, "", "JWT", "jwt", "at+jwt2", "text/at+jwt", " at+jwt"):
        assert shown_to(mechanism, token_of(typ=other)) is None
    for whatever in (None, "", "JWT", "at+jwt"):
        assert shown_to(tokens_of(), token_of(typ=whatever)) == b"alice"


def test_size_of_tokens_is_bounded() -> None:
    claims = {**CLAIMS, "x": "x" * 100}
    token = token_of(claims)
    for more, avatar_id in [(0, b"alice"), (-1, None)]:
        mechanism = tokens_of(max_token_bytes=len(token) + more)
        assert shown_to(mechanism, token) == avatar_id
    claims["x"] *= 90
    assert shown_to(tokens_of(), token_of(claims)) is None
    assert shown_to(tokens_of(max_token_bytes=MAX_TOKEN), token_of(claims)) == b"alice"


# Claims.


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("iss", [ISSUER + "/", ISSUER[:-1], ISSUER.upper(), "", [ISSUER], 5, None]),
        ("aud", [OURS + "x", OURS[:-1], "p", "", OURS.upper(), f"{OURS} x", 5, None]),
        ("aud", [[], ["x"], [OURS[:-1]], [OURS, 5], [OURS, None], [[OURS]], {OURS: 1}]),
        ("sub", ["", "a\0b", "x" * 1025, "\ud800", 5, None, True, ["alice"], {}]),
        ("jti", [5, None, ["x"], {}]),
        ("exp", [NOW - 5, NOW - 600, 0, -1, str(NOW + 600), None, True, [NOW], {}]),
        ("exp", [float("nan"), float("inf"), 1e300, 10**17, 10**40, -(10**18)]),
        ("nbf", [NOW + 6, NOW + 5.5, str(NOW), None, True, [NOW], -1, 10**17]),
        ("iat", [NOW + 6, NOW + 5.5, str(NOW), None, False, [NOW], -1, 10**17]),
    ],
)
def test_refusal_of_invalid_claims(name: str, values: list[Any]) -> None:
    mechanism = tokens_of()
    for value in values:
        token = token_of({**CLAIMS, name: value})
        assert shown_to(mechanism, token) is None, value


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp"])
def test_refusal_of_missing_claims(name: str) -> None:
    claims = {key: value for key, value in CLAIMS.items() if key != name}
    assert shown_to(tokens_of(), token_of(claims)) is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("aud", [[OURS], ["x", OURS], [OURS, "x", OURS]]),
        ("exp", [NOW + 1, NOW, NOW - 4, NOW + 0.5, 253402214400]),
        ("nbf", [NOW + 5, 0, NOW - 0.5]),
        ("iat", [NOW + 5, 0, NOW - 0.5]),
        ("jti", ["x", ""]),
        ("x", [None, 5, [], {"a": {"b": "c"}}]),
    ],
)
def test_accepted_claims(name: str, values: list[Any]) -> None:
    mechanism = tokens_of()
    for value in values:
        token = token_of({**CLAIMS, name: value})
        assert shown_to(mechanism, token) == b"alice", value
    if name in ("nbf", "iat", "jti"):
        claims = {key: value for key, value in CLAIMS.items() if key != name}
        assert shown_to(mechanism, token_of(claims)) == b"alice"


def test_several_audiences_are_accepted() -> None:
    mechanism = tokens_of(audience=["a", OURS])
    for audience, avatar_id in [
        *(("a", b"alice"), (OURS, b"alice"), (["x", "a"], b"alice")),
        *(("x", None), (["x"], None), ("ab", None), ([], None)),
    ]:
        token = token_of({**CLAIMS, "aud": audience})
        assert shown_to(mechanism, token) == avatar_id


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"x", b"[]", b"null", b'"x"', b"{", b"\xff", b"{}"),
        json.dumps([CLAIMS]).encode(),
        json.dumps(CLAIMS).encode()[:-1] + b', "sub": "alice"}',
        json.dumps(CLAIMS).encode("utf-16"),
        json.dumps({**CLAIMS, "x": [[[[[[[[1]]]]]]]]}).encode(),
        json.dumps(CLAIMS).encode()[:-1]
        + b', "x": '
        + b"[" * 2000
        + b"]" * 2000
        + b"}",
        json.dumps(CLAIMS).encode()[:-1] + b', "x": ' + b"1" * 5000 + b"}",
    ],
)
def test_refusal_of_a_payload_that_is_no_object(payload: bytes) -> None:
    token = signed(b'{"alg": "ES256", "kid": "1"}', payload)
    assert shown_to(tokens_of(), token) is None


def test_token_is_valid_between_its_times(wall: Clock) -> None:
    mechanism = tokens_of(leeway=2.0)
    token = token_of({**CLAIMS, "nbf": NOW + 10, "exp": NOW + 20})
    for now, avatar_id in [
        *((NOW + 7.9, None), (NOW + 8, b"alice"), (NOW + 21.9, b"alice")),
        *((NOW + 22, None), (NOW + 1000, None)),
    ]:
        wall.now = now
        assert shown_to(mechanism, token) == avatar_id
    wall.now = NOW + 21
    [verified] = sent(mechanism, message_of(token))
    # Never before now.
    assert verified.expires == datetime.fromtimestamp(NOW + 22, timezone.utc)
    assert verified.expires.utcoffset() == timedelta(0)


# What nobody has thought of.


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    mechanism = FIXED
    for message in (data, message_of(data), message_of(b64(data) + b".eyJ9.AA")):
        assert answer_of(*sent(mechanism, message)) is None


FIXED = tokens_of({"1": pem_of(EC), "2": pem_of(OTHER_EC)})
GOOD = token_of()


@given(st.data())
def test_changed_token_is_refused(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(begin, min(len(GOOD), begin + 8)))
    instead = data.draw(
        st.one_of(
            st.binary(max_size=4),
            st.text("ABCabc019-_.=", max_size=4).map(str.encode),
        )
    )
    changed = GOOD[:begin] + instead + GOOD[end:]
    if changed != GOOD:
        assert shown_to(FIXED, changed) is None


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(NOW - 20, NOW + 20),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([ISSUER, OURS, "alice", str(NOW)]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([OURS, "a"]), inner, max_size=2),
    ),
    max_leaves=5,
)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@given(st.dictionaries(st.sampled_from([*CLAIMS, "jti", "x"]), values, max_size=4))
def test_random_claims_are_accepted_only_if_valid(changes: dict[str, Any]) -> None:
    claims = {**CLAIMS, **changes}
    found = shown_to(FIXED, token_of(claims))
    if changes.keys() <= {"x"} and not is_number(changes.get("x")):
        # Those within a list may be numbers that JSON does not have.
        assert found == b"alice" or isinstance(changes.get("x"), (list, dict))
    if found is not None:
        audience = claims["aud"]
        assert claims["iss"] == ISSUER
        assert audience == OURS or (OURS in audience and type(audience) is list)
        assert found == claims["sub"].encode() != b""
        assert is_number(claims["exp"])
        assert NOW - 5 < claims["exp"] < 10**12
        for name in ("nbf", "iat"):
            assert is_number(claims[name])
            assert 0 <= claims[name] <= NOW + 5


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "jwk", "crit", "x5c", "b64", "x"]),
        st.one_of(values, st.sampled_from(["1", "2", "none", "HS256", "RS256"])),
        max_size=3,
    )
)
def test_random_headers_are_accepted_only_if_valid(changes: dict[str, Any]) -> None:
    header = {"alg": "ES256", "kid": "1", **changes}
    token = signed(json.dumps(header).encode(), json.dumps(CLAIMS).encode())
    if shown_to(FIXED, token) is not None:
        assert (header["alg"], header["kid"]) == ("ES256", "1")
        assert changes.keys() <= {"alg", "kid", "typ", "x"}
        assert isinstance(header.get("typ", ""), str)


@given(st.binary(max_size=150))
def test_random_signatures_are_refused(signature: bytes) -> None:
    """Libraries differ in their treatment of signatures of another length."""
    said = GOOD.rpartition(b".")[0]
    assert shown_to(FIXED, said + b"." + b64(signature)) is None
    for algorithm in ("RS256", "PS256", "EdDSA", "HS256", "ES512"):
        private, public = KEYS[algorithm]
        said = token_of(None, private, algorithm).rpartition(b".")[0]
        mechanism = tokens_of({"1": public}, algorithms=[algorithm])
        assert shown_to(mechanism, said + b"." + b64(signature)) is None


# Over connections.


@pytest.fixture
def secured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Security], None]:
    """Return a function that sets the security of the connection at both ends."""

    def secure(security: Security) -> None:
        monkeypatch.setattr(channel, "security_of", lambda transport: security)

    return secure


def pair_of(realm: OneRealm, *mechanisms: Any) -> Pair:
    return connected_pair(
        server_factory=PBServerFactory(Portal(realm), mechanisms=mechanisms),
        client_factory=PBClientFactory(),
    )


def test_session_has_the_expiry_of_its_token(
    secured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured(VERIFIED)
    now = datetime.now(timezone.utc).timestamp()
    monkeypatch.setattr(tokens, "_now", lambda: now)
    realm = OneRealm()
    pair = pair_of(realm, tokens_of())
    token = token_of({**CLAIMS, "iat": 0, "nbf": 0, "exp": now + 600})
    avatar = log_in(pair, BearerToken(token), "a mind")
    assert call(pair, avatar, "name") == b"alice"
    assert realm.minds == ["a mind"]
    session = pb.session_of(realm.users[0])
    assert session.mechanism == "OAUTHBEARER"
    assert session.expires == datetime.fromtimestamp(now + 605, timezone.utc)


def test_oauthbearer_is_offered_over_tls_only(secured: Any) -> None:
    mechanism = tokens_of()
    assert mechanism.is_served_by(Portal(OneRealm()))
    for security, offered in [(Security(), []), (TLS, ["OAUTHBEARER"])]:
        secured(security)
        pair = pair_of(OneRealm(), mechanism)
        root = pair.client.remoteForName("root")
        assert call(pair, root, "mechanisms") == offered
        asked: list[None] = []
        token = BearerToken(partial(asked.append, None))
        trapped(log_in(pair, token), NoMechanism)
        assert asked == []
    secured(Security())
    realm = OneRealm()
    pair = pair_of(realm, mechanism)
    root = pair.client.remoteForName("root")
    begin = call(pair, root, "begin", "OAUTHBEARER", message_of(token_of()))
    trapped(begin, UnauthorizedLogin)
    assert realm.users == []


def test_server_refuses_oauthbearer_by_its_name_alone() -> None:
    with pytest.raises(ValueError, match=r"an object: pb_cred\.tokens\.BearerTokens"):
        PBServerFactory(Portal(OneRealm()), mechanisms=["OAUTHBEARER"])
    assert [each.name for each in client_mechanisms(["OAUTHBEARER"])] == ["OAUTHBEARER"]


def test_failed_fetch_of_a_token_is_no_refusal(secured: Any) -> None:
    secured(VERIFIED)
    realm = OneRealm()
    pair = pair_of(realm, tokens_of())
    for source in (lambda: fail(OSError("no network")), Source(OSError("no network"))):
        trapped(log_in(pair, BearerToken(source)), OSError)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tokens, "_now", lambda: NOW)
        assert call(
            pair, log_in(pair, BearerToken(token_of(dict(CLAIMS, exp=4e9)))), "name"
        )


def test_cancelled_login_waits_for_no_keys(secured: Any) -> None:
    secured(VERIFIED)
    answer: Deferred[Any] = Deferred()
    realm = OneRealm()
    pair = pair_of(realm, tokens_of(lambda: answer))
    good = BearerToken(token_of({**CLAIMS, "exp": 4e9}))
    login = pair.client_factory.login(good)
    pair.flush()
    login.addErrback(lambda _: None)
    login.cancel()
    login = pair.client_factory.login(good)
    pair.flush()
    answer.callback(ONE)
    assert call(pair, outcome(pair, login), "name") == b"alice"
    assert len(realm.users) == 1


# What is shown.


def parts_of(token: bytes) -> list[str]:
    # Their beginnings, in case they are cut off.
    return [part.decode()[:20] for part in token.split(b".")]


def refusals() -> list[tuple[str, BearerTokens, bytes]]:
    """Return a mechanism and a refused message for each place of refusal."""

    def broken(claims: Any) -> Any:
        raise OSError("no database")

    long = token_of({**CLAIMS, "x": "x" * 9000})
    return [
        ("no token", tokens_of(), token_of() + b"~"),
        ("too long", tokens_of(), long),
        ("no header", tokens_of(), b"x" + token_of()),
        ("jku", tokens_of(), token_of(jku="https://evil.example")),
        ("types", tokens_of(), token_of(kid=[])),
        ("typ", tokens_of(token_type="at+jwt"), token_of()),
        ("kid", tokens_of(), token_of(kid="2")),
        ("algorithm", tokens_of(algorithms=["ES256", "RS256"]), token_of(alg="RS256")),
        ("signature", tokens_of(), token_of(key=OTHER_EC)),
        ("payload", tokens_of(), signed(b'{"alg":"ES256","kid":"1"}', b"[" * 500)),
        ("issuer", tokens_of(), token_of({**CLAIMS, "iss": "x"})),
        ("audience", tokens_of(), token_of({**CLAIMS, "aud": "x"})),
        ("exp", tokens_of(), token_of({**CLAIMS, "exp": 0})),
        ("sub", tokens_of(), token_of({**CLAIMS, "sub": 5})),
        ("broken", tokens_of(claim=broken), token_of()),
    ]


@pytest.mark.parametrize(
    ("mechanism", "token"),
    [pytest.param(*each[1:], id=each[0]) for each in refusals()],
)
def test_token_is_hidden_from_reprs_and_tracebacks(
    mechanism: BearerTokens, token: bytes, secured: Any
) -> None:
    [malformed] = sent(mechanism, message_of(token) + b"x")
    [failure] = sent(mechanism, message_of(token))
    text = shown(malformed, failure, mechanism)
    secured(VERIFIED)
    credentials = BearerToken(lambda: token)
    pair = pair_of(OneRealm(), mechanism)
    with logged() as events:
        answer = log_in(pair, credentials)
    assert isinstance(answer, Failure)
    text += shown(answer, credentials, *events) + text_of(events)
    assert "tokens.py" in text
    for part in parts_of(token):
        assert part not in text
