"""This module is the decode loop, which makes s-expressions of bytes in any pieces.

It is written for a compiler (mypyc) as well as for the interpreter.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pb_banana._compiler import mypyc_attr
from pb_banana._list_path import path_of
from pb_banana.errors import BananaError, InvalidToken, LimitExceeded, UnknownVocabulary
from pb_jelly import Limits

from .base128 import b1282int
from .tokens import FLOAT, INT, LIST, LONGINT, LONGNEG, NEG, STRING, VOCAB

if TYPE_CHECKING:
    from pb_jelly import SExp

__all__ = ["DEFAULT_LIMITS", "Decoding"]

# Theory of operation
#
# Expressions are built in place.  `_root` collects the complete top-level ones, and
# the one that is being read is its last item: `_current` is the list that the next
# token is appended to, `_left` the number of tokens that it still lacks, and `_stack`
# holds these two for each list around it.  At the top level `_left` is 1: one
# expression is always awaited.  There is no recursion, so that depth costs no stack.
#
# Each byte is read once.  Between two pieces, either the beginning of a token without
# its body is kept, some seventy bytes at most (`_buffer`), or the pieces of one string
# (`_pieces`), joined once the last has arrived, so that a large string is copied once.
# A whole piece is kept only if the caller asks for fewer messages than are in it, with
# the position to go on from, and later pieces in `_queue`.
#
# Reading past the end of the bytes raises IndexError, which stands for "the rest of
# this token is still to come": an exception at the end of a piece is cheaper than a
# comparison for each byte.
#
# Chunking never changes the outcome.  For that, each error has one position in the
# stream from which it can be known, and the earliest wins:
#
# - A list is charged for its items when its header is read, and a string for its
#   bytes, so these limits do not depend on the bytes that have arrived.
# - `message_bytes` is not checked token by token, for it is seldom exceeded, but at a
#   string's header, at the end of an expression, at the end of the bytes, and at any
#   other error: if that is beyond the limit, the limit comes first.
#
# States of a decoder between two calls of `_scan`:
#
#   state          _missing  _buffer       _stack    backlog   next bytes
#   -------------  --------  ------------  --------  --------  -----------------------
#   idle           0         empty         empty     False     begin an expression
#   in a list      0         empty         not empty False     begin the next token
#   in a token     0         its beginning any       False     are joined to _buffer
#   in a string    > 0       empty         any       False     are kept in _pieces
#   stopped        0         a whole piece empty     True      wait in _queue
#   failed         any       empty         empty     see _fail raise _error again
#
# Within `_scan`, each round of the loop reads one token, by the number of bytes of its
# prefix (one, two, more) and then by its type byte, the commonest types first.

DEFAULT_LIMITS: Final = Limits()

# The commonest list is the jelly of a str: this word and another string. A text of
# less than 128 bytes is read in one step.
_UNICODE: Final = b"unicode"
_UNICODE_SIZE: Final = len(_UNICODE)
_TEXT: Final = bytes((_UNICODE_SIZE, STRING)) + _UNICODE
_TEXT_BODY: Final = len(_TEXT) + 2

# Finds the end of a prefix of more than two bytes: faster than a loop in Python.
_type_byte = re.compile(rb"[\x80-\xff]").search

_unpack_float = struct.Struct(">d").unpack_from

# Smallest piece of a string that is kept as an object of its own, in bytes. Smaller
# pieces are gathered: a peer may send a string byte by byte, and an object for each
# would take many times its size.
_LARGE_PIECE: Final = 4096

# Largest count shown in an error. A header may hold a number of any size.
_LARGEST_COUNT: Final = 2**63 - 1


# Shared empty lists, replaced before the first write: most decoders are idle, and so
# need no lists of their own.
_NO_ROOT: Final[list[SExp]] = []
_NO_STACK: Final[list[tuple[list[SExp], int]]] = []
_NO_PIECES: Final[list[bytes | bytearray]] = []


@mypyc_attr(allow_interpreted_subclasses=True)
class Decoding:
    """The compiled base class of `Decoder`."""

    __slots__ = (
        "_base",
        "_buffer",
        "_current",
        "_error",
        "_left",
        "_limits",
        "_missing",
        "_nodes",
        "_pieces",
        "_position",
        "_queue",
        "_root",
        "_stack",
        "_start",
        "_vocabulary",
        "_words",
        "has_backlog",
    )

    def __init__(self, limits: Limits, header_bytes: int) -> None:
        self._limits = limits
        self._vocabulary: Mapping[int, bytes] | None = None
        self._words: Mapping[int, bytes] = {}
        self._root: list[SExp] = _NO_ROOT
        self._current = self._root
        self._left = 1
        self._stack: list[tuple[list[SExp], int]] = _NO_STACK
        self._nodes = 1
        # Positions in the stream, in bytes: of the current top-level expression's first
        # byte; and of the first byte in `_buffer` or, if that is empty, of the next.
        self._start = header_bytes
        self._base = 0
        self._buffer = b""
        self._position = header_bytes
        self._pieces: list[bytes | bytearray] = _NO_PIECES
        self._missing = 0
        self._queue: deque[bytes] | None = None
        self.has_backlog: bool = False
        self._error: BananaError | None = None

    def _feed(self, data: bytes, max_messages: int) -> list[SExp]:
        """Take the next bytes of the stream: see `Decoder.feed`."""
        try:
            if self._error is not None:
                raise self._error.with_traceback(None)
            if self.has_backlog:
                self._resume(data, max_messages)
            elif data:
                self._scan(_joined(self._buffer, data), self._position, max_messages)
        except BananaError as error:
            complete = self._fail(error)
            if not complete:
                raise
            # The error is kept until the next call, without the frames of this one.
            error.__traceback__ = None
            return complete
        return self._take()

    def take_rest(self) -> bytes:
        """Return the bytes after the last expression, and forget them.

        They are in another dialect, which has no expressions.
        """
        rest = b""
        if self.has_backlog:
            rest = b"".join([self._buffer[self._position :], *(self._queue or ())])
        self._buffer = b""
        self._position = 0
        self._queue = None
        self.has_backlog = False
        return rest

    def absorb(self, data: bytes) -> bool:
        """Take the next bytes if they are in the middle of a string.

        Args:
            data: The bytes.

        Returns:
            True if they were taken, and no message is complete.
        """
        if len(data) < self._missing:
            self._keep(data)
            return True
        return False

    def _resume(self, data: bytes, max_messages: int) -> None:
        """Go on after an earlier call that stopped at its number of messages."""
        if self._queue is None:
            self._queue = deque()
        if data:
            self._queue.append(data)
        self.has_backlog = False
        self._scan(self._buffer, self._position, max_messages)
        while self._queue and not self.has_backlog:
            piece = _joined(self._buffer, self._queue.popleft())
            self._scan(piece, 0, max_messages)
        if not self._queue:
            self._queue = None

    def _take(self) -> list[SExp]:
        """Return the complete expressions, and keep the incomplete one."""
        root = self._root
        if root is _NO_ROOT:
            return []
        if not self._stack:
            self._root = self._current = _NO_ROOT
            self._stack = _NO_STACK
            return root
        complete = root[:-1]
        del root[:-1]
        return complete

    def _fail(self, error: BananaError) -> list[SExp]:
        """Return the complete expressions; let each later call raise *error*."""
        complete = self._take() if self._error is None else []
        self._error = error
        self.has_backlog = bool(complete)
        # Free the memory: the rest of the stream is not read any more.
        self._root = self._current = _NO_ROOT
        self._stack = _NO_STACK
        self._buffer = b""
        self._pieces = _NO_PIECES
        self._queue = None
        return complete

    def _scan(self, buffer: bytes, position: int, max_messages: int) -> None:  # noqa: C901
        """Read tokens until the bytes end, or *max_messages* are complete.

        Args:
            buffer: Bytes, the first of which is at `_base` in the stream.
            position: Index of the first byte to read.
            max_messages: As for `feed`.
        """
        # Local names: each attribute read in the loop would cost a lookup per token.
        limits = self._limits
        prefix_bytes = limits.prefix_bytes
        string_bytes = limits.string_bytes
        message_bytes = limits.message_bytes
        list_items = limits.list_items
        most_nodes = limits.nodes
        depth = limits.depth
        words = self._words
        if self._root is _NO_ROOT:
            self._root = self._current = []
            self._stack = []
        root = self._root
        current = self._current
        left = self._left
        stack = self._stack
        nodes = self._nodes
        # Indices into the buffer: the last end of the current top-level expression; the
        # last end of a string that needs no further check; the last beginning of a
        # short text's list.
        end = self._start - self._base + message_bytes
        size = len(buffer)
        room = end if end < size else size
        text_room = room - _TEXT_BODY if string_bytes >= 127 else -1

        if self._missing:
            if size < self._missing:
                self._keep(buffer)
                return
            position = self._missing
            self._pieces.append(buffer[:position])
            current.append(b"".join(self._pieces))
            left -= 1
            self._pieces = _NO_PIECES
            self._missing = 0

        # `position` is the index of a token; `after`, the index of its body or, for an
        # error, of the first byte that was not needed to detect it.
        after = position
        try:
            while True:
                while not left:
                    if stack:
                        current, left = stack.pop()
                        continue
                    # A top-level expression is complete.
                    if position > end:
                        del root[-1]
                        raise LimitExceeded("message_bytes", end, end)
                    left = 1
                    nodes = 1
                    self._start = self._base + position
                    end = position + message_bytes
                    room = end if end < size else size
                    text_room = room - _TEXT_BODY if string_bytes >= 127 else -1
                    if position == size or len(root) == max_messages:
                        self._current = root
                        self._left = left
                        self._nodes = nodes
                        self._stop(buffer, position, len(root) == max_messages)
                        return

                # The prefix: nearly always one byte or two, read without a loop.
                number = buffer[position]
                if number >= 128:
                    # No prefix: this is the type byte.
                    byte = number
                    number = 0
                    after = position + 1
                else:
                    byte = buffer[position + 1]
                    if byte >= 128:
                        after = position + 2
                    else:
                        number += byte << 7
                        if prefix_bytes > 1:
                            byte = buffer[position + 2]
                        if byte >= 128:
                            after = position + 3
                        else:
                            after = position + prefix_bytes + 1
                            match = _type_byte(buffer, position, after)
                            if match is None:
                                if size < after:
                                    break
                                raise LimitExceeded(
                                    "prefix_bytes", prefix_bytes + 1, prefix_bytes
                                )
                            after = match.end()
                            byte = buffer[after - 1]
                            number = b1282int(buffer[position : after - 1])

                # The type byte and the body.
                if byte == LIST:
                    if number > list_items:
                        raise _too_large("list_items", number, list_items)
                    charged = nodes + number
                    if charged > most_nodes:
                        raise _too_large("nodes", charged, most_nodes)
                    if len(stack) >= depth:
                        raise _too_large("depth", len(stack) + 1, depth)
                    if (
                        number == 2
                        and after <= text_room
                        and buffer[after] == _UNICODE_SIZE
                    ):
                        body = after + _TEXT_BODY
                        if buffer[after : body - 2] == _TEXT:
                            # A str, perhaps. A text that is incomplete or longer is
                            # read token by token, with a check of each limit.
                            length = buffer[body - 2]
                            stop = body + length
                            if (
                                length < 128
                                and buffer[body - 1] == STRING
                                and stop <= room
                            ):
                                current.append([_UNICODE, buffer[body:stop]])
                                nodes = charged
                                position = stop
                                left -= 1
                                continue
                    nodes = charged
                    new: list[SExp] = []
                    current.append(new)
                    if number:
                        stack.append((current, left - 1))
                        current = new
                        left = number
                        position = after
                        continue
                elif byte == INT:
                    current.append(number)
                elif byte == STRING:
                    if number > string_bytes:
                        raise _too_large("string_bytes", number, string_bytes)
                    stop = after + number
                    if stop <= room:
                        current.append(buffer[after:stop])
                        after = stop
                    elif stop <= end:
                        self._current = current
                        self._left = left
                        self._nodes = nodes
                        self._pieces = [buffer[after:]]
                        self._missing = stop - size
                        self._buffer = b""
                        self._position = 0
                        self._base += size
                        return
                    else:
                        used = stop - end + message_bytes
                        raise _too_large("message_bytes", used, message_bytes)
                elif byte == VOCAB:
                    word = words.get(number)
                    if word is None:
                        raise self._no_word(number)
                    current.append(word)
                elif byte == FLOAT:
                    stop = after + 8
                    if stop > size:
                        break
                    current.append(_unpack_float(buffer, after)[0])
                    after = stop
                elif byte in (NEG, LONGNEG):
                    current.append(-number)
                elif byte == LONGINT:
                    current.append(number)
                else:
                    raise InvalidToken(f"0x{byte:02x} is not a type byte")
                position = after
                left -= 1
        except IndexError:
            # The rest of this token is still to come: keep its beginning.
            pass
        except BananaError as error:
            if after <= end:
                error.offset = self._base + position
                error.path = self._path(current)
                raise
            # The message had exceeded `message_bytes` before the other error.
        if size > end:
            raise LimitExceeded(
                "message_bytes",
                message_bytes + 1,
                message_bytes,
                offset=self._base + end,
            )
        self._current = current
        self._left = left
        self._nodes = nodes
        self._buffer = buffer[position:]
        self._base += position
        self._position = 0

    def _keep(self, piece: bytes) -> None:
        """Keep a piece of a string that is still incomplete."""
        pieces = self._pieces
        last = pieces[-1]
        if len(piece) >= _LARGE_PIECE:
            pieces.append(piece)
        elif type(last) is bytearray:
            last += piece
        else:
            pieces.append(bytearray(piece))
        self._missing -= len(piece)
        self._base += len(piece)

    def _stop(self, buffer: bytes, position: int, enough: bool) -> None:
        """Stop at the end of an expression, and keep the rest of the bytes."""
        if position < len(buffer):
            self._buffer = buffer
            self._position = position
            self.has_backlog = True
        else:
            self._buffer = b""
            self._position = 0
            self._base += position
            self.has_backlog = enough and bool(self._queue)

    def _no_word(self, number: int) -> BananaError:
        """Return the error for a number that stands for no word."""
        if self._vocabulary is None:
            return InvalidToken("a vocabulary token, in a dialect that has none")
        number = min(number, _LARGEST_COUNT)
        return UnknownVocabulary(f"no word has the number {number}")

    def _path(self, current: list[SExp]) -> str:
        """Return the path to the item that is appended to *current* next."""
        if not self._stack:
            return ""
        indices = [len(each) - 1 for each, _ in self._stack[1:]]
        return path_of([*indices, len(current)])


def _joined(first: bytes, second: bytes) -> bytes:
    """Return the concatenation of two byte strings, uncopied if one is empty."""
    # The interpreter's ``+`` does not copy either; that of compiled code does.
    if not first:
        return second
    return first + second if second else first


def _too_large(limit: str, used: int, allowed: int) -> LimitExceeded:
    """Return the error for a count that a peer sent, which may be of any size."""
    return LimitExceeded(limit, min(used, _LARGEST_COUNT), allowed)
