"""This module is the encode loop, which turns an s-expression into bytes.

It is written for a compiler (mypyc) as well as for the interpreter.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pb_banana._compiler import mypyc_attr
from pb_banana._list_path import path_of
from pb_banana.errors import BananaError, EncodeError, LimitExceeded
from pb_jelly import Limits

from .base128 import base128
from .tokens import (
    FLOAT,
    INT,
    LARGEST_INT,
    LARGEST_NEG,
    LIST,
    LONGINT,
    LONGNEG,
    NEG,
    STRING,
)
from .vocabulary import tokens_by_word

__all__ = ["DEFAULT_LIMITS", "Encoding"]

# Number of ready-made tokens and headers, enough for nearly all numbers and sizes. A
# larger table would slow down every import.
_TABLE: Final = 1024


def _table(kind: int) -> list[bytes]:
    one_digit = [bytes((n, kind)) for n in range(128)]
    return one_digit + [bytes((n & 127, n >> 7, kind)) for n in range(128, _TABLE)]


_INTS: Final = _table(INT)
_STRING_HEADERS: Final = _table(STRING)
_LIST_HEADERS: Final = _table(LIST)
_DIGITS: Final = [bytes((n,)) for n in range(128)]

# The commonest list is the jelly of a str: this word and another string. The bytes
# before a short text are ready-made as well.
_UNICODE: Final = b"unicode"
_TEXTS: Final = 256
_TEXT_HEADERS: Final = [
    _LIST_HEADERS[2] + _STRING_HEADERS[len(_UNICODE)] + _UNICODE + header
    for header in _STRING_HEADERS[:_TEXTS]
]

DEFAULT_LIMITS: Final = Limits()

# Longest part of a type's name in an error, in characters.
_NAME_LENGTH: Final = 200

_pack_float = struct.Struct(">Bd").pack


@mypyc_attr(allow_interpreted_subclasses=True)
class Encoding:
    """The compiled base class of `Encoder`."""

    __slots__ = (
        "_limits",
        "_longest_word",
        "_medium_number",
        "_small_list",
        "_small_number",
        "_small_string",
        "_small_text",
        "_vocabulary",
        "_words",
    )

    def __init__(self, limits: Limits, vocabulary: Mapping[int, bytes] | None) -> None:
        self._limits = limits
        self._vocabulary = vocabulary
        self._prepare()

    def _prepare(self) -> None:
        """Find the sizes up to which tables may be used without a check of limits."""
        limits = self._limits
        self._small_number = 128 if limits.prefix_bytes == 1 else _TABLE
        self._medium_number = _TABLE << 7 if limits.prefix_bytes > 2 else 0
        self._small_string = min(self._small_number, limits.string_bytes + 1)
        self._small_list = min(self._small_number, limits.list_items + 1)
        self._words = tokens_by_word(self._vocabulary)
        # Longer strings are not looked up, since a lookup hashes the whole string.
        self._longest_word = max(map(len, self._words), default=-1)
        self._small_text = 0
        if (
            self._small_list > 2
            and self._small_string > len(_UNICODE)
            and _UNICODE not in self._words
        ):
            self._small_text = min(self._small_string, _TEXTS)

    def _encode(self, expression: Any) -> bytes:  # noqa: C901
        """Return the bytes of one expression: see `Encoder.encode`."""
        # No recursion: the open lists are iterators on a stack, so that depth costs no
        # stack of Python's. All pieces of output are on one list, which is joined once.
        words = self._words
        longest_word = self._longest_word
        small_number = self._small_number
        medium_number = self._medium_number
        small_string = self._small_string
        small_list = self._small_list
        small_text = self._small_text
        limits = self._limits
        most_nodes = limits.nodes
        depth = limits.depth
        out: list[bytes] = []
        outer: list[Iterator[Any]] = []
        items: Iterator[Any] = iter((expression,))
        nodes = 1
        long_strings = 0
        try:
            while True:
                for item in items:
                    kind = type(item)
                    if kind is not list:
                        if kind is int:
                            if 0 <= item < small_number:
                                out.append(_INTS[item])
                            elif 0 <= item < medium_number:
                                out.append(_DIGITS[item & 127] + _INTS[item >> 7])
                            else:
                                out.append(self._large_number(item))
                            continue
                        if kind is bytes:
                            size = len(item)
                            if size <= longest_word:
                                token = words.get(item)
                                if token is not None:
                                    out.append(token)
                                    continue
                            if size < small_string:
                                out.append(_STRING_HEADERS[size])
                            else:
                                out.append(self._long_header(size, STRING))
                                # Refuse early: only long strings make a huge message,
                                # which would be copied before its size is checked.
                                long_strings += size
                                self._check_message(long_strings)
                            out.append(item)
                            continue
                        if kind is float:
                            out.append(_pack_float(FLOAT, item))
                            continue
                        if not isinstance(item, (list, tuple)):
                            out.append(self._rare(item))
                            continue
                        # A subclass may iterate in its own way, and the length, which
                        # is written first, must be the number of the items written.
                        item = list(item)
                    size = len(item)
                    if size < small_list:
                        header = _LIST_HEADERS[size]
                    else:
                        header = self._long_header(size, LIST)
                    nodes += size
                    if nodes > most_nodes:
                        raise LimitExceeded("nodes", nodes, most_nodes)
                    if len(outer) >= depth:
                        raise LimitExceeded("depth", len(outer) + 1, depth)
                    if size == 2:
                        head, text = item
                        if type(text) is bytes and type(head) is bytes:
                            length = len(text)
                            if (
                                head == _UNICODE
                                and length < small_text
                                and (length > longest_word or text not in words)
                            ):
                                # Most likely the jelly of a str.
                                out.append(_TEXT_HEADERS[length])
                                out.append(text)
                                continue
                    out.append(header)
                    if size:
                        outer.append(items)
                        items = iter(item)
                        break
                else:
                    if not outer:
                        break
                    items = outer.pop()
        except BananaError as error:
            # Without the outermost iterator, which is over the expression itself.
            error.path = path_of([_index(each) for each in [*outer, items][1:]])
            raise
        data = b"".join(out)
        self._check_message(len(data))
        return data

    def _large_number(self, number: int) -> bytes:
        """Return the token of a number that is not in the table."""
        digits = (number.bit_length() + 6) // 7
        allowed = self._limits.prefix_bytes
        if digits > allowed:
            raise LimitExceeded("prefix_bytes", digits, allowed)
        if number >= 0:
            kind = INT if number <= LARGEST_INT else LONGINT
            return base128(number) + bytes((kind,))
        kind = NEG if -number <= LARGEST_NEG else LONGNEG
        return base128(-number) + bytes((kind,))

    def _long_header(self, size: int, kind: int) -> bytes:
        """Return the header of a string or list that is not in the table."""
        limits = self._limits
        digits = base128(size)
        if len(digits) > limits.prefix_bytes:
            raise LimitExceeded("prefix_bytes", len(digits), limits.prefix_bytes)
        if kind == STRING:
            if size > limits.string_bytes:
                raise LimitExceeded("string_bytes", size, limits.string_bytes)
        elif size > limits.list_items:
            raise LimitExceeded("list_items", size, limits.list_items)
        return digits + bytes((kind,))

    def _rare(self, item: object) -> bytes:
        """Return the token of an instance of a subclass, by way of its base."""
        # Through the methods of the base, past the overrides of the subclass.
        if isinstance(item, int):
            return self._large_number(int.__int__(item))
        if isinstance(item, float):
            return _pack_float(FLOAT, item)
        if isinstance(item, bytes):
            plain = bytes(memoryview(item))
            token = self._words.get(plain)
            return token or self._long_header(len(plain), STRING) + plain
        kind = type(item)
        name = f"{kind.__module__}.{kind.__qualname__}"[:_NAME_LENGTH]
        raise EncodeError(f"Banana cannot send {name} objects")

    def _check_message(self, size: int) -> None:
        allowed = self._limits.message_bytes
        if size > allowed:
            raise LimitExceeded("message_bytes", size, allowed)


def _index(iterator: Iterator[Any]) -> int:
    """Return the index of the last item of a list's iterator."""
    # The iterator tells its position to pickle. So the loop need not count items.
    state: Any = iterator.__reduce__()
    position: int = state[2]
    return position - 1
