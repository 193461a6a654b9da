"""A table of a LevelDB, one .ldb (or .sst) file: records in the order of their keys, in blocks with checksums.

The last 48 bytes of the file say where the index lies; the index is a block whose values are the places of the blocks
of records. A block is a run of entries, each with what its key shares with the one before, then the places of the
entries that share nothing; after it one byte for the compression (0 none, 1 Snappy) and four for the checksum.
"""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from proto2torch.data.leveldb import crc32c, snappy
from proto2torch.weights import wire

_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_TRAILER = 5
_RAW, _SNAPPY = 0, 1
DELETION, VALUE = 0, 1
"""What the last byte of an internal key says of a record."""


class Corrupt(ValueError):
    """A file of a LevelDB that is not what it should be; the message says where."""


class Record(NamedTuple):
    """A record, or the note that an older one of its key is gone."""

    key: bytes
    sequence: int
    kind: int
    value: memoryview


class Handle(NamedTuple):
    """Where a block lies in its file."""

    offset: int
    size: int


class Table:
    """One file, mapped. What it gives stays valid as long as something refers to it."""

    def __init__(self, path: str) -> None:
        self.path = path
        size = os.path.getsize(path)
        if size < _FOOTER:
            raise Corrupt(
                f"{os.path.basename(path)} is cut short: a table has {_FOOTER} bytes or more. Received: {size}"
            )
        with open(path, "rb") as file:
            self._data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if int.from_bytes(self._data[-8:], "little") != _MAGIC:
            raise self._corrupt("its last bytes are not those of a table: the file is damaged or cut short")
        try:
            _, at = _handle(self._data, len(self._data) - _FOOTER)
            index, _ = _handle(self._data, at)
            places = [(key[:-8], _handle(value, 0)[0]) for key, value in self.entries(self.block(index))]
        except wire.Malformed as error:
            raise self._corrupt(f"its index is damaged ({error.reason})") from error

        self._last = [key for key, _ in places]  # no block has a later key
        self.handles = [handle for _, handle in places]
        self._kept: tuple[int, list[Record]] = (-1, [])  # the block that `find` read last

    def find(self, key: bytes) -> Record | None:
        """The newest record of a key."""
        number = bisect_left(self._last, key)
        if number == len(self.handles):
            return None
        if self._kept[0] != number:
            self._kept = number, list(self.records(self.handles[number]))
        return next((record for record in self._kept[1] if record.key == key), None)

    def __iter__(self) -> Iterator[Record]:
        for handle in self.handles:
            yield from self.records(handle)

    def records(self, handle: Handle) -> Iterator[Record]:
        """The records of a block."""
        for key, value in self.entries(self.block(handle)):
            if len(key) < 8:
                raise self._corrupt(f"the block at byte {handle.offset} has a key without a sequence number")
            number = int.from_bytes(key[-8:], "little")
            yield Record(key[:-8], number >> 8, number & 255, value)

    def block(self, handle: Handle) -> memoryview:
        """The contents of a block, its checksum verified."""
        offset, size = handle
        end = offset + size
        if end + _TRAILER > len(self._data):
            raise self._corrupt(f"the block at byte {offset} goes beyond the end: the file is cut short")
        if crc32c.masked(self._data[offset : end + 1]) != int.from_bytes(self._data[end + 1 : end + 5], "little"):
            raise self._corrupt(f"the checksum of the block at byte {offset} is wrong: the file is damaged")
        compression = self._data[end]
        if compression == _RAW:
            return self._data[offset:end]
        if compression != _SNAPPY:
            raise self._corrupt(f"the block at byte {offset} has an unknown compression, number {compression}")
        try:
            return memoryview(snappy.unpack(bytes(self._data[offset:end])))
        except snappy.Damaged as error:
            raise self._corrupt(f"the block at byte {offset}: {error}") from error

    def entries(self, block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
        """Keys and values of a block."""
        restarts = int.from_bytes(block[-4:], "little") if len(block) >= 4 else -1
        end = len(block) - 4 * (restarts + 1)
        if restarts < 0 or end < 0:
            raise self._corrupt("a block has no table of restarts")
        key, at = b"", 0
        try:
            while at < end:
                shared, at = wire.varint(block, at, end)
                own, at = wire.varint(block, at, end)
                length, at = wire.varint(block, at, end)
                if shared > len(key) or own + length > end - at:
                    raise self._corrupt("an entry of a block goes beyond its end")
                key = key[:shared] + bytes(block[at : at + own])
                at += own
                yield key, block[at : at + length]
                at += length
        except wire.Malformed as error:
            raise self._corrupt(f"an entry of a block is damaged ({error.reason})") from error

    def _corrupt(self, message: str) -> Corrupt:
        return Corrupt(f"{os.path.basename(self.path)}: {message}")


class TableWriter:
    """Writes a table; keys must come in ascending order. Blocks are not compressed: images hardly shrink."""

    BLOCK = 1 << 16
    _RESTART = 16

    def __init__(self, path: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115
        self._index: list[tuple[bytes, bytes]] = []
        self._entries: list[tuple[bytes, bytes | memoryview]] = []
        self._pending = 0
        self.size = 0
        self.smallest = self.largest = b""

    def add(self, key: bytes, sequence: int, value: bytes | memoryview) -> None:
        internal = key + (sequence << 8 | VALUE).to_bytes(8, "little")
        self.smallest = self.smallest or internal
        self.largest = internal
        self._entries.append((internal, value))
        self._pending += len(internal) + len(value)
        if self._pending >= self.BLOCK:
            self._flush()

    def finish(self) -> None:
        """Write what is left, the index and the footer."""
        self._flush()
        meta = self._block(_block([], self._RESTART))
        index = self._block(_block(self._index, 1))
        self._write((meta + index).ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", _MAGIC))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Close the file, whether it is whole or not."""
        self._file.close()

    def _flush(self) -> None:
        if self._entries:
            self._index.append((self._entries[-1][0], self._block(_block(self._entries, self._RESTART))))
            self._entries, self._pending = [], 0

    def _block(self, contents: bytes) -> bytes:
        """Write a block; its handle, encoded."""
        handle = wire.encode(self.size) + wire.encode(len(contents))
        contents += bytes([_RAW])
        self._write(contents + struct.pack("<I", crc32c.masked(contents)))
        return handle

    def _write(self, contents: bytes) -> None:
        self._file.write(contents)
        self.size += len(contents)


def _block(entries: list[tuple[bytes, bytes | memoryview]] | list[tuple[bytes, bytes]], interval: int) -> bytes:
    """The bytes of a block; every `interval`-th entry has its whole key."""
    parts: list[bytes | memoryview] = []
    restarts, size, before = [], 0, b""
    for number, (key, value) in enumerate(entries):
        if number % interval == 0:
            restarts.append(size)
            before = b""
        shared = _shared(before, key)
        head = wire.encode(shared) + wire.encode(len(key) - shared) + wire.encode(len(value)) + key[shared:]
        parts += [head, value]
        size += len(head) + len(value)
        before = key
    restarts = restarts or [0]
    return b"".join(parts) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _handle(data: memoryview, at: int) -> tuple[Handle, int]:
    offset, at = wire.varint(data, at, len(data))
    size, at = wire.varint(data, at, len(data))
    return Handle(offset, size), at
