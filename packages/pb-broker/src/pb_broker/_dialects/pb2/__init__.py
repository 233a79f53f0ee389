"""This package is the dialect "pb2": frames, credit, deadlines, values as CBOR."""
