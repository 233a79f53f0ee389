"""This module holds the limits that one message keeps to, in either direction."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one message, for memory and time.

    A value is checked against these while it is turned into an s-expression
    or into bytes, and a received message is checked against them while it is
    read.  Depth and nodes are counted in the terms of the wire: every list
    is a level of depth, and every list, number and byte string is a node.
    A ``str`` is a list of two byte strings, so it is three nodes and a level;
    a ``dict`` in a ``dict`` costs two levels, one for the dictionary and one
    for the pair that holds it.

    Attributes:
        message_bytes: Size of one whole encoded message, in bytes.
        string_bytes: Size of one string, in bytes.
        list_items: Number of items of one list.
        nodes: Number of lists, numbers and strings of one message together.
        depth: Number of lists nested in one another.
        prefix_bytes: Number of base-128 digits of one number, seven bits each;
            it bounds the size of an integer.

    Raises:
        TypeError: A limit is not an integer.
        ValueError: A limit is less than 1.
    """

    message_bytes: int = 8 * 1024 * 1024
    string_bytes: int = 655_360
    list_items: int = 655_360
    nodes: int = 262_144
    depth: int = 64
    prefix_bytes: int = 64

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if type(value) is not int:
                raise TypeError(f"{name} must be an int")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
