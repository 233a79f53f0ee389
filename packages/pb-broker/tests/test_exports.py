"""The public names of the package."""

from __future__ import annotations

import inspect

import pb_broker
import pb_broker.banana
import pb_broker.errors
import pb_broker.extending
import pb_broker.interfaces
import pb_broker.local
import pb_broker.paging
import pb_broker.publishing
import pb_broker.testing


def test_names_are_sorted_and_there() -> None:
    names = pb_broker.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(pb_broker, name)


def test_everything_public_is_documented() -> None:
    modules = [
        pb_broker,
        pb_broker.banana,
        pb_broker.errors,
        pb_broker.extending,
        pb_broker.interfaces,
        pb_broker.local,
        pb_broker.paging,
        pb_broker.publishing,
        pb_broker.testing,
    ]
    for module in modules:
        assert module.__doc__
        for name in module.__all__:
            value = getattr(module, name)
            # On Python 3.10, an alias of types is a class as well.
            is_alias = hasattr(value, "__origin__")
            if not is_alias and (inspect.isclass(value) or inspect.isfunction(value)):
                assert value.__doc__, f"{module.__name__}.{name}"
