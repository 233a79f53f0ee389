"""This module holds the atoms: the words at the heads of s-expressions."""

from __future__ import annotations

from typing import Final

__all__ = [
    "None_atom",
    "SExp",
    "class_atom",
    "dereference_atom",
    "dictionary_atom",
    "frozenset_atom",
    "function_atom",
    "instance_atom",
    "list_atom",
    "module_atom",
    "persistent_atom",
    "reference_atom",
    "set_atom",
    "tuple_atom",
    "unpersistable_atom",
]

#: The values of the Banana wire: byte strings, numbers, and lists of these.
SExp = bytes | int | float | list["SExp"]

None_atom: Final = b"None"

# Code.
class_atom: Final = b"class"
module_atom: Final = b"module"
function_atom: Final = b"function"
method_atom: Final = b"method"

# References.
dereference_atom: Final = b"dereference"
persistent_atom: Final = b"persistent"
reference_atom: Final = b"reference"

# Containers.
dictionary_atom: Final = b"dictionary"
list_atom: Final = b"list"
set_atom: Final = b"set"
tuple_atom: Final = b"tuple"
frozenset_atom: Final = b"frozenset"

#: Head of any instance in the form that peers wrote before 2015; read, never written.
instance_atom: Final = b"instance"

#: Head of the placeholder for an object that was not serialized, with the reason.
unpersistable_atom: Final = b"unpersistable"

# Values.
unicode_atom: Final = b"unicode"
boolean_atom: Final = b"boolean"
