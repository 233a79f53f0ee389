"""This module writes s-expressions as text, and reads them back.

A byte string is a bare word where it looks like one, else it stands in double quotes
(with `\\n` for a line feed), else, when it is not printable ASCII, it is hexadecimal
after a `#`.
Numbers and lists are as in Lisp.
"""

from __future__ import annotations

import re
from typing import Any

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<open>\() | (?P<close>\)) |
    \#(?P<hex>[0-9a-f]+) | "(?P<quoted>[^"]*)" |
    (?P<float>-?\d+\.\d+(?:e[+-]?\d+)? | -?\d+e[+-]?\d+) | (?P<int>-?\d+) |
    (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
    )""",
    re.VERBOSE,
)


def show(expression: Any) -> str:
    """Return an s-expression as text."""
    if isinstance(expression, list):
        return "(" + " ".join(map(show, expression)) + ")"
    if not isinstance(expression, bytes):
        return repr(expression)
    text = expression.decode("latin-1")
    if _WORD.fullmatch(text):
        return text
    line = text.replace("\n", "")
    if (
        line.isascii()
        and (line.isprintable() or not line)
        and not set('"\\') & set(line)
    ):
        return '"' + text.replace("\n", "\\n") + '"'
    return f"#{expression.hex()}"


def parse(text: str) -> Any:
    """Return the one s-expression that a text says.

    Raises:
        ValueError: The text is not one s-expression.
    """
    stack: list[list[Any]] = [[]]
    position = 0
    while text[position:].strip():
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"not a token: {text[position : position + 20]!r}")
        position = token.end()
        kind, value = token.lastgroup, token[token.lastgroup or 0]
        if kind == "open":
            stack.append([])
        elif kind == "close":
            if len(stack) < 2:
                raise ValueError("closed more than was opened")
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(_atom(kind, value))
    if len(stack) != 1 or len(stack[0]) != 1:
        raise ValueError(f"not one s-expression: {text[:60]!r}")
    return stack[0][0]


def _atom(kind: str | None, value: str) -> Any:
    if kind == "int":
        return int(value)
    if kind == "float":
        return float(value)
    if kind == "hex":
        return bytes.fromhex(value)
    return value.replace("\\n", "\n").encode("ascii")
