"""Jelly and banana without a network, with the limits that a program may move."""
# mypy: ignore-errors

from __future__ import annotations

import datetime
import decimal
import os.path

from twisted.spread import banana, jelly, pb


class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __repr__(self):
        return f"Point({self.x!r}, {self.y!r})"

    def norm(self):
        return (self.x**2 + self.y**2) ** 0.5


def attempt(function, *args, **kw):
    try:
        result = function(*args, **kw)
    except (banana.BananaError, jelly.InsecureJelly) as error:
        print(
            "refused by",
            "jelly" if isinstance(error, jelly.InsecureJelly) else "banana",
        )
    else:
        print(result)


values = [
    None,
    [1, -2, 2**70, 3.5, b"bytes", "text", True],
    {"a": (1, 2)},
    {1},
    frozenset([2]),
    decimal.Decimal("1.50"),
    datetime.datetime(2001, 2, 3, 4, 5, 6, 7),
    datetime.timedelta(days=-1, seconds=2),
    Point(1, [2]),
]
for value in values:
    expression = jelly.jelly(value)
    data = banana.encode(expression)
    print(expression, data.hex(), jelly.unjelly(banana.decode(data)))
for value in (os.path.join, Point, datetime):
    print(jelly.unjelly(jelly.jelly(value)) is value)
print(jelly.unjelly(jelly.jelly(Point(3, 4).norm))())

strict = jelly.SecurityOptions()
attempt(jelly.unjelly, jelly.jelly([1]), strict)
strict.allowBasicTypes()
attempt(jelly.unjelly, jelly.jelly([1]), strict)
attempt(jelly.unjelly, jelly.jelly(Point(1, 2)), strict)
print(jelly.jelly([Point(1, 2)], strict))
strict.allowInstancesOf(Point)
attempt(jelly.unjelly, jelly.jelly(Point(1, 2)), strict)
strict.allowedTypes.pop(b"list")
attempt(jelly.unjelly, jelly.jelly([1]), strict)

print(banana.SIZE_LIMIT, pb.MAX_BROKER_REFS)
attempt(banana.decode, banana.encode(b"x" * 10))
banana.SIZE_LIMIT = 5
attempt(banana.encode, b"x" * 5)
attempt(banana.encode, b"x" * 6)
attempt(banana.decode, b"\x06\x82xxxxxx")
attempt(banana.encode, [1] * 6)
banana.SIZE_LIMIT = 1024**2
print(len(banana.encode(b"x" * 1024**2)), banana.SIZE_LIMIT)
pb.MAX_BROKER_REFS = 17
print(pb.MAX_BROKER_REFS)
