"""Snappy, the compression of LevelDB's blocks: unpacking alone.

The length of the whole as a varint, then pieces. The low two bits of a piece's first byte say what it is: 0 bytes to
take as they are, 1 to 3 a copy of what came out before, with an offset of 11, 16 or 32 bits.
"""

from __future__ import annotations

_LITERAL, _SHORT_COPY = 0, 1
_LARGEST = 1 << 30


class Damaged(ValueError):
    """Bytes that Snappy did not make."""


def unpack(packed: bytes) -> bytes:
    """The bytes that were packed.

    Raises:
        Damaged: the bytes are not Snappy's, or not whole.
    """
    try:
        length, at = _length(packed)
        if length > _LARGEST:
            raise Damaged(f"a block of {length} bytes is larger than any that is written")
        out = _pieces(packed, at, length)
    except IndexError as error:
        raise Damaged("the compressed bytes are cut short") from error
    if len(out) != length:
        raise Damaged(f"expected {length} bytes. Received: {len(out)}")
    return bytes(out)


def _pieces(packed: bytes, at: int, length: int) -> bytearray:
    out, end = bytearray(), len(packed)
    while at < end and len(out) <= length:
        tag = packed[at]
        kind, size = tag & 3, (tag >> 2) + 1
        at += 1
        if kind == _LITERAL:
            if size > 60:  # the size stands in the next 1 to 4 bytes
                width = size - 60
                size = int.from_bytes(packed[at : at + width], "little") + 1
                at += width
            if size > end - at:
                raise Damaged("the compressed bytes are cut short")
            out += packed[at : at + size]
            at += size
            continue
        if kind == _SHORT_COPY:
            size, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | packed[at]
            at += 1
        else:
            width = 2 * (kind - 1)
            offset = int.from_bytes(packed[at : at + width], "little")
            at += width
        if not 0 < offset <= len(out):
            raise Damaged("it copies from before its beginning")
        start = len(out) - offset
        piece = out[start : start + size]
        out += piece if offset >= size else (piece * (size // offset + 1))[:size]  # a copy may overlap itself
    return out


def _length(packed: bytes) -> tuple[int, int]:
    value = shift = 0
    for at in range(5):
        value |= (packed[at] & 127) << shift
        if packed[at] < 128:
            return value, at + 1
        shift += 7
    raise Damaged("its length is too long")
