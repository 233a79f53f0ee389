"""Keeps objects in a file with the codec alone: no connection, and no Twisted.

Prints:
    the two chapters share one author: True
    the list is in itself: True
    a class that nobody allowed is refused
    Twisted was imported: False
"""

from __future__ import annotations

import sys
import tempfile
from datetime import date
from fractions import Fraction
from typing import Any

import pb_banana
from pb_jelly import InsecureJelly, SecurityOptions


class Author:
    def __init__(self, name: str) -> None:
        self.name = name


def main() -> None:
    author = Author("Ada")
    ring: list[Any] = [Fraction(1, 3), date(1843, 9, 1)]
    ring.append(ring)
    book = {"chapters": [("one", author), ("two", author)], "ring": ring}

    policy = SecurityOptions()
    policy.allowInstancesOf(Author)
    with tempfile.TemporaryFile() as file:
        pb_banana.dump(book, file, security=policy)
        file.seek(0)
        again: Any = pb_banana.load(file, security=policy)

    (_, first), (_, second) = again["chapters"]
    print("the two chapters share one author:", first is second)
    print("the list is in itself:", again["ring"][2] is again["ring"])
    try:
        pb_banana.loads(pb_banana.dumps(author, security=policy))
    except InsecureJelly:
        print("a class that nobody allowed is refused")
    print("Twisted was imported:", "twisted" in sys.modules)


if __name__ == "__main__":
    main()
