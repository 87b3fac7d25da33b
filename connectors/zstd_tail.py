"""Where a zstd file whose writer was killed is still whole, and how to close it so that it can be appended to.

Only the headers are walked (RFC 8878 §3.1.1): nothing is decompressed.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

_MAGIC = b"\x28\xb5\x2f\xfd"
_EMPTY_LAST_BLOCK = b"\x01\x00\x00"
_RLE, _RESERVED = 1, 3
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)


class Tail(NamedTuple):
    """How a zstd file ends."""

    whole: int
    """Bytes up to the end of the last whole block."""
    inside: bool
    """Whether a frame is still open there."""
    size: int

    @property
    def finished(self) -> bool:
        """Whether the writer closed the file."""
        return self.whole == self.size and not self.inside


def tail_of(path: Path) -> Tail:
    """How the file ends. A file that is no zstd is torn from its first byte on."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        whole, inside = 0, False
        while whole < size and not inside:
            header = _header(file, whole)
            if header is None:
                break
            blocks, checksum = header
            whole, inside = _after_blocks(file, blocks, size, checksum)
    return Tail(whole, inside, size)


def mend(path: Path) -> bool:
    """Cut off a torn block and end the frame it was in; says whether there was anything to mend."""
    tail = tail_of(path)
    if tail.finished:
        return False
    with path.open("r+b") as file:
        file.truncate(tail.whole)
        if tail.inside:
            file.seek(tail.whole)
            file.write(_EMPTY_LAST_BLOCK)
    return True


def _header(file: BinaryIO, at: int) -> tuple[int, int] | None:
    """Offset of the first block of the frame at ``at`` and bytes of its checksum; nothing where it is cut off."""
    file.seek(at)
    head = file.read(18)
    if len(head) < 5 or head[:4] != _MAGIC:
        return None
    descriptor = head[4]
    single = descriptor >> 5 & 1
    content = _CONTENT_SIZE_BYTES[descriptor >> 6] or single
    size = 5 + (not single) + _DICTIONARY_BYTES[descriptor & 3] + content
    return (at + size, 4 * (descriptor >> 2 & 1)) if len(head) >= size else None


def _after_blocks(file: BinaryIO, at: int, size: int, checksum: int) -> tuple[int, bool]:
    """Offset after the last whole block from ``at`` on, and whether the frame is still open there."""
    while True:
        file.seek(at)
        head = file.read(3)
        word = int.from_bytes(head, "little")
        kind, last = word >> 1 & 3, word & 1
        end = at + 3 + (1 if kind == _RLE else word >> 3) + (checksum if last else 0)
        if len(head) < 3 or kind == _RESERVED or end > size:
            return at, True
        at = end
        if last:
            return at, False
