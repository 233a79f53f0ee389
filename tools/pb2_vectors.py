"""This module writes docs/vectors-pb2-messages.json: messages and frames of "pb2".

``python tools/pb2_vectors.py`` writes the file from the notation below; ``--check``
ends with 1 if the file is another. It needs pb-banana.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from pb_banana._pb2.diagnostic_notation import parse

__all__ = ["DOCUMENT", "main", "text"]

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "vectors-pb2-messages.json"


class _Message(NamedTuple):
    """A message.

    Attributes:
        name: A name for it.
        rule: The rule of the CDDL that it is of.
        diagnostic: Its diagnostic notation.
        meaning: The effect that it has.
    """

    name: str
    rule: str
    diagnostic: str
    meaning: str


class _Frames(NamedTuple):
    """Frames.

    Attributes:
        name: A name for them.
        frames: The lane of each, and its payload in hexadecimal digits.
        messages: The messages that they carry, in the order in which these end.
        meaning: The reason for their form.
    """

    name: str
    frames: list[tuple[int, str]]
    messages: list[str]
    meaning: str


_MESSAGES: Final = [
    _Message(
        "hello",
        "hello",
        '[0, {"version": [1, 1], "features": [], "max_frame": 65536, '
        '"limits": {"bytes": 16777216, "calls": 10000, "lanes": 127, '
        '"streams": 1000}}]',
        "the sender speaks version 1, takes payloads of 65,536 bytes, 127 lanes and "
        "1,000 streams, and lets 10,000 calls of 16 MiB in all be begun",
    ),
    _Message(
        "call of a named object",
        "call",
        '[1, 1, "root", "echo", [1, "a"]]',
        'call 1: echo(1, "a") of the object that is called root',
    ),
    _Message(
        "call of an object by its number",
        "call",
        '[1, 2, 7, "read", []]',
        "call 2: read() of the receiver's object 7",
    ),
    _Message(
        "call without an answer",
        "call",
        '[1, 0, 7, "note", ["x"]]',
        'note("x") of the object 7, of which no answer is wanted',
    ),
    _Message(
        "call with a reference",
        "call",
        '[1, 3, 7, "watch", [47543(5), 47544(7)]]',
        "call 3: the arguments are the sender's object 5 and the receiver's object 7",
    ),
    _Message(
        "call with keywords",
        "call-with-keywords",
        '[1, 4, 7, "seek", [10], {"whence": 2}]',
        "call 4: seek(10, whence=2)",
    ),
    _Message(
        "call with a deadline and metadata",
        "call-with-options",
        '[1, 5, 7, "read", [], {}, {0: 1500, 1: {"traceparent": "00-0af7-b7ad-01"}}]',
        "call 5, of whose time 1,500 ms are left, within a trace",
    ),
    _Message(
        "call with an option that has to be understood",
        "call-with-options",
        '[1, 6, 7, "read", [], {}, {-9: true}]',
        "call 6, which fails with NotExecuted where the option -9 is not known",
    ),
    _Message(
        "call whose answer is kept",
        "call-with-options",
        '[1, 7, "root", "open", ["report"], {}, {2: true}]',
        "call 7, whose answer later messages may name, until it is finished",
    ),
    _Message(
        "call of a part of an answer",
        "call",
        '[1, 8, [7, "pages", 0], "read", [47547(7), 47547([7, 1])]]',
        'call 8: read() of the item 0 of the entry "pages" of the answer to call 7; '
        "the arguments are that whole answer, and its item 1",
    ),
    _Message("answer", "answer", "[2, 1, [1, 2.5]]", "the answer to call 1"),
    _Message(
        "answer with a new reference",
        "answer",
        "[2, 2, 47543(8)]",
        "the answer to call 2 is the sender's object 8",
    ),
    _Message(
        "error",
        "error",
        '[3, 4, 47549([["builtins.ValueError", "builtins.Exception"], "no such place", '
        "null])]",
        "call 4 fails with a ValueError, without a traceback",
    ),
    _Message("cancel", "cancel", "[4, 5]", "the answer to call 5 is wanted no more"),
    _Message(
        "finish",
        "finish",
        "[5, 7, 9]",
        "the answers to the calls 7 and 9 need not be kept",
    ),
    _Message(
        "release",
        "release",
        "[6, [8, 1], [9, 2]]",
        "one reference to the receiver's object 8 and two to 9 are given back",
    ),
    _Message(
        "update",
        "update",
        '[7, 6, 3, "set", [5]]',
        "call 6: the method set(5) of the cached copy 3",
    ),
    _Message(
        "update with keywords",
        "update-with-keywords",
        '[7, 0, 3, "set", [], {"n": 5}]',
        "set(n=5) of the cached copy 3, of which no answer is wanted",
    ),
    _Message(
        "uncache", "uncache", "[8, 3]", "the cached copy 3 is kept up to date no more"
    ),
    _Message(
        "answer with a stream",
        "answer",
        "[2, 8, 47548(11)]",
        "the answer to call 8 is the sender's stream 11",
    ),
    _Message(
        "items", "items", '[9, 11, ["a", 47543(12)]]', "two items of the stream 11"
    ),
    _Message(
        "items that wait", "items", "[9, 11, []]", "the stream 11 waits for credit"
    ),
    _Message("end", "end", "[10, 11]", "the stream 11 has no more items"),
    _Message(
        "end with a failure",
        "end-with-failure",
        '[10, 11, 47549([["builtins.OSError"], "the disk is gone", null])]',
        "the stream 11 has failed with an OSError",
    ),
    _Message(
        "credit",
        "credit",
        "[11, 11, 1088, 278528]",
        "1,088 items of the stream 11, and 278,528 bytes of messages with them, may "
        "have been sent in all",
    ),
    _Message("stop", "stop", "[19, 11]", "no more of the stream 11 is wanted"),
    _Message(
        "ack",
        "ack",
        "[12, 6, 16781312, 10004]",
        "6 messages have come; calls of 16,781,312 bytes and 10,004 calls in all may "
        "have been begun",
    ),
    _Message("ping", "ping", "[13, 1]", "a question for a sign of life"),
    _Message("pong", "pong", "[14, 1]", "the answer to the ping 1"),
    _Message(
        "goaway",
        "goaway",
        '[15, 6, "no more calls are taken here"]',
        "calls after the 6 messages that have come are answered with ClosingDown",
    ),
    _Message("drop", "drop", "[18, 1]", "the message on lane 1 will not go on"),
]

_PING: Final = "820d01"
_CANCEL: Final = "820405"
#: A call with 4,100 bytes.
_LARGE: Final = "8501016472 6f6f74 6463617374 81 591004".replace(" ", "") + "61" * 4100
_FIRST: Final = 2 * 4096

_FRAMES: Final = [
    _Frames("one message", [(0, _PING)], [_PING], "a message in a frame of its own"),
    _Frames(
        "two messages in a frame",
        [(0, _PING + _CANCEL)],
        [_PING, _CANCEL],
        "messages one after the other",
    ),
    _Frames(
        "a message in one piece",
        [(129, f"{len(_CANCEL) // 2:016x}{_CANCEL}")],
        [_CANCEL],
        "the first piece on lane 1 is the last as well: a small message that had to "
        "wait for a large one",
    ),
    _Frames(
        "a message in two pieces",
        [
            (1, f"{len(_LARGE) // 2:016x}{_LARGE[:_FIRST]}"),
            (0, _PING),
            (129, _LARGE[_FIRST:]),
        ],
        [_PING, _LARGE],
        "the first piece begins with the length of the message; a message on lane 0 "
        "goes between",
    ),
]


def _frames_of(frames: list[tuple[int, str]]) -> str:
    """Return frames in hexadecimal digits."""
    return "".join(
        f"{len(payload) // 2:06x}{lane:02x}{payload}" for lane, payload in frames
    )


def text() -> str:
    """Return what the file has to hold."""
    vectors: dict[str, Any] = {
        "messages": [
            {
                "name": each.name,
                "rule": each.rule,
                "cbor": b"".join(parse(each.diagnostic)).hex(),
                "diagnostic": each.diagnostic,
                "meaning": each.meaning,
            }
            for each in _MESSAGES
        ],
        "frames": [
            {
                "name": each.name,
                "bytes": _frames_of(each.frames),
                "messages": each.messages,
                "meaning": each.meaning,
            }
            for each in _FRAMES
        ],
    }
    return json.dumps(vectors, indent=1) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the file as the command line says.

    Args:
        arguments: The command line's; None for the process's own.

    Returns:
        The process's exit code: 1 if the file was to be checked and is another.
    """
    parser = argparse.ArgumentParser(prog="tools/pb2_vectors.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    chosen = parser.parse_args(arguments)
    if not chosen.check:
        DOCUMENT.write_text(text(), encoding="utf-8")
        return 0
    if DOCUMENT.read_text("utf-8") == text():
        return 0
    print(f"{DOCUMENT} is not what this program writes", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
