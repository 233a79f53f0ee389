"""This module is the command ``python -m pb_banana``: banana to text and back.

The command imports no name and makes no object that the data asks for: it shows the
s-expression or, for a file of format 2, the CBOR in diagnostic notation.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from pb_banana._dumps_loads import (
    FILE_LIMITS,
    MAGIC,
    MAGIC_2,
    Item,
    next_item,
    value_place,
    write_expression,
    write_item,
)
from pb_banana._negotiation import VOCABULARIES
from pb_banana._pb.decoder import Decoder
from pb_banana._pb.encoder import Encoder
from pb_banana._pb.vocabulary import PB_VOCABULARY
from pb_banana._text_notation import parse, render
from pb_jelly import Limits

from ._pb2.diagnostic_notation import Node, item_in
from ._pb2.diagnostic_notation import parse as parse_items
from ._pb2.diagnostic_notation import render as render_item
from .errors import BananaError, IncompleteError, NotationError

if TYPE_CHECKING:
    from io import BufferedReader

    from pb_jelly import SExp

__all__ = ["main"]

#: Most bytes read from the input at a time.
_PIECE: Final = 65_536
#: Smallest width of lines, in characters.
_NARROWEST: Final = 20

# An optional first line names the form of the bytes: a file, or expressions in a
# dialect. Without it, the dialect is that of the command line.
_FILE_LINE: Final = "%file 1"
_FILE_2_LINE: Final = "%file 2"
_DIALECTS: Final = tuple(name.decode() for name in VOCABULARIES)
_first_line = re.compile(
    rf"%(?:(?P<file>file [12])|dialect (?P<dialect>{'|'.join(_DIALECTS)}))"
    r"[ \t]*(?:\r?\n|$)"
).match
# A line that says that items of another format follow.
_file_lines = re.compile(r"^%file ([12])[ \t]*\r?$", re.MULTILINE).split


def to_text(  # noqa: C901
    pieces: Iterator[bytes], *, dialect: str, width: int, limits: Limits
) -> Iterator[str]:
    """Return bytes as text.

    Args:
        pieces: The bytes, none of them empty: expressions, or a file that
            `pb_banana.dump` wrote.
        dialect: The dialect of expressions that are not in such a file.
        width: Longest line, in characters.
        limits: Limits of one expression.

    Yields:
        The text, one expression at a time, as soon as it is complete. For a damaged
        expression, the items before the damage, and a line with the error.

    Raises:
        BananaError: The bytes are damaged.
    """
    # No token begins with the first byte of a file. One byte decides, since a second
    # may be long in coming through a pipe.
    head = next(pieces, b"")
    pieces = chain([head], pieces)
    expressions: Iterator[Item | SExp]
    if head[:1] in (MAGIC[:1], MAGIC_2[:1]):
        dialect = "pb"
        expressions = _values(pieces, limits)
    else:
        if dialect != "pb":
            yield f"%dialect {dialect}\n"
        expressions = _expressions(pieces, limits, VOCABULARIES[dialect.encode()])
    words = _words(dialect)
    line = ""
    try:
        for expression in expressions:
            is_item = isinstance(expression, Item)
            if head[:1] in (MAGIC[:1], MAGIC_2[:1]):
                now = _FILE_2_LINE if is_item else _FILE_LINE
                if now != line:
                    line = now
                    yield f"{line}\n"
            if isinstance(expression, Item):
                yield from _shown_item(expression, width, limits)
            else:
                yield _block(expression, words, width)
    except _DamagedError as damage:
        if damage.item is not None and line != _FILE_2_LINE:
            yield f"{_FILE_2_LINE}\n"
        elif head[:1] == MAGIC[:1] and damage.item is None and line != _FILE_LINE:
            yield f"{_FILE_LINE}\n"
        if damage.item is not None:
            yield _lines(damage.item, width)
        elif damage.expression:
            yield _block(damage.expression[0], words, width)
        # Not in the notation, so that the incomplete text is not read back as whole.
        yield f"... {damage.error}\n"
        raise damage.error from None


class _DamagedError(Exception):
    """An expression is damaged.

    Args:
        error: The error of the decoder.
        expression: A list of the expression up to the damage; empty if no item was
            read.
        item: The same of a file of format 2; None for none.
    """

    def __init__(
        self, error: BananaError, expression: list[SExp], item: Node | None = None
    ) -> None:
        super().__init__()
        self.error = error
        self.expression = expression
        self.item = item


class _Tape:
    """A file of pieces, which keeps the bytes of the present expression.

    Args:
        pieces: The pieces, none of them empty.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._taken: list[bytes] = []

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them; empty at the end."""
        if not self._piece:
            self._piece = next(self._pieces, b"")
        return self._piece

    def read(self, size: int) -> bytes:
        """Take at most *size* bytes."""
        data = self.peek(size)[:size]
        self._piece = self._piece[size:]
        self._taken.append(data)
        return data

    def taken(self) -> bytes:
        """Return the bytes taken since the last call."""
        data = b"".join(self._taken)
        self._taken.clear()
        return data

    def rest(self) -> bytes:
        """Return the bytes read ahead and not taken."""
        return self._piece


def _shown_item(item: Item, width: int, limits: Limits) -> Iterator[str]:
    """Return the text of an item of a file of format 2.

    Raises:
        _DamagedError: It is damaged.
    """
    node, error = item_in(item.data, item.start, limits)
    if error is not None:
        error.offset = (error.offset or 0) + item.offset
        raise _DamagedError(error, [], node)
    assert node is not None
    yield _lines(node, width)


def _lines(node: Node, width: int) -> str:
    return "".join(f"{line}\n" for line in render_item(node, width))


def _values(pieces: Iterator[bytes], limits: Limits) -> Iterator[Item | SExp]:
    """Return the items or expressions of a file that `pb_banana.dump` wrote.

    Raises:
        _DamagedError: One is damaged.
    """
    tape = _Tape(pieces)
    start = 0
    while True:
        try:
            expression = next_item(tape, limits)
        except BananaError as error:
            data = tape.taken() + tape.rest()
            if data[:1] == MAGIC_2[:1]:
                raise _damaged_item(error, data, start, limits) from None
            data = data[len(MAGIC) :]
            end = max(0, (error.offset or 0) - len(MAGIC))
            if isinstance(error, IncompleteError):
                end = len(data)
            error.offset = (error.offset or 0) + start
            raise _damaged(error, data[:end], limits, PB_VOCABULARY) from None
        if expression is None:
            return
        if isinstance(expression, Item):
            expression.offset = start
        yield expression
        start += len(tape.taken())


def _damaged_item(
    error: BananaError, data: bytes, start: int, limits: Limits
) -> _DamagedError:
    """Return the error for an item of a file of format 2 that has no end."""
    begins = value_place(data)
    node = None if begins is None else item_in(data, begins, limits).node
    error.offset = (error.offset or 0) + start
    return _DamagedError(error, [], node)


def _expressions(
    pieces: Iterator[bytes], limits: Limits, vocabulary: Mapping[int, bytes] | None
) -> Iterator[SExp]:
    """Return the expressions of a stream in a dialect.

    Raises:
        _DamagedError: One is damaged.
    """
    decoder = Decoder(limits, vocabulary=vocabulary)
    # Bytes of the expression that is being read, and their offset in the stream.
    kept: list[bytes] = []
    start = 0
    # An empty piece at the end raises an error that was found in the last piece, behind
    # a complete expression.
    for piece in chain(pieces, [b""]):
        kept.append(piece)
        try:
            yield from decoder.feed(piece)
        except BananaError as error:
            data = b"".join(kept)[: (error.offset or 0) - start]
            raise _damaged(error, data, limits, vocabulary) from None
        if decoder.offset > start:
            kept = [b"".join(kept)[decoder.offset - start :]]
            start = decoder.offset
    if not decoder.is_idle:
        end = IncompleteError("the expression has no end", offset=decoder.offset)
        raise _DamagedError(end, decoder.unfinished())


def _damaged(
    error: BananaError,
    data: bytes,
    limits: Limits,
    vocabulary: Mapping[int, bytes] | None,
) -> _DamagedError:
    """Return the error for an expression, with the part that its good bytes give."""
    decoder = Decoder(limits, vocabulary=vocabulary)
    with suppress(BananaError):
        decoder.feed(data)
    return _DamagedError(error, decoder.unfinished())


def to_bytes(text: str, *, dialect: str, limits: Limits) -> bytes:
    """Return the bytes for a text, the inverse of `to_text`.

    Args:
        text: The text.
        dialect: The dialect of a text without a first line for it.
        limits: Limits of one expression.

    Raises:
        BananaError: The text is not in the notation, or has no form in bytes.
    """
    match = _first_line(text)
    if text.startswith("%") and match is None:
        raise NotationError("line 1 is neither '%file 1' or 2 nor a known dialect")
    if match is None:
        start = 0
    elif match["file"]:
        return _file_of(text, limits)
    else:
        start = match.end()
        dialect = match["dialect"]
    expressions = parse(text, words=_words(dialect), start=start)
    encoder = Encoder(limits, vocabulary=VOCABULARIES[dialect.encode()])
    return b"".join(map(encoder.encode, expressions))


def _file_of(text: str, limits: Limits) -> bytes:
    """Return the bytes of a file, each part of whose text begins with its format."""
    _, *parts = _file_lines(text)
    made: list[bytes] = []
    lines = 0
    for form, part in zip(parts[::2], parts[1::2], strict=True):
        # Errors say at which line of all.
        blank = "\n" * lines
        if form == "1":
            expressions = parse(blank + part, words=_words("pb"), start=len(blank))
            made += [write_expression(each, limits) for each in expressions]
        else:
            made += [write_item(item) for item in parse_items(blank + part, len(blank))]
        lines += part.count("\n")
    if not made:
        raise NotationError("a file holds an expression at the least")
    return b"".join(made)


def _words(dialect: str) -> frozenset[bytes]:
    return frozenset((VOCABULARIES[dialect.encode()] or {}).values())


def _block(expression: SExp, words: frozenset[bytes], width: int) -> str:
    return "".join(f"{line}\n" for line in render(expression, words=words, width=width))


def _limit(text: str) -> tuple[str, int]:
    """Return name and value of a limit, ``NAME=N`` on the command line."""
    name, _, number = text.partition("=")
    try:
        value = int(number)
        replace(FILE_LIMITS, **{name: value})
    except (TypeError, ValueError):
        names = ", ".join(field.name for field in fields(Limits))
        raise argparse.ArgumentTypeError(
            f"it must be NAME=N, N at least 1 and NAME one of {names}"
        ) from None
    return name, value


def _width(text: str) -> int:
    """Return a width of lines that leaves room for indentation."""
    if not text.isdecimal() or int(text) < _NARROWEST:
        raise argparse.ArgumentTypeError(f"it must be at least {_NARROWEST}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pb_banana",
        description="Show banana, or a file that pb_banana.dump wrote, as text. "
        "Nothing that the data names is imported.",
        epilog="The exit code is 1 if the data is at fault, or cannot be read.",
    )
    add = parser.add_argument
    add("file", nargs="?", default="-", help="what to read (standard input)")
    add("-e", "--encode", action="store_true", help="turn such text into bytes again")
    add("-o", "--output", default="-", help="what to write (standard output)")
    add(
        "-d",
        "--dialect",
        choices=_DIALECTS,
        default="pb",
        help="the dialect, where the data does not say it itself (%(default)s)",
    )
    add(
        "-w",
        "--width",
        type=_width,
        default=88,
        help="the longest line (%(default)s)",
    )
    add(
        "-l",
        "--limit",
        metavar="NAME=N",
        type=_limit,
        action="append",
        default=[],
        help="allow more or less, such as depth=5000",
    )
    return parser


def _blocks(options: argparse.Namespace, source: BufferedReader) -> Iterator[bytes]:
    """Return the output, in pieces that are written and flushed one by one."""
    limits = replace(FILE_LIMITS, **dict(options.limit))
    dialect = options.dialect
    if options.encode:
        yield to_bytes(source.read().decode(), dialect=dialect, limits=limits)
        return
    # read1 returns as soon as there are bytes, so that a pipe is shown as it is
    # written.
    pieces = iter(partial(source.read1, _PIECE), b"")
    for text in to_text(pieces, dialect=dialect, width=options.width, limits=limits):
        yield text.encode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The arguments; None for those of the command line.

    Returns:
        The exit code: 0, or 1 for data at fault.

    Raises:
        SystemExit: The arguments are wrong.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        try:
            source = cast("BufferedReader", sys.stdin.buffer)
            if options.file != "-":
                source = stack.enter_context(open(options.file, "rb"))
            sink: BinaryIO = sys.stdout.buffer
            if options.output != "-":
                if _is_same(options.file, options.output):
                    parser.error("the output would take the place of the input")
                sink = stack.enter_context(open(options.output, "wb"))
            for block in _blocks(options, source):
                sink.write(block)
                sink.flush()
        except BrokenPipeError:
            # The reader of the pipe has closed it. The interpreter flushes the rest at
            # exit, which must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (BananaError, OSError, UnicodeDecodeError) as error:
            name = "standard input" if options.file == "-" else options.file
            print(f"pb_banana: {name}: {error}", file=sys.stderr)
            return 1
    return 0


def _is_same(one: str, other: str) -> bool:
    return os.path.exists(other) and one != "-" and os.path.samefile(one, other)


if __name__ == "__main__":
    sys.exit(main())
