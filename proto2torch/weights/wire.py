"""Protobuf's wire format, walked over a mapped file without a copy and without trust in what it says.

Every length is checked against what is there before anything is read or allocated, so a hostile file costs no more
than its own size.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from proto2torch.errors import Proto2TorchError, Where, unreadable

Array = np.ndarray[Any, Any]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_KINDS = {VARINT: "a varint", FIXED64: "8 bytes", BYTES: "a length and bytes", FIXED32: "4 bytes"}
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_LARGEST_FIELD = 2**29 - 1


class Malformed(Exception):
    """Bytes that are not the message they should be."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(f"byte {offset}: {message}")
        self.reason = message


class Field(NamedTuple):
    """A field of a message: its number, how it is coded, and where its value lies."""

    number: int
    kind: int
    offset: int
    """Of its tag."""
    start: int
    """Of its value; past the length of a BYTES field."""
    end: int
    value: int
    """Of a VARINT field; 0 elsewhere."""

    def expect(self, kind: int, what: str) -> Field:
        """The field itself where it is coded as `kind`; Malformed where it is not."""
        if self.kind != kind:
            raise Malformed(self.offset, f"{what} must be coded as {_KINDS[kind]}. Received: {_KINDS[self.kind]}")
        return self

    def signed(self, what: str) -> int:
        """The value of a VARINT field as an int64."""
        self.expect(VARINT, what)
        return self.value - 2**64 if self.value >= 2**63 else self.value

    def signed32(self, what: str) -> int:
        """The value of a VARINT field as an int32, whose higher bits protobuf drops."""
        return (self.signed(what) + 2**31) % 2**32 - 2**31


class _File(mmap.mmap):
    """A mapped file that can be read as well; both end with the last view of it."""

    descriptor = -1

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def mapped(path: str, kind: type[Proto2TorchError]) -> memoryview:
    """The bytes of a file, mapped: writable arrays over them never change the file. `kind` is raised where it fails."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise kind("the file is empty", where=Where(file=path))
            found = _File(file.fileno(), 0, access=mmap.ACCESS_COPY)
            found.descriptor = os.dup(file.fileno())
            return memoryview(found)
    except OSError as error:
        unreadable(path, error, kind)


def read(data: memoryview, start: int, into: memoryview) -> None:
    """Fill `into` with the bytes from `start` of a `mapped` file, read from the file where that is possible.

    Reading is faster than copying from the map, and leaves nothing of the file in this process's memory.

    Raises:
        EOFError: the file has been cut short since it was mapped.
    """
    file = data.obj
    if not isinstance(file, _File) or not hasattr(os, "preadv"):
        into[:] = data[start : start + len(into)]
        return
    done = 0
    while done < len(into):
        count = os.preadv(file.descriptor, [into[done:]], start + done)
        if not count:
            raise EOFError(f"the file ends at byte {start + done}")
        done += count


def release(data: memoryview, start: int, end: int) -> None:
    """Let go of the pages between two offsets of a `mapped` file; they are read again when they are used again."""
    file = data.obj
    if isinstance(file, _File) and hasattr(file, "madvise"):
        first = start // mmap.PAGESIZE * mmap.PAGESIZE
        file.madvise(mmap.MADV_DONTNEED, first, end - first)


def fields(data: memoryview, start: int, end: int) -> Iterator[Field]:
    """The fields of the message at `start`, up to `end`."""
    while start < end:
        field = field_at(data, start, end)
        yield field
        start = field.end


def field_at(data: memoryview, offset: int, end: int) -> Field:
    """The field whose tag is at `offset`; it must not pass `end`."""
    tag, start = varint(data, offset, end)
    number, kind = tag >> 3, tag & 7
    if not 0 < number <= _LARGEST_FIELD or kind not in _KINDS:
        raise Malformed(offset, f"no field has the tag {tag:#x}")
    if kind == VARINT:
        value, after = varint(data, start, end)
        return Field(number, kind, offset, start, after, value)
    length = _WIDTHS.get(kind)
    if length is None:
        length, start = varint(data, start, end)
    if length > end - start:
        raise Malformed(offset, f"field {number} has {length} bytes, but {end - start} are left: the file is cut short")
    return Field(number, kind, offset, start, start + length, 0)


def varint(data: memoryview, offset: int, end: int) -> tuple[int, int]:
    """An unsigned 64-bit varint and the offset after it."""
    value = shift = 0
    for position in range(offset, min(end, offset + 10)):
        byte = data[position]
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), position + 1
        shift += 7
    raise Malformed(offset, "a number is too long" if end - offset >= 10 else "the file is cut short within a number")


def text(data: memoryview, field: Field, what: str) -> str:
    """A string field; bytes that are no UTF-8 are shown by their codes."""
    field.expect(BYTES, what)
    return bytes(data[field.start : field.end]).decode("utf-8", "backslashreplace")


def numbers(data: memoryview, field: Field, dtype: str, end: int, what: str) -> tuple[Array, int]:
    """The values of a repeated field of 4-byte or 8-byte numbers at `field`, and the offset after them.

    Packed values are a view of the file. Of unpacked ones, the whole run of fields with the same tag is taken.
    """
    width = np.dtype(dtype).itemsize
    if field.kind == BYTES:
        count, odd = divmod(field.end - field.start, width)
        if odd:
            raise Malformed(field.offset, f"{what} has {field.end - field.start} bytes, no multiple of {width}")
        return np.frombuffer(data, dtype, count, field.start), field.end
    field.expect(FIXED32 if width == 4 else FIXED64, what)
    if field.start != field.offset + 1:  # a tag longer than it needs to be
        return np.frombuffer(data, dtype, 1, field.start), field.end
    count = _run(data, field.offset, end, width + 1)
    record = np.dtype([("tag", "u1"), ("value", dtype)])
    return np.frombuffer(data, record, count, field.offset)["value"].copy(), field.offset + count * (width + 1)


def _run(data: memoryview, offset: int, end: int, stride: int) -> int:
    """How many records of `stride` bytes from `offset` begin with the same byte; at least one."""
    most = (end - offset) // stride
    known, step = 1, 64
    while known < most:  # in growing steps, so that short runs cost little
        count = min(step, most - known)
        tags = np.frombuffer(data, np.uint8, count * stride, offset + known * stride)[::stride]
        others = np.flatnonzero(tags != data[offset])
        if len(others):
            return known + int(others[0])
        known, step = known + count, step * 4
    return known


def tag(number: int, kind: int) -> bytes:
    """The tag of a field to write."""
    return encode(number << 3 | kind)


def encode(value: int) -> bytes:
    """An int64 as a varint."""
    value &= 2**64 - 1
    code = bytearray()
    while value > 127:
        code.append(value & 127 | 128)
        value >>= 7
    code.append(value)
    return bytes(code)
