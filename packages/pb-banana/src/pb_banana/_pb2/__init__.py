"""This package is the encoding of values in the dialect "pb2": CBOR, registered tags.

`writer` makes bytes of objects and `reader` objects of bytes; the specification is
``docs/protocol-pb2.md``.
"""
