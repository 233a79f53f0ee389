from __future__ import annotations

import inspect
import re
from importlib import resources

import pb_banana
import pb_banana.errors
import pb_jelly
from pb_banana import extending

#: What other packages and programs rely on.
PROMISED = {
    "BananaError",
    "Connection",
    "DecodeError",
    "Decoder",
    "EncodeError",
    "Encoder",
    "InvalidToken",
    "LimitExceeded",
    "Limits",
    "NegotiationError",
    "PB_VOCABULARY",
    "UnknownVocabulary",
    "b1282int",
    "decode",
    "dump",
    "dumps",
    "encode",
    "int2b128",
    "load",
    "loads",
}


def test_names_of_twisted_are_exported() -> None:
    assert set(pb_banana.__all__) >= PROMISED


def test_exports_are_sorted_and_exist() -> None:
    for module in (pb_banana, pb_banana.errors):
        names = module.__all__
        assert len(set(names)) == len(names)
        for name in names:
            assert hasattr(module, name)
    assert pb_banana.errors.__all__ == sorted(pb_banana.errors.__all__)


def test_docstrings_of_public_names() -> None:
    for name in pb_banana.__all__:
        value = getattr(pb_banana, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        assert inspect.getdoc(value), name
        if not inspect.isclass(value):
            continue
        for attribute, member in vars(value).items():
            if not attribute.startswith("_") and callable(member):
                assert inspect.getdoc(member), f"{name}.{attribute}"


def test_limits_are_those_of_jelly() -> None:
    assert pb_banana.Limits is pb_jelly.Limits
    assert issubclass(pb_banana.LimitExceeded, pb_jelly.LimitExceeded)


def test_docstrings_of_modules() -> None:
    for file in resources.files("pb_banana").iterdir():
        if not file.name.endswith(".py"):
            continue
        first = file.read_text("utf-8").partition("\n")[0]
        assert re.match(r'r?"""This module .*[.:]', first), file.name


def test_type_hints_are_published() -> None:
    assert resources.files("pb_banana").joinpath("py.typed").is_file()


def test_names_for_sibling_packages() -> None:
    assert {"MessageExchange", "FrameReader", "LaneQueue"} <= set(extending.__all__)
    for name in extending.__all__:
        assert hasattr(extending, name)
