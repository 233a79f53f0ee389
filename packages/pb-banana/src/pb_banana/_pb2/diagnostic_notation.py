"""This module turns CBOR into diagnostic notation (RFC 8949, section 8) and back.

Any well-formed item of definite length can be shown, whatever its tags mean; nothing is
made of it.  Neither direction recurses.
"""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from pb_banana.errors import (
    BananaError,
    DecodeError,
    IncompleteError,
    LimitExceeded,
    NotationError,
)

from .byte_output import BytesWriter, write_head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pb_jelly import Limits

__all__ = ["Node", "item_in", "parse", "render"]

_UINT: Final = 0
_NEGATIVE: Final = 1
_BYTES: Final = 2
_TEXT: Final = 3
_ARRAY: Final = 4
_MAP: Final = 5
_TAG: Final = 6

_INDENT: Final = "  "
_SIMPLE: Final = {20: "false", 21: "true", 22: "null", 23: "undefined"}
_WORDS: Final = {word: bytes((0xE0 + n,)) for n, word in _SIMPLE.items()}
#: Floats by their additional information: format, indicator, NaN.
_FLOATS: Final = {
    25: (struct.Struct(">e"), "_1", b"\x7e\x00"),
    26: (struct.Struct(">f"), "_2", b"\x7f\xc0\x00\x00"),
    27: (struct.Struct(">d"), "", b"\x7f\xf8\0\0\0\0\0\0"),
}
_INDICATORS: Final = {"_1": 25, "_2": 26, "_3": 27, "": 27}
_BY_SIZE: Final = {2: 25, 4: 26, 8: 27}
_ESCAPE: Final = 0x7F
#: The digits of the largest number of 64 bits.
_MOST_DIGITS: Final = 20

_token = re.compile(
    r"""(?P<space>(?:[ \t\r\n]|/[^/]*/|\#[^\n]*)+)
    |(?P<float>-?(?:\d+\.\d+(?:e[+-]?\d+)?|\d+e[+-]?\d+|Infinity)(?:_[123])?
        |NaN(?:_[123])?)
    |(?P<tag>\d+)\(
    |(?P<int>-?\d+)
    |(?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")
    |(?P<bytes>h'[0-9a-fA-F\s]*')
    |(?P<bits>float'[0-9a-fA-F]*')
    |(?P<word>true|false|null|undefined)
    |simple\((?P<simple>\d+)\)
    |(?P<open>[\[{])
    |(?P<close>[\]})])
    |(?P<mark>[,:])""",
    re.VERBOSE | re.ASCII,
).match


class Node:
    """An item, or the beginning of a damaged one.

    Attributes:
        text: How it is shown, or begins if it has parts.
        close: How it ends, if it has parts.
        is_map: Whether each second part is a value.
        parts: Its parts.
        left: How many parts are missing.
    """

    __slots__ = ("close", "is_map", "left", "parts", "text")

    def __init__(self, text: str, close: str = "", left: int = 0) -> None:
        self.text = text
        self.close = close
        self.left = left
        self.is_map = text == "{"
        self.parts: list[Node] = []


class _Damage(NamedTuple):
    """The node of an item, and the error that ended it, if one did."""

    node: Node | None
    error: BananaError | None


def item_in(data: bytes, start: int, limits: Limits) -> _Damage:
    """Return the node of the item that bytes hold from some place to their end.

    Args:
        data: The bytes.
        start: Where the item begins.
        limits: What it may cost.

    Returns:
        The node, or as much of it as there is (None for nothing), and the error.
    """
    stack: list[Node] = []
    root: Node | None = None
    place = start
    nodes = 0
    try:
        while True:
            node, place = _head(data, place)
            nodes += 1
            if nodes > limits.nodes:
                raise LimitExceeded("nodes", nodes, limits.nodes, offset=place)
            if stack:
                stack[-1].parts.append(node)
                stack[-1].left -= 1
            else:
                root = node
            if node.left:
                stack.append(node)
                # A tag is shown around its content, and counts as well here.
                if len(stack) > 2 * limits.depth:
                    raise LimitExceeded("depth", len(stack), 2 * limits.depth)
            while stack and not stack[-1].left:
                stack.pop()
            if not stack:
                break
        if place < len(data):
            raise DecodeError("more bytes than the value has", offset=place)
    except BananaError as error:
        return _Damage(root, error)
    return _Damage(root, None)


def _head(data: bytes, place: int) -> tuple[Node, int]:  # noqa: C901
    """Return the node of an item without its parts, and where these begin."""
    if place >= len(data):
        raise IncompleteError("the value has no end", offset=place)
    major, info = data[place] >> 5, data[place] & 31
    if info >= 28:
        raise DecodeError("a head that there is not", offset=place)
    size = 1 << (info - 24) if info >= 24 else 0
    raw = data[place + 1 : place + 1 + size]
    if len(raw) < size:
        raise IncompleteError("the value has no end", offset=len(data))
    number = int.from_bytes(raw, "big") if size else info
    after = place + 1 + size
    if major == _UINT:
        return Node(str(number)), after
    if major == _NEGATIVE:
        return Node(str(-1 - number)), after
    if major in (_BYTES, _TEXT):
        if number > len(data) - after:
            raise IncompleteError("the value has no end", offset=len(data))
        content = data[after : after + number]
        return Node(_string(content, major, after)), after + number
    if major == _TAG:
        return Node(f"{number}(", ")", 1), after
    if major in (_ARRAY, _MAP):
        if number > len(data) - after:
            # Each takes a byte: there are fewer, and these are shown.
            number = len(data) - after + 1
        if major == _ARRAY:
            return Node("[", "]", number), after
        return Node("{", "}", 2 * number), after
    return Node(_simple(info, number, raw, place)), after


def _string(content: bytes, major: int, place: int) -> str:
    """Return how a string is shown."""
    if major == _BYTES:
        return f"h'{content.hex()}'"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise DecodeError("a text that is not UTF-8", offset=place) from None
    shown = json.dumps(text, ensure_ascii=False)
    return shown.replace(chr(_ESCAPE), f"\\u{_ESCAPE:04x}")


def _simple(info: int, number: int, raw: bytes, place: int) -> str:
    """Return how a float or a simple value is shown."""
    if info in _FLOATS:
        form, indicator, nan = _FLOATS[info]
        value: float = form.unpack(raw)[0]
        if value != value:
            return f"NaN{indicator}" if raw == nan else f"float'{raw.hex()}'"
        shown = repr(value).replace("inf", "Infinity")
        return shown + indicator
    if info == 24 and number < 32:
        raise DecodeError("a head that there is not", offset=place)
    return _SIMPLE.get(number) or f"simple({number})"


def render(node: Node, width: int) -> Iterator[str]:
    """Return the lines of an item.

    Args:
        node: The item.
        width: The longest line, where that can be.
    """
    flat = _flat_forms(node, width)
    # The nodes and texts that are still to be shown, each with its prefix and suffix.
    todo: list[tuple[Node | None, str, str, int]] = [(node, "", "", 0)]
    while todo:
        each, before, after, level = todo.pop()
        room = width - len(_INDENT) * level - len(before) - len(after)
        if each is None:
            yield f"{_INDENT * level}{before}{after}"
            continue
        form = flat.get(id(each))
        if form is not None and (len(form) <= room or not each.parts):
            yield f"{_INDENT * level}{before}{form}{after}"
            continue
        if each.close == ")":
            # A tag stands on the line of its content.
            opened, closed = before + each.text, each.close + after
            todo.append((each.parts[0] if each.parts else None, opened, closed, level))
            continue
        yield f"{_INDENT * level}{before}{each.text}"
        todo.append((None, each.close, after, level))
        rows = _rows(each, flat)
        for index in range(len(rows) - 1, -1, -1):
            part, key = rows[index]
            comma = "," if index < len(rows) - 1 else ""
            todo.append((part, key, comma, level + 1))


def _rows(node: Node, flat: dict[int, str | None]) -> list[tuple[Node | None, str]]:
    """Return the parts of a container, each with the key that goes before it."""
    if not node.is_map:
        return [(part, "") for part in node.parts]
    rows: list[tuple[Node | None, str]] = []
    for index in range(0, len(node.parts), 2):
        key = flat.get(id(node.parts[index])) or " ".join(
            render(node.parts[index], 1 << 30)
        )
        value = node.parts[index + 1] if index + 1 < len(node.parts) else None
        rows.append((value, f"{key}: "))
    return rows


def _flat_forms(node: Node, width: int) -> dict[int, str | None]:
    """Return each node on one line, by id; None for one that is longer than it."""
    flat: dict[int, str | None] = {}
    todo = [node]
    for each in todo:
        todo.extend(each.parts)
    for each in reversed(todo):
        forms = [flat[id(part)] for part in each.parts]
        found = [form for form in forms if form is not None]
        if len(found) < len(forms):
            flat[id(each)] = None
            continue
        if each.is_map:
            pairs = zip(found[::2], [*found[1::2], ""], strict=False)
            found = [f"{key}: {value}" for key, value in pairs]
        form = f"{each.text}{', '.join(found)}{each.close}"
        flat[id(each)] = form if len(form) <= width or not each.parts else None
    return flat


class _Open:
    """A container whose end has not come.

    Attributes:
        kind: How it begins.
        close: How it has to end.
        tag: The number of the tag, if it is one.
        items: The bytes of its items.
        wants: What may come next: an item, or a mark or the end.
    """

    __slots__ = ("close", "items", "kind", "tag", "wants_item")

    def __init__(self, kind: str, tag: int = 0) -> None:
        self.kind = kind
        self.close = {"[": "]", "{": "}", "(": ")", "": ""}[kind]
        self.tag = tag
        self.items: list[bytes] = []
        self.wants_item = True

    def mark(self) -> str:
        """Return the mark that goes before the next item."""
        return ":" if self.kind == "{" and len(self.items) % 2 else ","

    def finished(self) -> bytes:
        """Return the bytes of the container."""
        if self.kind == "(":
            return _with_head(_TAG, self.tag, self.items[0])
        major = _ARRAY if self.kind == "[" else _MAP
        count = len(self.items) if self.kind == "[" else len(self.items) // 2
        return _with_head(major, count, b"".join(self.items))


def _with_head(major: int, number: int, content: bytes = b"") -> bytes:
    """Return the head of an item, and its content."""
    if number >= 1 << 63:
        return bytes((major << 5 | 27,)) + number.to_bytes(8, "big") + content
    out = BytesWriter()
    write_head(out, major << 5, number)
    out.write(content)
    return out.getvalue()


def parse(text: str, start: int = 0) -> list[bytes]:  # noqa: C901
    """Return the items of a text, one after the other.

    Args:
        text: The text.
        start: Where in it they begin.

    Raises:
        NotationError: It is not diagnostic notation.
    """
    stack = [_Open("")]
    place = start
    while place < len(text):
        match = _token(text, place)
        if match is None:
            raise _wrong(text, place, "nothing begins so")
        kind = match.lastgroup
        top = stack[-1]
        if kind == "space":
            place = match.end()
            continue
        if kind == "mark":
            if top.wants_item or top.kind in ("", "(") or match[0] != top.mark():
                raise _wrong(text, place, f"{match[0]!r} is out of place")
            top.wants_item = True
        elif kind == "close":
            _close(stack, match[0], text, place)
        else:
            if not top.wants_item:
                raise _wrong(text, place, "a comma or an end is missing")
            top.wants_item = top.kind == ""
            if kind == "open":
                stack.append(_Open(match[0]))
            elif kind == "tag":
                stack.append(_Open("(", _natural(match["tag"], text, place)))
            else:
                assert kind is not None
                top.items.append(_scalar(kind, match[kind], text, place))
        place = match.end()
    if len(stack) > 1:
        raise _wrong(text, place, f"{stack[-1].close!r} is missing")
    return stack[0].items


def _close(stack: list[_Open], mark: str, text: str, place: int) -> None:
    """End a container."""
    top = stack[-1]
    is_odd = top.kind == "{" and len(top.items) % 2
    is_bare = top.wants_item and (bool(top.items) or top.kind == "(")
    if mark != top.close or is_odd or is_bare:
        raise _wrong(text, place, f"{mark!r} is out of place")
    stack.pop()
    stack[-1].items.append(top.finished())


def _natural(digits: str, text: str, place: int) -> int:
    """Return a number of 64 bits."""
    number = int(digits) if len(digits) <= _MOST_DIGITS else -1
    if not 0 <= number < 1 << 64:
        raise _wrong(text, place, "a number of more than 64 bits")
    return number


def _scalar(kind: str, token: str, text: str, place: int) -> bytes:  # noqa: C901
    """Return the bytes of an item without parts."""
    if kind == "int":
        if token.startswith("-") and token.strip("-0"):
            digits = token[1:]
            number = int(digits) if len(digits) <= _MOST_DIGITS else 0
            return _with_head(_NEGATIVE, _natural(str(number - 1), text, place))
        return _with_head(_UINT, _natural(token.lstrip("-"), text, place))
    if kind == "text":
        try:
            raw = json.loads(token).encode()
        except ValueError:
            raise _wrong(text, place, "not a text") from None
        return _with_head(_TEXT, len(raw), raw)
    if kind in ("bytes", "bits"):
        digits = "".join(token[token.index("'") + 1 : -1].split())
        if len(digits) % 2:
            raise _wrong(text, place, "half of a byte is missing")
        raw = bytes.fromhex(digits)
        if kind == "bytes":
            return _with_head(_BYTES, len(raw), raw)
        if len(raw) not in _BY_SIZE:
            raise _wrong(text, place, "a float has 2, 4 or 8 bytes")
        return bytes((0xE0 + _BY_SIZE[len(raw)],)) + raw
    if kind == "word":
        return _WORDS[token]
    if kind == "simple":
        number = _natural(token, text, place)
        if number < 20:
            return bytes((0xE0 + number,))
        if not 32 <= number < 256:
            raise _wrong(text, place, "no such simple value")
        return bytes((0xF8, number))
    digits, mark, indicator = token.partition("_")
    info = _INDICATORS[mark + indicator]
    form, _, nan = _FLOATS[info]
    if digits == "NaN":
        return bytes((0xE0 + info,)) + nan
    try:
        packed = form.pack(float(digits.replace("Infinity", "inf")))
    except OverflowError:
        raise _wrong(text, place, "a float that is too large for its size") from None
    return bytes((0xE0 + info,)) + packed


def _wrong(text: str, place: int, message: str) -> NotationError:
    """Return the error for a text, with the line and the column."""
    line = text.count("\n", 0, place) + 1
    column = place - (text.rfind("\n", 0, place) + 1) + 1
    return NotationError(f"line {line}, column {column}: {message}")
