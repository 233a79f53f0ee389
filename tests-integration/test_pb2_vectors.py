from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import cbor2
import pycddl
import pytest

from cddl_rules import rules_of
from pb_banana import FILE_LIMITS
from pb_banana._pb2.diagnostic_notation import parse
from pb_banana._pb2.reader import Reader
from pb_banana._pb2.writer import Writer
from pb_jelly import ClassRegistry, SecurityOptions, copyable
from pb_jelly.codec import current_tables

DOCS = Path(__file__).parents[1] / "docs"
VECTORS = json.loads((DOCS / "vectors-pb2-values.json").read_text())
POLICY = SecurityOptions(ClassRegistry())
POLICY.allowBasicTypes()


@copyable("example.Point", policy=POLICY)
@dataclass
class Point:
    x: int = 0
    y: int = 0


@copyable("example.Colour", policy=POLICY)
class Colour(Enum):
    RED = 1


def read(data: bytes) -> Any:
    reader = Reader()
    reader.use(
        current_tables(POLICY, modern=True).current().reading, POLICY, FILE_LIMITS
    )
    return reader.message(data, 0, len(data))


def written(value: Any, deterministic: bool) -> bytes:
    writer = Writer()
    writer.use(
        current_tables(POLICY, modern=True).current().sending, POLICY, FILE_LIMITS
    )
    writer.set_options(deterministic=deterministic)
    return b"".join(writer.message(value))


@pytest.fixture(scope="module")
def schema() -> pycddl.Schema:
    return pycddl.Schema(rules_of("protocol-pb2.md"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors_are_read_and_written(vector: Any, schema: pycddl.Schema) -> None:
    data = bytes.fromhex(vector["cbor"])
    assert parse(vector["diagnostic"]) == [data]
    schema.validate_cbor(data)
    cbor2.loads(data)
    assert written(read(data), "deterministic" in vector) == data


@pytest.mark.parametrize("data", ["d9b9b28205", "c48201"])
def test_vectors_that_the_cddl_refuses(data: str, schema: pycddl.Schema) -> None:
    with pytest.raises(pycddl.ValidationError):
        schema.validate_cbor(bytes.fromhex(data))
