"""The logs of a LevelDB: the MANIFEST, which lists its tables, and the .log, which holds records not yet in a table.

A log is cut into blocks of 32 KiB. A piece of a record: checksum (4 bytes), length (2), kind (1: whole, 2 first,
3 middle, 4 last), then the bytes; less than 7 bytes at a block's end are zeros.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from proto2torch.data.leveldb import crc32c
from proto2torch.data.leveldb.table import VALUE, Corrupt, Record
from proto2torch.weights import wire

_BLOCK, _HEAD = 32768, 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_COMPARATOR = b"leveldb.BytewiseComparator"
_NAME, _LOG, _NEXT, _SEQUENCE, _COMPACT, _GONE, _NEW, _PREVIOUS = 1, 2, 3, 4, 5, 6, 7, 9


@dataclass(frozen=True)
class TableFile:
    """A table that a MANIFEST lists, with its first and last key (of users, not internal)."""

    number: int
    size: int
    smallest: bytes
    largest: bytes


@dataclass
class Version:
    """What a MANIFEST says in the end: the tables by level and number, and the oldest log that counts."""

    levels: dict[int, dict[int, TableFile]] = field(default_factory=dict)
    log: int = 0
    previous_log: int = 0


def manifest(path: str) -> Version:
    """Read a MANIFEST.

    Raises:
        Corrupt: it is damaged, or orders its keys by another rule than their bytes.
    """
    version = Version()
    for record in pieces(path, torn_end=False):
        try:
            _apply(version, memoryview(record))
        except wire.Malformed as error:
            raise Corrupt(f"{os.path.basename(path)} is damaged: {error}") from error
    return version


def batches(path: str) -> Iterator[Record]:
    """The records of a .log in the order they were written; a piece cut off at its end was never acknowledged."""
    for record in pieces(path, torn_end=True):
        data = memoryview(record)
        try:
            sequence, count = struct.unpack_from("<QI", data)
            at = 12
            for offset in range(count):
                kind, at = data[at], at + 1
                key, at = _string(data, at)
                value, at = _string(data, at) if kind == VALUE else (data[:0], at)
                yield Record(bytes(key), sequence + offset, kind, value)
        except (wire.Malformed, struct.error, IndexError) as error:
            raise Corrupt(f"{os.path.basename(path)} has a damaged batch of records: {error}") from error


def pieces(path: str, torn_end: bool) -> Iterator[bytes]:
    """The records of a log file, checksums verified."""
    with open(path, "rb") as file:
        data = memoryview(file.read())
    parts: list[memoryview] = []
    at = 0
    while at + _HEAD <= len(data):
        if _BLOCK - at % _BLOCK < _HEAD:
            at += _BLOCK - at % _BLOCK
            continue
        crc, length, kind = struct.unpack_from("<IHB", data, at)
        end = at + _HEAD + length
        if crc == length == kind == 0:  # space set aside and never written
            break
        if end > len(data):
            if torn_end:
                return
            raise Corrupt(f"{os.path.basename(path)} is cut short at byte {at}")
        if crc32c.masked(data[at + 6 : end]) != crc:
            raise Corrupt(f"{os.path.basename(path)}: the checksum at byte {at} is wrong: the file is damaged")
        parts = [data[at + _HEAD : end]] if kind in (_WHOLE, _FIRST) else [*parts, data[at + _HEAD : end]]
        if kind in (_WHOLE, _LAST):
            yield b"".join(parts)
            parts = []
        at = end


def write_manifest(path: str, tables: Iterable[TableFile], level: int, log: int, next_file: int, last: int) -> None:
    """Write a MANIFEST that lists `tables`, whose keys here are internal ones, all in one level."""
    numbers = ((_LOG, log), (_PREVIOUS, 0), (_NEXT, next_file), (_SEQUENCE, last))
    edit = wire.encode(_NAME) + _prefixed(_COMPARATOR)
    edit += b"".join(wire.encode(tag) + wire.encode(value) for tag, value in numbers)
    for table in tables:
        edit += b"".join(map(wire.encode, (_NEW, level, table.number, table.size)))
        edit += _prefixed(table.smallest) + _prefixed(table.largest)
    with open(path, "wb") as file:
        file.write(_framed(edit))
        file.flush()
        os.fsync(file.fileno())


def _framed(record: bytes) -> bytes:
    """A record cut into the pieces of a log that begins with it."""
    out, start, first = bytearray(), 0, True
    while first or start < len(record):
        room = _BLOCK - len(out) % _BLOCK
        if room < _HEAD:
            out += bytes(room)
            continue
        part = record[start : start + room - _HEAD]
        start += len(part)
        last = start >= len(record)
        kind = bytes([_WHOLE if first and last else _FIRST if first else _LAST if last else _MIDDLE])
        out += struct.pack("<IH", crc32c.masked(kind + part), len(part)) + kind + part
        first = False
    return bytes(out)


def _apply(version: Version, data: memoryview) -> None:
    """One edit of a MANIFEST."""
    at, end = 0, len(data)
    while at < end:
        tag, at = wire.varint(data, at, end)
        if tag == _NAME:
            name, at = _string(data, at)
            if name != _COMPARATOR:
                raise Corrupt(f"its keys are ordered by {bytes(name).decode(errors='backslashreplace')!r}")
        elif tag in (_LOG, _NEXT, _SEQUENCE, _PREVIOUS):
            value, at = wire.varint(data, at, end)
            version.log = value if tag == _LOG else version.log
            version.previous_log = value if tag == _PREVIOUS else version.previous_log
        elif tag in (_COMPACT, _GONE, _NEW):
            level, at = wire.varint(data, at, end)
            at = _tables(version.levels.setdefault(level, {}), tag, data, at)
        else:
            raise wire.Malformed(at, f"no edit has the tag {tag}")


def _tables(tables: dict[int, TableFile], tag: int, data: memoryview, at: int) -> int:
    end = len(data)
    if tag == _COMPACT:
        return _string(data, at)[1]
    number, at = wire.varint(data, at, end)
    if tag == _GONE:
        tables.pop(number, None)
        return at
    size, at = wire.varint(data, at, end)
    smallest, at = _string(data, at)
    largest, at = _string(data, at)
    tables[number] = TableFile(number, size, bytes(smallest[:-8]), bytes(largest[:-8]))
    return at


def _string(data: memoryview, at: int) -> tuple[memoryview, int]:
    length, at = wire.varint(data, at, len(data))
    if length > len(data) - at:
        raise wire.Malformed(at, f"a string of {length} bytes goes beyond the end")
    return data[at : at + length], at + length


def _prefixed(text: bytes) -> bytes:
    return wire.encode(len(text)) + text
