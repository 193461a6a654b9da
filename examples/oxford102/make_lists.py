#!/usr/bin/env python3
"""Write data/train.txt, valid.txt and test.txt from the .mat files of the Oxford 102 flowers: "path label" lines.

setid.mat has the numbers of the images of each split (trnid, valid, tstid), imagelabels.mat the class of every image;
both count from 1, labels in the lists from 0. Image 5 is data/jpg/image_00005.jpg.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent / "data"
LISTS = {"train.txt": "trnid", "valid.txt": "valid", "test.txt": "tstid"}
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


def read_mat(path: Path) -> dict[str, np.ndarray]:
    """The arrays of numbers in a MATLAB file of version 5, compressed or not; other variables are left out.

    The format: a header of 128 bytes, then elements of a type, a number of bytes, and contents padded to 8 bytes.
    """
    contents = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(contents[126:128])
    if order is None:
        raise ValueError(f"{path} is no MATLAB file of version 5")
    found = {}
    for kind, element in elements(contents[128:], order):
        if kind == COMPRESSED:
            kind, element = next(elements(zlib.decompress(element), order))
        if kind == MATRIX:
            _, (_, extents), (_, name), (values, data), *_ = [*elements(element, order), *[(0, b"")] * 4]
            if values in NUMBERS:
                shape = struct.unpack(f"{order}{len(extents) // 4}i", extents)
                found[name.decode()] = np.frombuffer(data, order + NUMBERS[values]).reshape(shape, order="F")
    return found


def elements(contents: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The type and contents of each element; one of four bytes or less has both counts in its first word."""
    at = 0
    while at + 8 <= len(contents):
        kind, size = struct.unpack_from(f"{order}2I", contents, at)
        if kind >> 16:
            yield kind & 0xFFFF, contents[at + 4 : at + 4 + (kind >> 16)]
            at += 8
        else:
            yield kind, contents[at + 8 : at + 8 + size]
            at += 8 + (size if kind == COMPRESSED else -(-size // 8) * 8)


def lines(numbers: np.ndarray, labels: np.ndarray) -> list[str]:
    """A line for each image number, in order."""
    return [f"{DATA}/jpg/image_{number:05}.jpg {labels[number - 1] - 1}" for number in numbers.reshape(-1).tolist()]


def main() -> int:
    try:
        splits, labels = read_mat(DATA / "setid.mat"), read_mat(DATA / "imagelabels.mat")["labels"].reshape(-1)
    except FileNotFoundError as error:
        print(f"error: {error.filename} is not there: README.md says where it comes from", file=sys.stderr)
        return 2
    for name, split in LISTS.items():
        made = lines(splits[split].astype(int), labels.astype(int))
        (DATA / name).write_text("".join(f"{line}\n" for line in made))
        print(f"{name}: {len(made)} images")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
