r"""This module is the text notation of s-expressions: it writes and reads it.

The notation:

- a list is ``( ... )``, its items separated by white space;
- an integer is decimal, or hexadecimal after ``0x``;
- a float has a point or an exponent, or is ``inf``, ``-inf`` or ``nan``; a NaN
  of other bits than Python's own is ``nan:`` and its 16 hexadecimal digits;
- a byte string is UTF-8 in double quotes, where ``\\``, ``\"``, ``\n``,
  ``\r``, ``\t`` and ``\xHH`` stand for one byte each;
- a bare name is a word of the vocabulary;
- a backslash at the end of a line, in a string or a number, joins the next line
  without the white space it begins with;
- ``;`` begins a comment that lasts to the end of the line.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from .errors import NotationError

if TYPE_CHECKING:
    from pb_jelly import SExp

__all__ = ["parse", "render"]

_INDENT: Final = 2
# Longest integer in decimal, in bits.  Longer ones are hexadecimal, which Python
# converts at any length, and in linear time.
_DECIMAL_BITS: Final = 448
_PYTHONS_NAN: Final = 0x7FF8000000000000

# Longest part of a token in an error, in characters.
_SHOWN: Final = 40

_PLAIN: Final = r'[^ \t\r\n()";\\]+'
_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_decimal = re.compile(r"[+-]?[0-9]+").fullmatch
_hexadecimal = re.compile(r"[+-]?0[xX][0-9A-Fa-f]+").fullmatch
_float = re.compile(
    r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?|[+-]?inf|nan"
).fullmatch
_odd_nan = re.compile(r"nan:([0-9a-f]{16})").fullmatch
_special = re.compile(r'["\\\n]').search
_escape = re.compile(
    r'\\(?:x(?P<hex>[0-9A-Fa-f]{2})|(?P<char>["\\nrt])|\r?\n[ \t]*)'
).match
_ESCAPED: Final = {'"': b'"', "\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t"}
_joint = re.compile(r"\\\r?\n[ \t]*")
_blank = re.compile(r"[ \t\r\n]+|;[^\n]*").match
_TOKEN: Final = re.compile(rf'[()"]|{_PLAIN}(?:{_joint.pattern}{_PLAIN})*')
_units = re.compile(r"\\x..|\\.|.", re.DOTALL).finditer


class _Escapes(dict[int, str]):
    """Escapes by character, for `str.translate`; added as characters occur."""

    def __init__(self) -> None:
        super().__init__(
            {ord('"'): '\\"', ord("\\"): "\\\\", 10: "\\n", 13: "\\r", 9: "\\t"}
        )

    def __missing__(self, code: int) -> str:
        text = chr(code)
        if not text.isprintable():
            data = text.encode("utf-8", "surrogateescape")
            text = "".join(f"\\x{byte:02x}" for byte in data)
        self[code] = text
        return text


def _atom(
    value: bytes | int | float, words: Collection[bytes], escapes: _Escapes
) -> str:
    """Return the text of an atom."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "surrogateescape")
        if value in words and _name(text):
            return text
        return f'"{text.translate(escapes)}"'
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _DECIMAL_BITS else hex(value)
    if math.isnan(value):
        (bits,) = struct.unpack(">Q", struct.pack(">d", value))
        return "nan" if bits == _PYTHONS_NAN else f"nan:{bits:016x}"
    return repr(value)


def _tokens(expression: SExp, words: Collection[bytes]) -> tuple[list[str], list[int]]:
    """Return an expression as parentheses and atoms.

    Args:
        expression: The expression.
        words: The byte strings to write as bare names.

    Returns:
        The tokens, and for each the width of its text on one line: that of the
        whole list for an opening parenthesis.
    """
    escapes = _Escapes()
    texts: list[str] = []
    widths: list[int] = []
    opened: list[int] = []
    outer: list[Iterator[SExp]] = []
    items = iter([expression])
    # Column of the next token if all were on one line, each with a blank after it: the
    # width of a list is a difference of two columns, so one pass finds all widths.
    column = 0
    while True:
        for item in items:
            if isinstance(item, list):
                opened.append(len(texts))
                texts.append("(")
                widths.append(column)
                column += 1
                outer.append(items)
                items = iter(item)
                break
            text = _atom(item, words, escapes)
            texts.append(text)
            widths.append(len(text))
            column += len(text) + 1
        else:
            if not outer:
                return texts, widths
            items = outer.pop()
            # The parenthesis replaces the blank after the last item; an empty list has
            # no such blank.
            column += texts[-1] == "("
            begin = opened.pop()
            widths[begin] = column - widths[begin]
            texts.append(")")
            widths.append(1)
            column += 1


def _flat(texts: list[str], index: int) -> tuple[str, int]:
    """Return a list on one line, and the index of the token after it."""
    pieces: list[str] = []
    depth = 0
    while True:
        text = texts[index]
        index += 1
        if pieces and text != ")" and pieces[-1] != "(":
            pieces.append(" ")
        pieces.append(text)
        if text == "(":
            depth += 1
        elif text == ")":
            depth -= 1
            if not depth:
                return "".join(pieces), index


def _pieces(text: str, room: int) -> Iterator[str]:
    """Cut an atom between escapes, into pieces for lines that a backslash joins."""
    piece: list[str] = []
    used = 0
    for match in _units(text):
        unit = match.group()
        if used + len(unit) > room:
            yield "".join(piece)
            piece = []
            used = 0
            # A blank at the beginning of a line would be read as indentation.
            if unit == " ":
                unit = "\\x20"
        piece.append(unit)
        used += len(unit)
    yield "".join(piece)


def render(
    expression: SExp, *, words: Collection[bytes] = (), width: int = 88
) -> Iterator[str]:
    """Write an expression as text.

    Args:
        expression: The expression.
        words: The byte strings to write as bare names.
        width: Longest line, in characters; at least 20.

    Yields:
        The lines, without their ends.
    """
    texts, widths = _tokens(expression, words)
    line = ""
    # Indentation of the line, in characters; number of open lists; the last token.
    margin = 0
    depth = 0
    last = "("
    index = 0
    while index < len(texts):
        text = texts[index]
        opens = text == "("
        # Within a list of several lines, a list begins a line, and so does the item
        # after it; other items share lines.
        blank = last != "(" and text != ")"
        taken = 1 if opens else widths[index]
        if (blank and (opens or last == ")")) or (
            len(line) > margin and len(line) + blank + taken > width
        ):
            yield line
            margin = min(_INDENT * depth, width // 2)
            line = " " * margin
            blank = False
        last = text
        if blank:
            line += " "
        if opens and len(line) + widths[index] > width:
            line += "("
            depth += 1
        elif opens:
            flat, index = _flat(texts, index)
            line += flat
            last = ")"
            continue
        elif len(line) + taken > width:
            *joined, text = _pieces(text, width - margin - 1)
            for piece in joined:
                yield f"{line}{piece}\\"
            line += text
        else:
            line += text
            depth -= text == ")"
        index += 1
    yield line


def parse(text: str, *, words: Collection[bytes] = (), start: int = 0) -> list[SExp]:
    """Read the expressions in a text.

    Args:
        text: The text.
        words: The byte strings that bare names may stand for.
        start: Where in the text to begin.

    Returns:
        The expressions.

    Raises:
        NotationError: The text is not in the notation; the message has line and column.
    """
    expressions: list[SExp] = []
    current = expressions
    outer: list[tuple[list[SExp], int]] = []
    position = start
    while position < len(text):
        match = _blank(text, position) or _TOKEN.match(text, position)
        if match is None:
            raise _error(text, position, "a backslash must end its line")
        token = match.group()
        begin = position
        position = match.end()
        if token == "(":
            new: list[SExp] = []
            current.append(new)
            outer.append((current, begin))
            current = new
        elif token == ")":
            if not outer:
                raise _error(text, begin, "there is no list to end")
            current, _ = outer.pop()
        elif token == '"':
            value, position = _string(text, position)
            current.append(value)
        elif match.re is _TOKEN:
            current.append(_value(text, begin, _joint.sub("", token), words))
    if outer:
        raise _error(text, outer[-1][1], "this list has no end")
    return expressions


def _string(text: str, position: int) -> tuple[bytes, int]:
    """Return the string whose quote is before *position*, and the position after it."""
    begin = position - 1
    pieces: list[bytes] = []
    while True:
        match = _special(text, position)
        if match is None or match.group() == "\n":
            raise _error(text, begin, "this string has no end in its line")
        pieces.append(text[position : match.start()].encode())
        position = match.end()
        if match.group() == '"':
            return b"".join(pieces), position
        escape = _escape(text, match.start())
        if escape is None:
            raise _error(text, match.start(), "this escape means nothing")
        position = escape.end()
        if escape["hex"]:
            pieces.append(bytes((int(escape["hex"], 16),)))
        elif escape["char"]:
            pieces.append(_ESCAPED[escape["char"]])


def _value(
    text: str, position: int, token: str, words: Collection[bytes]
) -> bytes | int | float:
    """Return the value of a token: a number, or a word of the vocabulary."""
    if _decimal(token):
        try:
            return int(token)
        except ValueError:
            raise _error(
                text, position, "so long an integer must be hexadecimal"
            ) from None
    if _hexadecimal(token):
        return int(token, 16)
    if _float(token):
        return float(token)
    odd_nan = _odd_nan(token)
    if odd_nan:
        value: float
        (value,) = struct.unpack(">d", bytes.fromhex(odd_nan[1]))
        if math.isnan(value):
            return value
    elif _name(token) and token.encode() in words:
        return token.encode()
    shown = ascii(token[:_SHOWN])
    raise _error(text, position, f"{shown} is neither a number nor a known word")


def _error(text: str, position: int, message: str) -> NotationError:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return NotationError(f"line {line}, column {column}: {message}")
