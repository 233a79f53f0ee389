"""This module turns arrays of numbers into typed arrays (RFC 8746) and back.

Neither direction copies the numbers.  numpy is not needed: its arrays are known where
the program has imported it, and a peer's bytes import it only if the policy allows that
very module.
"""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any, Final

from pb_jelly.codec import shown
from pb_jelly.errors import MalformedJelly, UnjellyableType

from .tags import COLUMN_MAJOR, ROW_MAJOR

if TYPE_CHECKING:
    from pb_jelly import Taster

__all__ = [
    "is_array_tag",
    "load_array",
    "load_matrix",
    "load_view",
    "numpy_array",
    "raw_of",
    "tag_of_array",
    "view_parts",
]

_IS_LITTLE: Final = sys.byteorder == "little"

#: Kind of number (as numpy has it) and bytes of one, by the tag without its bit for the
#: byte order.
_UNSIGNED: Final = {1: 64, 2: 65, 4: 66, 8: 67}
_SIGNED: Final = {1: 72, 2: 73, 4: 74, 8: 75}
_FLOATS: Final = {2: 80, 4: 81, 8: 82}
_LITTLE: Final = 4
_FORMATS: Final[dict[int, tuple[str, int, bool]]] = {
    tag if is_big or size == 1 else tag + _LITTLE: (kind, size, is_big)
    for kind, tags in (("u", _UNSIGNED), ("i", _SIGNED), ("f", _FLOATS))
    for size, tag in tags.items()
    for is_big in (True, False)
}
#: The typecode of an array, by kind and size: of several the first.
_TYPECODES: Final[dict[tuple[str, int], str]] = {}
for _code in "BHILQbhilqfd":
    _kind = "f" if _code in "fd" else "u" if _code.isupper() else "i"
    _TYPECODES.setdefault((_kind, array(_code).itemsize), _code)
_KINDS: Final = {
    code: "f" if code in "fde" else "u" if code.isupper() else "i"
    for code in "BHILQNbhilqnfde"
}

#: numpy allows so many dimensions at most.
_MOST_DIMENSIONS: Final = 32


def _tag(kind: str, size: int, is_big: bool) -> int | None:
    """Return the tag for numbers; None if there is none."""
    tags = {"u": _UNSIGNED, "i": _SIGNED, "f": _FLOATS}.get(kind, {})
    tag = tags.get(size)
    return tag if tag is None or is_big or size == 1 else tag + _LITTLE


def is_array_tag(tag: int) -> bool:
    """Say whether a tag is that of a typed array which is known here."""
    return tag in _FORMATS


def raw_of(value: Any) -> memoryview:
    """Return the bytes of an array.array or of a contiguous memoryview."""
    return memoryview(value).cast("B")


def tag_of_array(value: array[Any]) -> tuple[int, bool]:
    """Return the tag for an array, and whether its typecode can be told from that.

    Raises:
        UnjellyableType: It holds characters.
    """
    code = value.typecode
    if code not in _KINDS:
        raise UnjellyableType(f"an array of characters ({code!r}): send a str")
    kind = _KINDS[code]
    tag = _tag(kind, value.itemsize, not _IS_LITTLE)
    assert tag is not None
    # Tag 64 is a bytearray.
    return tag, code != "B" and _TYPECODES[kind, value.itemsize] == code


def view_parts(view: memoryview) -> tuple[int, list[int], memoryview | bytes]:
    """Return tag, shape and bytes of a memoryview.

    Raises:
        UnjellyableType: Its items are not numbers, or it has been released.
    """
    try:
        form = view.format
    except ValueError:
        raise UnjellyableType("a memoryview that has been released") from None
    kind = _KINDS.get(form.lstrip("@"))
    tag = None if kind is None else _tag(kind, view.itemsize, not _IS_LITTLE)
    if tag is None or not view.shape:
        raise UnjellyableType(
            f"a memoryview of the format {form!r}: give one of numbers"
        )
    raw = view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()
    return tag, list(view.shape), raw


def numpy_array(value: Any, numpy: Any) -> tuple[int, int, list[int], Any]:
    """Return the tag of the order, the tag, the shape and the bytes of a numpy array.

    Raises:
        UnjellyableType: Its items are not plain numbers.
    """
    dtype = value.dtype
    is_big = dtype.str.startswith(">")
    tag = _tag(dtype.kind, dtype.itemsize, is_big)
    if tag is None:
        raise UnjellyableType(
            f"a numpy array of {shown(str(dtype))}: give one of integers or floats, "
            "such as astype() makes"
        )
    order = ROW_MAJOR
    flat = value
    if not value.flags.c_contiguous and value.flags.f_contiguous:
        order = COLUMN_MAJOR
        flat = value.T
    if not flat.flags.c_contiguous or flat.ndim == 0 or flat.size == 0:
        return order, tag, list(value.shape), flat.tobytes()
    # The buffer of an array in the other byte order has a format that none can cast.
    return order, tag, list(value.shape), memoryview(flat.view("u1").reshape(-1))


def load_array(tag: int, raw: bytes | memoryview, typecode: str | None = None) -> Any:
    """Return the array.array of the content of a typed array.

    Args:
        tag: Its tag.
        raw: Its bytes.
        typecode: The typecode, if the tag does not say it.

    Raises:
        MalformedJelly: The bytes are not so many numbers, or no array can hold them.
    """
    kind, size, is_big = _FORMATS[tag]
    if typecode is None:
        typecode = _TYPECODES.get((kind, size))
    if typecode is None:
        raise MalformedJelly("half-precision numbers, which take numpy")
    if _KINDS.get(typecode) != kind or array(typecode).itemsize != size:
        raise MalformedJelly(f"an array with the typecode {shown(typecode)}")
    made = array(typecode)
    _check(raw, size)
    made.frombytes(raw)
    if is_big is _IS_LITTLE and size > 1:
        made.byteswap()
    return made


def load_view(
    tag: int, shape: list[int] | None, raw: bytes | memoryview, code: str | None = None
) -> memoryview:
    """Return the memoryview of the content of a typed array.

    Args:
        tag: Its tag.
        shape: Its shape; None for one dimension.
        raw: Its bytes, which are not copied.
        code: The format, if the tag does not say it.

    Raises:
        MalformedJelly: No memoryview can have them.
    """
    kind, size, is_big = _FORMATS[tag]
    _check(raw, size)
    if code is None:
        code = _TYPECODES.get((kind, size), "e")
    if _KINDS.get(code) != kind:
        raise MalformedJelly(f"a memoryview of the format {shown(code)}")
    if is_big is _IS_LITTLE and size > 1:
        swapped = load_array(tag, raw)
        raw = memoryview(swapped).cast("B")
    view: Any = memoryview(raw)
    try:
        made: memoryview = view.cast(code) if shape is None else view.cast(code, shape)
    except (TypeError, ValueError):
        raise MalformedJelly("a memoryview of a shape that it cannot have") from None
    return made


def load_matrix(
    order: int, shape: Any, tag: int, raw: bytes | memoryview, taster: Taster
) -> Any:
    """Return the array of one or more dimensions, as numpy has it.

    Args:
        order: The tag that says which index is the first to change.
        shape: The shape that a peer has sent.
        tag: The tag of the numbers.
        raw: The bytes of the numbers, which are not copied.
        taster: The policy: whether numpy may be imported.

    Returns:
        A numpy array; a memoryview if the program has not imported numpy and the policy
        does not allow it.

    Raises:
        MalformedJelly: Shape and bytes do not go together.
    """
    kind, size, is_big = _FORMATS[tag]
    count = 1
    if type(shape) is not list or len(shape) > _MOST_DIMENSIONS:
        raise MalformedJelly("an array without a shape")
    for length in shape:
        if type(length) is not int or length < 0:
            raise MalformedJelly(f"an array with a dimension of {shown(length)}")
        count *= length
        if count > len(raw):
            break
    if count * size != len(raw):
        raise MalformedJelly("an array whose shape is not that of its bytes")
    numpy = sys.modules.get("numpy")
    if numpy is None and taster.isModuleAllowed("numpy"):
        try:
            import numpy
        except ImportError as error:
            raise MalformedJelly("an array that takes numpy") from error
    if numpy is None:
        if order == COLUMN_MAJOR and len(shape) > 1:
            raise MalformedJelly("an array in column-major order, which takes numpy")
        return load_view(tag, shape, raw)
    made: Any = numpy.frombuffer(raw, f"{'>' if is_big else '<'}{kind}{size}")
    return made.reshape(shape, order="F" if order == COLUMN_MAJOR else "C")


def _check(raw: bytes | memoryview, size: int) -> None:
    """Refuse bytes that are not a whole number of items."""
    if len(raw) % size:
        raise MalformedJelly(f"a typed array of {len(raw)} bytes, {size} to an item")
