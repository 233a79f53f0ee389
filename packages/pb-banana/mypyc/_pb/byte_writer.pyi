from librt.strings import BytesWriter as BytesWriter
from librt.strings import read_f64_be as read_f64_be
from librt.strings import write_f64_be as write_f64_be

def spliced(out: BytesWriter, insertions: list[tuple[int, bytes]]) -> bytes: ...
