"""MNIST's idx files to a database, record for record as Caffe's convert_mnist_data writes it.

An idx file begins with big-endian numbers of four bytes: 2051, count, rows and columns for images, 2049 and count for
labels; one byte a pixel or label follows. Record i has the key `%08d` of i and is a Datum of 1 x rows x columns bytes.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from proto2torch.data import datum
from proto2torch.data.new_database import new_database
from proto2torch.data.progress import Progress
from proto2torch.data.records import LMDB
from proto2torch.errors import DataError, Where, unreadable

_IMAGES, _LABELS = 2051, 2049
_WHAT = {_IMAGES: "images", _LABELS: "labels"}
_GZIP = b"\x1f\x8b"


def convert_mnist(images: str, labels: str, db: str, backend: str = LMDB) -> int:
    """Write images and labels, plain or gzipped idx files, to a new database folder `db`; gives their number.

    The folder appears when all is written.

    Raises:
        DataError: a file is not what it should be, the counts differ, or `db` exists.
        RunError: the database cannot be written.
    """
    pixels = _read_idx(images, _IMAGES)
    digits = _read_idx(labels, _LABELS)
    if len(pixels) != len(digits):
        message = f"expected as many labels as there are images in {images}, {len(pixels)}. Received: {len(digits)}"
        raise DataError(message, where=Where(file=labels))
    if not len(pixels):
        raise DataError("it holds no images", where=Where(file=images))
    with Progress(len(pixels)) as progress, new_database(db, backend) as database:
        for index, (image, digit) in enumerate(zip(pixels, digits.tolist(), strict=True)):
            database.put(b"%08d" % index, datum.write(image[None], digit))
            progress.step()
    return len(pixels)


class _Header(NamedTuple):
    magic: int
    extent: tuple[int, ...]
    length: int


def _read_idx(path: str, magic: int) -> NDArray[np.uint8]:
    """Images (count, rows, columns) or labels (count,)."""
    contents = _contents(path)
    header = _header(contents, path, magic)
    expected = header.length + math.prod(header.extent)
    if len(contents) != expected:
        fault = "is cut short" if len(contents) < expected else "goes on after its end"
        extent = " x ".join(map(str, header.extent))
        message = f"the file {fault}: expected {expected} bytes for {extent} {_WHAT[magic]}. Received: {len(contents)}"
        raise DataError(message, where=Where(file=path))
    return np.frombuffer(contents, np.uint8, offset=header.length).reshape(header.extent)


def _header(contents: bytes, path: str, magic: int) -> _Header:
    axes = 3 if magic == _IMAGES else 1
    length = 4 * (1 + axes)
    received = struct.unpack_from(">I", contents)[0] if len(contents) >= 4 else None
    if received in _WHAT and received != magic:
        message = f"expected {_WHAT[magic]} (magic number {magic}). Received: {_WHAT[received]} ({received})"
        raise DataError(message, where=Where(file=path), hint="images come first, then labels")
    if received != magic:
        text = f"{len(contents)} bytes" if received is None else str(received)
        raise DataError(f"not an idx file: expected the magic number {magic}. Received: {text}", where=Where(file=path))
    if len(contents) < length:
        message = f"the file is cut short: its header has {length} bytes. Received: {len(contents)}"
        raise DataError(message, where=Where(file=path))
    extent = struct.unpack_from(f">{axes}I", contents, 4)
    if axes == 3 and extent[0] and not (extent[1] and extent[2]):
        message = f"an image must have at least 1 x 1 pixels. Received: {extent[1]} x {extent[2]}"
        raise DataError(message, where=Where(file=path))
    return _Header(received, extent, length)


def _contents(path: str) -> bytes:
    """The bytes of a file, unpacked where they are gzipped."""
    try:
        with open(path, "rb") as file:
            contents = file.read()
        return gzip.decompress(contents) if contents.startswith(_GZIP) else contents
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"the gzip file is damaged: {error}", where=Where(file=path)) from error
    except OSError as error:
        unreadable(path, error, DataError)
