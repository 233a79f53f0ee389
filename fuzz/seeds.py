"""This module writes the inputs to begin with: ``python -m fuzz.seeds``.

They come of the recorded conversations, of the encoder, and of the words of each
target.  Files of other names stay as they are: those are what was found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from pb_jelly import JellyError, jelly

from . import classes
from .inputs import built, encoded
from .targets import (
    NAMES,
    exchanges,
    frames,
    login,
    messages,
    negotiation,
    values,
)

__all__ = ["main", "seeds"]

CORPORA = Path(__file__).parent / "corpora"
_RECORDINGS = Path(__file__).parents[1] / "tests-integration" / "golden"

_DOCS = Path(__file__).parents[1] / "docs"

#: How much of what is recorded is of use: what is short is tried more often.
_LONGEST = 500
#: How many words are tried together.
_TOGETHER = 8

_LINE = re.compile(r"([SC ])  ([0-9a-f]{2}(?: [0-9a-f]{2})*)")

_Seeds = Iterator[tuple[str, bytes]]


def _recorded() -> Iterator[tuple[str, str, bytes]]:
    """Yield what each side has said in the recordings, after the dialect was chosen."""
    for path in sorted(_RECORDINGS.glob("*.txt")):
        said = {"S": b"", "C": b""}
        side = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            match = _LINE.fullmatch(line)
            if match is not None:
                side = match[1].strip() or side
                said[side] += bytes.fromhex(match[2])
        yield path.stem, "client", said["C"].removeprefix(b"\x02\x82pb")
        offer = b"\x02\x80\x02\x82pb\x04\x82none"
        yield path.stem, "server", said["S"].removeprefix(offer)


def _values() -> dict[str, Any]:
    """Return objects of all kinds."""
    shared: list[Any] = [1, "a"]
    ring: list[Any] = [()]
    ring.append(ring)
    node: Any = classes.Node()
    node.me, node.n = node, {1.5}
    spot: Any = classes.Spot()
    spot.n = {"key": (None, True, frozenset([1]))}
    slotted = classes.Slotted()
    slotted.n, slotted.other = 1, [slotted]
    return {
        "scalars": [None, True, 0, -1, 2**70, 1.5, "text", b"bytes", "\u20ac" * 40],
        "shared": [shared, (shared, shared), {"a": shared}],
        "ring": ring,
        "node": [node, node],
        "spot": {1: spot, (2, "x"): [spot]},
        "slotted": slotted,
        "kinds": [classes.Words([1, [2]]), classes.Text("a"), classes.Color.RED],
        "failed": classes.Failed("why", [1]),
    }


def _of_decoder() -> _Seeds:
    for name, side, stream in _recorded():
        yield f"{name}-{side}", built(0, 7, stream[:_LONGEST])
    for name, value in _values().items():
        for modern in (False, True):
            try:
                sexp = jelly(value, classes.POLICY, modern=modern)
            except JellyError:
                continue
            stream = encoded([sexp, [b"answer", 1, sexp]])
            yield f"{name}-{'modern' if modern else 'legacy'}", built(16, 3, stream)
            yield f"{name}-none", built(8, 3, encoded([sexp], vocabulary=False))
    for options in range(1, 6):
        deep: Any = 1
        for _ in range(9):
            deep = [b"list", deep, b"x" * 30, 2**60]
        stream = encoded([b"a", [b"answer", 1, deep]])
        yield f"limits-{options}", built(options, options, stream)


def _of_unjellier() -> _Seeds:
    for (name, value), modern in product(_values().items(), (False, True)):
        try:
            sexp = jelly(value, classes.POLICY, modern=modern)
        except JellyError:
            continue
        yield (
            f"{name}-{'modern' if modern else 'legacy'}",
            built(modern, 0, encoded([sexp])),
        )
    lists = [word for word in classes.WORDS if isinstance(word, list) and word]
    for number, word in enumerate(lists):
        yield f"word-{number:02}", built(1, 0, encoded([word]))
    yield "words", built(1, 0, encoded([[b"list", *lists]]))


def _of_messages() -> _Seeds:
    for name, side, stream in _recorded():
        options = 1 if side == "server" else 0
        yield f"{name}-{side}", built(options, 7, stream[:_LONGEST])
    words = [word for word in messages.WORDS if isinstance(word, list)]
    for place in range(0, len(words), _TOGETHER):
        options = place // _TOGETHER % 8
        stream = encoded(words[place : place + _TOGETHER], vocabulary=not options & 2)
        yield f"words-{place:02}", built(options, 5, stream)


def _of_negotiation() -> _Seeds:
    for number, word in enumerate(negotiation.WORDS):
        for options in (0, 1):
            stream = encoded([word, [b"version", 6]], vocabulary=False)
            yield f"word-{number:02}-{options}", built(options, 5, stream)
    others = {
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
        "zeros": bytes(80),
    }
    for name, stream in others.items():
        for options in (2, 5):
            yield f"{name}-{options}", built(options, 0, stream)


def _of_login() -> _Seeds:
    start: list[Any] = [[b"version", 6]]
    begun = [*start, login.login(1, b"alice")]
    right = [*begun, login.response(2, b"alice", 1, 1)]
    call: Any = [*(b"message", 3, 2, b"echo", 1), [b"tuple", 5], [b"dictionary"]]
    wrong = [login.login(number, b"bob") for number in range(1, 9)]
    tries = [login.response(9, b"alice", number, number) for number in range(1, 9)]
    anonymous = [login.WORDS[11], login.WORDS[12]]
    conversations: dict[str, list[Any]] = {
        "right": [*right, [b"decref", 1], call, [b"decref", 2]],
        "right-again": [*right, login.response(3, b"alice", 1, 1), call],
        "right-twice": [
            *right,
            login.login(4, b"bob"),
            login.response(5, b"bob", 2, 3),
        ],
        "not-theirs": [*start, login.login(1, b"bob"), *right[2:], call],
        "many-wrong": [*start, *wrong, *tries, call],
        "anonymous": [*start, *anonymous, call],
        "words": [*start, *login.WORDS[10:20]],
        "strangers": [*start, call, [b"list", *[[b"list"]] * 30]],
    }
    for (name, said), options in product(conversations.items(), (0, 1, 2, 4, 7)):
        yield f"{name}-{options}", built(options, options + 1, encoded(said))


def _of_values() -> _Seeds:
    vectors = json.loads((_DOCS / "vectors-pb2-values.json").read_text())
    for vector in vectors:
        pieces: list[Any] = [*values.heads_of(bytes.fromhex(vector["cbor"]))]
        yield vector["name"].replace(" ", "-"), built(0, 0, encoded([pieces]))


def _of_frames() -> _Seeds:
    for number, word in enumerate(frames.WORDS):
        yield f"word-{number}", built(number, number, encoded([word]))
    for options in range(8):
        for name, several in {
            "two": frames.WORDS[5:7],
            "between": [frames.WORDS[9], *frames.WORDS[:2], frames.WORDS[10]],
            "all": frames.WORDS[:10],
        }.items():
            yield f"{name}-{options}", built(options, options, encoded(several))


def _of_exchanges() -> _Seeds:
    for number, word in enumerate(exchanges.WORDS):
        yield f"word-{number}", built(number, number, encoded([word]))
    for options in range(8):
        yield f"all-{options}", built(options, options, encoded(exchanges.WORDS))


def seeds(name: str) -> dict[str, bytes]:
    """Return the inputs to begin with of a target, by the names of their files.

    Args:
        name: The target.
    """
    return dict(
        {
            "decoder": _of_decoder,
            "unjellier": _of_unjellier,
            "messages": _of_messages,
            "negotiation": _of_negotiation,
            "login": _of_login,
            "values": _of_values,
            "frames": _of_frames,
            "exchanges": _of_exchanges,
        }[name]()
    )


def main() -> None:
    """Write the inputs to begin with of each target."""
    for name in NAMES:
        folder = CORPORA / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in seeds(name).items():
            (folder / file).write_bytes(data)


if __name__ == "__main__":
    main()
