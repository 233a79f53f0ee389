from __future__ import annotations

from hashlib import md5
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.checkers import ANONYMOUS, ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.spread import pb as twisted_pb
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pb_broker.testing import Pair
from pb_cred import pb
from pb_cred._mechanisms.legacy_md5 import MD5Credentials
from pb_cred._server.md5_challenge import MAX_CHALLENGES, MAX_NAME

from .support import OneRealm, call, outcome, portal_of, trapped
from .support import legacy_connected as connected
from .support import legacy_log_in as log_in

#: The MD5 digest of alice's password.
SESAME = md5(b"sesame").digest()


def root_of(pair: Pair) -> Any:
    return outcome(pair, pair.client_factory.getRootObject())


def exported(pair: Pair) -> int:
    """Return how many of the server's objects the client holds, by its count."""
    return sum(isinstance(luid, int) for luid in pair.server.localObjects)


@given(st.binary(), st.binary())
def test_response_equals_that_of_twisted_spread(
    challenge: bytes, password: bytes
) -> None:
    assert pb.respond(challenge, password) == twisted_pb.respond(challenge, password)


def test_password_in_text_is_encoded_in_utf_8() -> None:
    assert pb.respond(b"x", "gr\u00fc\u00df") == pb.respond(
        b"x", "gr\u00fc\u00df".encode()
    )


def test_challenges_are_sixteen_bytes_and_differ() -> None:
    challenges = {pb.challenge() for _ in range(100)}
    assert {len(challenge) for challenge in challenges} == {16}
    assert len(challenges) == 100


def test_credentials_accept_the_right_password_only() -> None:
    response = pb.respond(b"challenge", b"sesame")
    credentials = MD5Credentials(b"alice", b"challenge", response)
    assert verifyObject(IUsernameHashedPassword, credentials)
    assert verifyObject(pb.IUsernameMD5Password, credentials)
    assert credentials.username == b"alice"
    assert credentials.checkPassword(b"sesame")
    assert credentials.checkPassword("sesame")
    assert not credentials.checkPassword(b"simsalabim")
    assert credentials.checkMD5Password(SESAME)
    assert not credentials.checkMD5Password(b"")


@pytest.mark.parametrize("response", [b"", b"short", b"x" * 16, b"x" * 10_000])
def test_wrong_response_of_any_length_is_refused(response: bytes) -> None:
    assert not MD5Credentials(b"alice", b"c", response).checkPassword(b"sesame")


def test_checker_with_the_digest_alone_accepts_the_response() -> None:
    @implementer(ICredentialsChecker)
    class Digests:
        credentialInterfaces = (pb.IUsernameMD5Password,)

        def requestAvatarId(self, credentials: Any) -> Any:
            if credentials.checkMD5Password(SESAME):
                return credentials.username
            raise UnauthorizedLogin

    realm = OneRealm()
    pair = connected(Portal(realm, [Digests()]))
    assert call(pair, log_in(pair), "name") == b"alice"


@pytest.mark.parametrize("name", ["alice", b"alice"])
@pytest.mark.parametrize("password", ["sesame", b"sesame"])
def test_name_and_password_are_text_or_bytes(name: Any, password: Any) -> None:
    pair = connected(portal_of(OneRealm()))
    assert (
        call(pair, log_in(pair, UsernamePassword(name, password)), "name") == b"alice"
    )


def test_name_may_arrive_as_text() -> None:
    pair = connected(portal_of(OneRealm()))
    challenge, challenger = call(pair, root_of(pair), "login", "alice")
    response = pb.respond(challenge, b"sesame")
    avatar = call(pair, challenger, "respond", response, None)
    assert call(pair, avatar, "name") == b"alice"


def test_challenge_takes_one_response() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    challenge, challenger = call(pair, root_of(pair), "login", b"alice")
    again = pair.client.remoteForName("root")
    again.luid = challenger.luid
    wrong = call(pair, challenger, "respond", pb.respond(challenge, b"guess"), None)
    trapped(wrong, UnauthorizedLogin)
    right = pb.respond(challenge, b"sesame")
    # The server has let go of it, although the client has not.
    assert str(call(pair, again, "respond", right, None).value) == "Invalid Object ID"
    assert realm.users == []


def test_challenger_kept_by_another_reference_takes_one_response() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    challenge, challenger = call(pair, root_of(pair), "login", b"alice")
    pair.server.setNameForLocal(
        "kept", pair.server.localObjects[challenger.luid].object
    )
    response = pb.respond(challenge, b"sesame")
    kept = pair.client.remoteForName("kept")
    avatar = call(pair, kept, "respond", response, None)
    assert call(pair, avatar, "name") == b"alice"
    trapped(call(pair, kept, "respond", response, None), UnauthorizedLogin)
    assert len(realm.users) == 1


@pytest.mark.parametrize("response", [None, "text", 5, [b"x"]])
def test_refusal_of_malformed_responses(response: Any) -> None:
    pair = connected(portal_of(OneRealm()))
    _, challenger = call(pair, root_of(pair), "login", b"alice")
    trapped(call(pair, challenger, "respond", response, None), UnauthorizedLogin)


@pytest.mark.parametrize("name", [None, 5, [b"alice"], {}, b"a" * (MAX_NAME + 1)])
def test_refusal_of_malformed_names(name: Any) -> None:
    pair = connected(portal_of(OneRealm()))
    trapped(call(pair, root_of(pair), "login", name), UnauthorizedLogin)
    assert exported(pair) == 0


def test_longest_name_is_accepted() -> None:
    pair = connected(portal_of(OneRealm()))
    challenge, _ = call(pair, root_of(pair), "login", b"a" * MAX_NAME)
    assert len(challenge) == 16


def test_number_of_unfinished_logins_is_bounded() -> None:
    pair = connected(portal_of(OneRealm()))
    root = root_of(pair)
    held = [call(pair, root, "login", b"alice") for _ in range(MAX_CHALLENGES + 3)]
    assert exported(pair) == MAX_CHALLENGES
    for challenge, challenger in held[:3]:
        response = pb.respond(challenge, b"sesame")
        trapped(call(pair, challenger, "respond", response, None), pb.Error)
    challenge, challenger = held[3]
    response = pb.respond(challenge, b"sesame")
    avatar = call(pair, challenger, "respond", response, None)
    assert call(pair, avatar, "name") == b"alice"


def test_released_logins_leave_no_state() -> None:
    pair = connected(portal_of(OneRealm()))
    root = root_of(pair)
    for _ in range(2 * MAX_CHALLENGES):
        call(pair, root, "login", b"alice")
    pair.flush()
    assert exported(pair) == 0


def test_simultaneous_logins_are_all_answered() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    waiting = [
        pair.client_factory.login(UsernamePassword(b"alice", b"sesame"))
        for _ in range(100)
    ]
    pair.flush()
    avatars = [outcome(pair, deferred) for deferred in waiting]
    assert all(isinstance(avatar, pb.RemoteReference) for avatar in avatars)
    assert len(realm.users) == 100


@pytest.mark.parametrize(
    "said", [None, b"challenge", (b"challenge",), (1, 2), (b"challenge", 2)]
)
def test_error_for_a_server_without_a_challenge(said: Any) -> None:
    class Impostor(pb.Root):
        def remote_login(self, name: Any) -> Any:
            return said

    pair = connected(Impostor())
    trapped(log_in(pair), pb.ProtocolError)


def test_empty_name_is_no_anonymous_login() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    trapped(log_in(pair, UsernamePassword(b"", b"")), UnauthorizedLogin)
    assert ANONYMOUS not in [user.avatarId for user in realm.users]
