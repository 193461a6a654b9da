from __future__ import annotations

import numpy as np
import pytest

from proto2torch.data.leveldb import crc32c


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"a", 0xC1D04330),
        (b"", 0),
    ],
)
def test_published_checksums(data: bytes, expected: int) -> None:
    """Of RFC 3720, B.4, and of the CRC catalogue."""
    assert crc32c.checksum(data) == expected


@pytest.mark.parametrize("length", [1, 3, 4, 1023, 1024, 1025, 65535, 70000])
def test_against_the_definition_bit_by_bit(length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    assert crc32c.checksum(memoryview(data)) == state ^ 0xFFFFFFFF
