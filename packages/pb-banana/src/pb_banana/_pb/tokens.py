"""This module names the type bytes of tokens on the wire.

A token is a prefix (a number in base 128, low digit first, each digit a byte
below 0x80; it may be empty and then means 0), a type byte, and for some types a
body.
"""

from __future__ import annotations

from typing import Final

#: The prefix is a count; that many expressions follow.
LIST: Final = 0x80
#: The prefix is the value, at most 2**31 - 1 when we send it.
INT: Final = 0x81
#: The prefix is a count; that many bytes follow.
STRING: Final = 0x82
#: The prefix is the value without its sign, at most 2**31 when we send it.
NEG: Final = 0x83
#: Eight bytes follow, an IEEE 754 double in network order; the prefix is ignored.
FLOAT: Final = 0x84
#: As INT, for larger values.
LONGINT: Final = 0x85
#: As NEG, for larger values.
LONGNEG: Final = 0x86
#: The prefix is the number of a word in the vocabulary of the dialect.
VOCAB: Final = 0x87

#: The largest value sent as INT, and the largest size of one sent as NEG.
LARGEST_INT: Final = 2**31 - 1
LARGEST_NEG: Final = 2**31
