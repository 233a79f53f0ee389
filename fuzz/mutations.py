"""This module changes inputs in ways that leave them expressions.

Bytes that are changed at random are seldom banana, and banana that is made at random is
seldom jelly: most of what is behind the decoder would never be reached.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pb_banana import SExp

from .inputs import HEADER, encoded, expressions_of

__all__ = ["Mutate", "mutated"]

#: What changes bytes as bytes: called with them and the most that there may be.
Mutate = Callable[[bytes, int], bytes]

_NUMBERS: Sequence[int | float] = [
    *(0, 1, 2, 3, 4, 5, 6, 7, -1, -2, 63, 64, 127, 128, 255, 256),
    *(2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**63, 2**64, 10**30, -(10**30)),
    *(0.0, -0.0, 1.5, 1e300, float("inf"), float("nan")),
]

# A list that something is in, and where in it.
_Place = tuple[list[SExp], int]


def mutated(
    data: bytes, most: int, seed: int, words: Sequence[SExp], mutate: Mutate
) -> bytes:
    """Return an input that is a little different.

    Args:
        data: The input.
        most: How long it may become.
        seed: Says how it is changed.
        words: Expressions that mean something to the target.
        mutate: Changes bytes as bytes.
    """
    chosen = random.Random(seed)
    expressions, is_all = expressions_of(data[HEADER:])
    if not expressions or chosen.random() < (0.2 if is_all else 0.5):
        return mutate(data, most)
    header = data[:HEADER]
    if chosen.random() < 0.1:
        header = bytes((chosen.randrange(256), chosen.randrange(256)))
    expressions = copy.deepcopy(expressions)
    for _ in range(chosen.choice([1, 1, 1, 2, 3])):
        _change(expressions, chosen, words)
    try:
        made = header + encoded(expressions)
    except ValueError:
        return mutate(data, most)
    return made if len(made) <= most else mutate(data, most)


def _places(expressions: list[SExp]) -> Iterator[_Place]:
    todo = [expressions]
    while todo:
        current = todo.pop()
        for index, item in enumerate(current):
            yield current, index
            if isinstance(item, list):
                todo.append(item)


def _change(expressions: list[SExp], chosen: random.Random, words: Any) -> None:
    """Change one thing, anywhere."""
    places = list(_places(expressions))
    if not places:
        expressions.append(copy.deepcopy(chosen.choice(words)))
        return
    home, index = chosen.choice(places)
    item = home[index]
    match chosen.randrange(9):
        case 0:
            del home[index]
        case 1:
            home.insert(index, copy.deepcopy(item))
        case 2:
            other, there = chosen.choice(places)
            home[index] = copy.deepcopy(other[there])
        case 3:
            other, there = chosen.choice(places)
            home.insert(index, copy.deepcopy(other[there]))
        case 4:
            key = chosen.randrange(4)
            home[index] = [b"reference", key, item]
        case 5:
            home[index] = [b"dereference", chosen.randrange(4)]
        case 6:
            home.insert(index, copy.deepcopy(chosen.choice(words)))
        case 7:
            home[index] = _altered(item, chosen)
        case _:
            home[index] = copy.deepcopy(chosen.choice(words))


def _altered(item: SExp, chosen: random.Random) -> SExp:
    if isinstance(item, list):
        altered = item[:]
        chosen.shuffle(altered)
        return altered
    if isinstance(item, bytes):
        place = chosen.randrange(len(item) + 1)
        return item[:place] + bytes((chosen.randrange(256),)) + item[place + 1 :]
    if isinstance(item, int) and chosen.random() < 0.5:
        return item + chosen.choice([-1, 1])
    return chosen.choice(_NUMBERS)
