"""No message of one user reaches another user's objects."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pb_broker.testing import left_behind

from .perspective_support import (
    ALICE,
    CACHE,
    COPY,
    MALLORY,
    NOTES,
    SECRET,
    Alice,
    Mallory,
    Server,
    User,
    encrypted,
    state_of,
)

# Whatever Mallory likes.  Hypothesis draws a seed, and how many messages are made of
# it: to draw all that is in them would take longer than to send them.

NONE: Any = [b"None"]
#: Mostly what has been given to somebody, as an object's or as a call's.
NUMBERS = [*range(1, 21)] * 8 + [*range(21, 41), 0, -1, 2**31, 2**447, -(2**447)]
METHODS = [
    *[b"touch"] * 20,
    *[b"give", b"keep", b"echo", b"next", b"respond", b"step"] * 4,
    *(b"fail", b"wait", b"page", b"stream", b"close", b"ask", b"begin", b"login"),
    *(b"loginAnonymous", b"mechanisms", b"ticket", b"update", b"gotPage"),
    *(b"perspective_give", b"view_touch", b"remote_touch", b"observe_touch"),
    *(b"perspectiveMessageReceived", b"logout", b"owner", b"things", b"__class__"),
    *(b"__dict__", b"callRemote", b"object", b"admit", b"secret", b"\xff", b""),
]
NAMES = [*[b"root"] * 4, b"alice", b"avatar", b"mind", b"1", b""]
WORDS = [b"alice", b"thing", b"picture", b"watched", b"shared watched", b"owner"]
KEYS = [b"perspective", b"self", b"broker", b"kind", b"mind", b"thing"]
CLASSES = [
    *(COPY, CACHE, NOTES, b"twisted.spread.pb.CopyableFailure", b"os.system"),
    *(b"pb_broker.ViewPoint", b"pb_broker.AsReferenceable", b"pb_broker.Broker"),
    *(f"{Alice.__module__}.{name}".encode() for name in ("Member", "Thing")),
]
#: What is no message of the protocol, and ends the connection.
FATAL: list[Any] = [
    *([b"decref", 10**6], [b"decache", 0], [b"version", 5], [b"answer"], [], 5),
    *([b"message"], [1], [[b"message"]], [b"message", 1, b"root", 5], [b"decref"]),
]


class Mischief:
    """Makes messages.

    Args:
        seed: Says which.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._any = self._random.choice

    def messages(self, number: int) -> list[Any]:
        """Return a number of messages; a greater number only adds to their end."""
        kinds = [self._call, self._answer, self._release, self._other]
        made = []
        for _ in range(number):
            (make,) = self._random.choices(kinds, [600, 200, 195, 5])
            made.append(make())
        return made

    def _call(self) -> Any:
        """Write a call, with arguments that are mostly valid."""
        verb = self._any([b"message", b"message", b"message", b"cachemessage"])
        args: list[Any] = [b"tuple"]
        kw: list[Any] = [b"dictionary"]
        kind = self._random.random()
        if kind < 0.3:
            args.append(self._any([text(self._any(WORDS)), self._any(NUMBERS)]))
        elif kind < 0.6:
            args += [self._value() for _ in range(self._any([1, 1, 2]))]
        elif kind < 0.7:
            kw.append([text(self._any(KEYS)), self._value()])
        target = self._id() if verb == b"message" else self._any(NUMBERS)
        wanted = self._any([1, 1, 1, 0])
        return [verb, self._any(NUMBERS), target, self._any(METHODS), wanted, args, kw]

    def _answer(self) -> Any:
        return [
            self._any([b"answer", b"error"]),
            self._any(NUMBERS),
            self._any([self._value(), [b"list", SECRET.encode(), 1]]),
        ]

    def _release(self) -> Any:
        # Others were never anybody's, and end the connection.
        verb = self._any([b"decref", b"decache", b"uncache", b"uncache"])
        return [verb, self._any(range(1, 20 if verb == b"uncache" else 9))]

    def _other(self) -> Any:
        verbs = [b"didNotUnderstand", b"login", b"decref", b"decache"]
        return self._any([*FATAL, *([verb, self._any(NAMES)] for verb in verbs)])

    def _id(self) -> Any:
        return self._any([*NUMBERS, *NAMES])

    def _value(self, depth: int = 0) -> Any:
        if depth < 3 and self._random.random() < 0.3:
            return self._holder(self._value(depth + 1))
        number = self._any(NUMBERS)
        head = self._any([b"local", b"local", b"remote", b"cached", b"lcache"])
        return self._any(
            [
                *[[head, number], [b"local", self._id()], [self._any(CLASSES), number]],
                *[text(self._any(WORDS)), number, NONE, [b"dereference", 1]],
                [self._any([b"class", b"function", b"module"]), self._any(CLASSES)],
                [self._any(CLASSES), number, [b"dictionary"]],
                [b"persistent", number],
            ]
        )

    def _holder(self, value: Any) -> Any:
        name = self._any(CLASSES)
        state = [b"dictionary", [text(self._any(KEYS)), value]]
        return self._any(
            [
                *[state, [b"list", value, value], [b"tuple", value], [value]],
                *[[b"reference", 1, value], [b"persistent", value], [name, state]],
                [b"list", [b"reference", 1, value], [b"dereference", 1]],
                [name, self._any(NUMBERS), state],
                [b"instance", self._any([value, [b"class", name]]), state],
                [b"method", self._any(METHODS), value, [b"class", name]],
            ]
        )


def text(word: bytes) -> Any:
    return [b"unicode", word]


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(Alice.ACTIONS), st.integers(0, 11)),
        st.tuples(st.integers(0, 2**32), st.integers(1, 40)),
    ),
    min_size=4,
    max_size=12,
)


def harm(alice: Alice, mallory: Mallory, seed: int, number: int) -> None:
    """Send messages of Mallory's, and assert that Alice's state is unchanged."""
    before = state_of(alice.pair)
    # Not always all of the last message.
    mallory.send(Mischief(seed).messages(number), held_back=seed % 4)
    assert state_of(alice.pair) == before
    assert alice.journal.trespasses == []
    assert SECRET.encode() not in mallory.received


@pytest.mark.dialect("pb")
@pytest.mark.parametrize("comes_as", ["mallory", "anonymous", "stranger"])
@settings(max_examples=20)
@given(steps)
def test_random_messages_reach_no_other_users_objects(
    comes_as: str, steps: Any
) -> None:
    with encrypted():
        server = Server()
        alice, mallory = Alice(server), Mallory(server, comes_as)
        alice.take_everything()
        for what, choice in steps:
            if isinstance(what, str):
                alice.act(what, choice)
            else:
                harm(alice, mallory, what, choice)
        before = state_of(alice.pair)
        mallory.leave()
        assert state_of(alice.pair) == before
        # She goes on as if nobody else had been there.
        for choice, action in enumerate(Alice.ACTIONS, 1):
            alice.act(action, choice)
        alice.leave()
        assert left_behind(alice.pair.server) == []
        alice.come_back()
        assert {each.logouts for each in server.members[ALICE]} == {1}
        assert server.journal.trespasses == []


def uses_of(number: int, avatar: Any) -> Iterator[Any]:
    """Yield messages that are valid if the number is one of an object."""
    none = [b"dictionary"]
    for verb in (b"message", b"cachemessage"):
        for name in (b"touch", b"next", b"step", b"respond", b"ticket"):
            yield [verb, 1, number, name, 1, [b"tuple"], none]
    for head in (b"local", b"lcache", b"cached"):
        args = [b"tuple", [head, number]]
        for target in (b"root", avatar, number):
            for name in (b"keep", b"echo", b"ticket"):
                yield [b"message", 1, target, name, 1, args, none]
        yield [b"answer", number, [head, number]]
    for verb in (b"answer", b"error"):
        yield [verb, number, SECRET.encode()]


@pytest.mark.dialect("pb")
@pytest.mark.parametrize("comes_as", ["mallory", "anonymous", "stranger"])
def test_numbers_of_one_user_are_invalid_for_another(comes_as: str) -> None:
    """The numbers are those of objects of each kind."""
    with encrypted():
        server = Server()
        alice = Alice(server)
        alice.take_everything()
        mallory = Mallory(server, comes_as)
        before = state_of(alice.pair)
        for number in range(1, 31):
            for message in uses_of(number, mallory.luid):
                mallory.send([message])
        for number in range(1, 31):
            for verb in (b"uncache", b"decache", b"decref"):
                # More often than she can have been given it.
                mallory.send([[verb, number]] * 40)
        assert state_of(alice.pair) == before
        assert server.journal.trespasses == []
        assert SECRET.encode() not in mallory.received
        mallory.leave()
        for action in Alice.ACTIONS:
            alice.act(action, 1)
        alice.leave()


LOOKS = st.lists(st.tuples(st.sampled_from([ALICE, MALLORY]), st.integers()))


@pytest.mark.parametrize("is_one", [False, True])
@settings(max_examples=20)
@given(LOOKS)
def test_shared_object_knows_its_caller(is_one: bool, looks: Any) -> None:
    """Over one connection, too; but there one peer has all that either has.

    Nothing keeps two users apart who have logged in over one connection.  By which
    reference it is called is all that what they share goes by.
    """
    server = Server()
    users = {name: User(server, name) for name in (ALICE, MALLORY)}
    if is_one:
        users[MALLORY].pair.close()
        users[MALLORY].pair = users[ALICE].pair
    avatars = {name: user.log_in() for name, user in users.items()}
    pictures = {
        name: user.result(avatars[name].callRemote("give", "shared picture"))
        for name, user in users.items()
    }
    for name, number in looks:
        with server.journal.on_account_of(name):
            call = pictures[name].callRemote("touch", number)
            assert users[name].result(call) == [name, number]
    # One logs out, the other stays.
    del avatars[MALLORY], pictures[MALLORY]
    users[MALLORY].pair.flush()
    assert [each.logouts for each in server.members[MALLORY]] == [1]
    call = pictures[ALICE].callRemote("touch")
    assert users[ALICE].result(call) == [ALICE]
    assert [each.logouts for each in server.members[ALICE]] == [0]
    assert server.journal.trespasses == []
    for user in users.values():
        user.pair.close()
