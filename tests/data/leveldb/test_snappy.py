from __future__ import annotations

import pytest

from proto2torch.data.leveldb import snappy


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (b"\x00", b""),
        (b"\x03\x08abc", b"abc"),
        (b"\x08\x0cabcd\x01\x04", b"abcdabcd"),  # 4 bytes from 4 back, offset of 11 bits
        (b"\x09\x04ab\x1a\x02\x00", b"ababababa"),  # 7 from 2 back, which overlap themselves
        (b"\x06\x08xyz\x0b\x03\x00\x00\x00", b"xyzxyz"),  # offset of 32 bits
        (b"\xac\x02\xf0\x3d" + b"q" * 62 + b"\xfe\x01\x00" * 3 + b"\xb6\x01\x00", b"q" * 300),
        (b"\x80\x02\xf4\xff\x00" + bytes(range(256)), bytes(range(256))),
    ],
)
def test_pieces(packed: bytes, expected: bytes) -> None:
    assert snappy.unpack(packed) == expected


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "cut short"),
        (b"\x80", "cut short"),
        (b"\xff\xff\xff\xff\xff\x01", "its length is too long"),
        (b"\xff\xff\xff\xff\x0f\x00a", "larger than any that is written"),
        (b"\x05\x10ab", "cut short"),
        (b"\x05\x04ab", "expected 5 bytes. Received: 2"),
        (b"\x01\x04ab", "expected 1 bytes. Received: 2"),
        (b"\x08\x00a\x01\x04", "copies from before its beginning"),
        (b"\x08\x00a\x01\x00", "copies from before its beginning"),
        (b"\x08\x00a\x01", "cut short"),
    ],
)
def test_damage(packed: bytes, message: str) -> None:
    with pytest.raises(snappy.Damaged, match=message):
        snappy.unpack(packed)
