"""A checksum at the end of our own binary files: a field that Caffe's schema does not know, which protobuf skips.

It is the sum of all bytes before it as 64-bit little-endian words (the last one filled with zeros), and their number,
modulo 2^64: any single flipped bit changes it, and it is as fast as reading. A program that reads a file with protobuf,
changes it and writes it again keeps the field as it was; the error then says how to go on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from proto2torch.errors import Proto2TorchError, Where
from proto2torch.prototxt.binary import SEAL
from proto2torch.weights import wire

FIELD = 7_433_001
"""The number of the field, in NetParameter and in SolverState; Caffe and its forks have none near it."""
_MODULUS = 1 << 64
_PIECE = 16 << 20  # bytes that are in memory at once


class Checksum:
    """The checksum of bytes that come in parts."""

    def __init__(self) -> None:
        self._sum = self._count = 0
        self._rest = b""

    def add(self, part: Any) -> None:
        """Add the next bytes."""
        data = memoryview(part)
        self._count += len(data)
        if self._rest:
            missing = min(8 - len(self._rest), len(data))
            self._rest += bytes(data[:missing])
            data = data[missing:]
            if len(self._rest) < 8:
                return
            self._sum += int.from_bytes(self._rest, "little")
            self._rest = b""
        words = len(data) // 8
        self._sum += int(np.frombuffer(data, "<u8", words).sum(dtype=np.uint64)) if words else 0
        self._rest = bytes(data[8 * words :])

    def value(self) -> int:
        """The checksum of what was added."""
        return (self._sum + int.from_bytes(self._rest, "little") + self._count) % _MODULUS

    def field(self) -> bytes:
        """The field to write behind what was added."""
        return SEAL + self.value().to_bytes(8, "little")


def verify(data: memoryview, field: wire.Field, path: str, kind: type[Proto2TorchError]) -> None:
    """Raise `kind` where the bytes before `field` are others than were written."""
    found = Checksum()
    for start in range(0, field.offset, _PIECE):
        end = min(start + _PIECE, field.offset)
        found.add(data[start:end])
        wire.release(data, start, end)
    if int.from_bytes(data[field.start : field.end], "little") != found.value():
        raise kind(
            "it is damaged: its bytes are not those that were written (the checksum differs)",
            where=Where(file=path),
            hint="take another copy; or, where a program changed it on purpose, p2t.read_weights(path, check=False)",
        )
