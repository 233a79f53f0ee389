"""This module is pb-jelly: Python objects as s-expressions and back, under a policy.

An s-expression is made of byte strings, numbers and lists: `pb_banana` carries it, and
so can any other format with these three.

>>> import pb_jelly
>>> sexp = pb_jelly.jelly({"id": 7, "tags": ("new", None)})
>>> pb_jelly.unjelly(sexp)
{'id': 7, 'tags': ('new', None)}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pb_jelly._first_use import on_first_use

if TYPE_CHECKING:
    from pb_jelly._deserialize.unjellier import Unjellier
    from pb_jelly._functions import (
        jelly,
        setUnjellyableFactoryForClass,
        setUnjellyableForClass,
        setUnjellyableForClassTree,
        unjelly,
        unjellyableFactoryRegistry,
        unjellyableRegistry,
    )
    from pb_jelly._jellyable import (
        Jellyable,
        Unjellyable,
        getInstanceState,
        setInstanceState,
    )
    from pb_jelly._policy.class_registry import ClassRegistry
    from pb_jelly._policy.copyable_classes import copyable, copyable_as
    from pb_jelly._policy.security_options import (
        DummySecurityOptions,
        SecurityOptions,
        default_registry,
        globalSecurity,
    )
    from pb_jelly._policy.taster import Taster
    from pb_jelly._serialize.jellier import Jellier
    from pb_jelly._sexp.atoms import (
        None_atom,
        SExp,
        class_atom,
        dereference_atom,
        dictionary_atom,
        frozenset_atom,
        function_atom,
        instance_atom,
        list_atom,
        module_atom,
        persistent_atom,
        reference_atom,
        set_atom,
        tuple_atom,
        unpersistable_atom,
    )
    from pb_jelly._sexp.limits import Limits
    from pb_jelly._types.hooks import leaf_hook, numbered_hook
    from pb_jelly._types.instance_state import Unpersistable
    from pb_jelly._types.qualified_names import qual
    from pb_jelly.errors import (
        InsecureJelly,
        JellyError,
        LimitExceeded,
        MalformedJelly,
        MissingMethod,
        UnjellyableType,
    )

    from . import errors
    from ._form import is_compiled

__all__ = [
    "ClassRegistry",
    "DummySecurityOptions",
    "InsecureJelly",
    "Jellier",
    "JellyError",
    "Jellyable",
    "LimitExceeded",
    "Limits",
    "MalformedJelly",
    "MissingMethod",
    "None_atom",
    "SExp",
    "SecurityOptions",
    "Taster",
    "Unjellier",
    "Unjellyable",
    "UnjellyableType",
    "Unpersistable",
    "class_atom",
    "copyable",
    "copyable_as",
    "default_registry",
    "dereference_atom",
    "dictionary_atom",
    "errors",
    "frozenset_atom",
    "function_atom",
    "getInstanceState",
    "globalSecurity",
    "instance_atom",
    "is_compiled",
    "jelly",
    "leaf_hook",
    "list_atom",
    "module_atom",
    "numbered_hook",
    "persistent_atom",
    "qual",
    "reference_atom",
    "setInstanceState",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "set_atom",
    "tuple_atom",
    "unjelly",
    "unjellyableFactoryRegistry",
    "unjellyableRegistry",
    "unpersistable_atom",
]

#: Version of the package; its distribution takes it from here.
__version__ = "0.1.0"

if not TYPE_CHECKING:
    __getattr__, __dir__ = on_first_use(
        __name__,
        {
            "._deserialize.unjellier": "Unjellier",
            "._functions": (
                "jelly setUnjellyableFactoryForClass setUnjellyableForClass "
                "setUnjellyableForClassTree unjelly unjellyableFactoryRegistry "
                "unjellyableRegistry"
            ),
            "._jellyable": "Jellyable Unjellyable getInstanceState setInstanceState",
            "._policy.class_registry": "ClassRegistry",
            "._policy.copyable_classes": "copyable copyable_as",
            "._policy.security_options": (
                "DummySecurityOptions SecurityOptions default_registry globalSecurity"
            ),
            "._policy.taster": "Taster",
            "._serialize.jellier": "Jellier",
            "._sexp.atoms": (
                "None_atom SExp class_atom dereference_atom dictionary_atom "
                "frozenset_atom function_atom instance_atom list_atom module_atom "
                "persistent_atom reference_atom set_atom tuple_atom "
                "unpersistable_atom"
            ),
            "._sexp.limits": "Limits",
            "._types.hooks": "leaf_hook numbered_hook",
            "._types.instance_state": "Unpersistable",
            "._types.qualified_names": "qual",
            ".errors": (
                "InsecureJelly JellyError LimitExceeded MalformedJelly "
                "MissingMethod UnjellyableType"
            ),
            "._form": "is_compiled",
        },
    )
