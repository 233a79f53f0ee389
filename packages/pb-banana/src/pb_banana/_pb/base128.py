"""This module turns integers into base-128 digits, low digit first, and back."""

from __future__ import annotations

from collections.abc import Callable

from pb_banana.errors import EncodeError

__all__ = ["b1282int", "base128", "int2b128"]

# Largest number of digits converted one by one. Longer numbers are halved first, since
# that work grows with the square of their length.
_SHORT_DIGITS = 64


def base128(number: int) -> bytes:
    """Return the fewest base-128 digits of *number*, at least one.

    Args:
        number: An integer that is not negative.

    Returns:
        Its digits, low digit first, each a byte below 0x80.
    """
    if number < 128:
        return bytes((number,))
    digits = (number.bit_length() + 6) // 7
    if digits > _SHORT_DIGITS:
        half = digits // 2
        low = base128(number & ((1 << 7 * half) - 1))
        return low.ljust(half, b"\0") + base128(number >> 7 * half)
    out = bytearray()
    while number > 127:
        out.append(number & 127)
        number >>= 7
    out.append(number)
    return bytes(out)


def int2b128(integer: int, stream: Callable[[bytes], object]) -> None:
    """Write the base-128 digits of *integer*.

    Args:
        integer: An integer that is not negative.
        stream: Called once, with the digits, low digit first.

    Raises:
        EncodeError: The integer is negative.
    """
    if integer < 0:
        raise EncodeError("a negative integer has no base-128 digits")
    stream(base128(integer))


def b1282int(st: bytes) -> int:
    """Return the integer whose base-128 digits, low digit first, are *st*.

    Args:
        st: The digits; no digits mean 0.

    Returns:
        The integer.
    """
    if len(st) > _SHORT_DIGITS:
        half = len(st) // 2
        return b1282int(st[:half]) + (b1282int(st[half:]) << 7 * half)
    number = 0
    for digit in reversed(st):
        number = (number << 7) + digit
    return number
