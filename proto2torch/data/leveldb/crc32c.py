"""CRC-32C, the checksum of LevelDB's blocks, in numpy.

The checksum is linear: a byte `b` that has k bytes after it adds `_table()[k][b]` (by exclusive or), whatever the other
bytes are. So a row of 1024 bytes is one look-up for each byte, and rows follow one another as a single state does.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_ROW = 1024
_ROWS = 64  # worked on at once: they fit the processor's cache
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8


def checksum(data: bytes | memoryview) -> int:
    """The CRC-32C of `data`."""
    if len(data) < 4:
        return _bytewise(bytes(data))
    lead = -len(data) % _ROW  # zeros before the data leave a state of zero as it is
    padded = np.zeros(lead + len(data), np.uint8)
    padded[lead:] = np.frombuffer(data, np.uint8)
    padded[lead : lead + 4] ^= 0xFF  # the state starts at all ones
    table = _table()
    flat, places = table.ravel(), np.arange(_ROW - 1, -1, -1, dtype=np.int32) * 256
    a, b, c, d = (table[_ROW - 1 - i].tolist() for i in range(4))
    state = 0
    rows = padded.reshape(-1, _ROW)
    for start in range(0, len(rows), _ROWS):
        parts = np.bitwise_xor.reduce(flat[places + rows[start : start + _ROWS]], axis=1)
        for part in parts.tolist():
            state = a[state & 255] ^ b[state >> 8 & 255] ^ c[state >> 16 & 255] ^ d[state >> 24] ^ part
    return state ^ _ONES


def masked(data: bytes | memoryview) -> int:
    """The checksum as LevelDB stores it: rotated by 15 bits and moved by a constant."""
    crc = checksum(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _ONES


def _bytewise(data: bytes) -> int:
    first = _table()[0].tolist()
    state = _ONES
    for byte in data:
        state = first[(state ^ byte) & 255] ^ state >> 8
    return int(state ^ _ONES)


@cache
def _table() -> NDArray[np.uint32]:
    """(1024, 256): what a byte adds that has k bytes after it."""
    table = np.empty((_ROW, 256), np.uint32)
    state = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        state = np.where(state & 1, state >> 1 ^ np.uint32(_POLYNOMIAL), state >> 1)
    table[0] = first = state
    for k in range(1, _ROW):
        state = first[state & 255] ^ state >> 8
        table[k] = state
    return table
