"""CIFAR-10's binary files to two databases, record for record as Caffe's convert_cifar_data writes them.

A file holds 10000 records of one byte label and 3 x 32 x 32 bytes, red before blue. Record i has the key `%05d` of i.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from proto2torch.data import datum
from proto2torch.data.new_database import new_database
from proto2torch.data.progress import Progress
from proto2torch.data.records import LMDB
from proto2torch.errors import DataError, Where, unreadable

_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_PARTS = {"train": [f"data_batch_{n}.bin" for n in range(1, 6)], "test": ["test_batch.bin"]}


def convert_cifar10(folder: str, out: str, backend: str = LMDB) -> dict[str, int]:
    """Write `out`/cifar10_train_<backend> and `out`/cifar10_test_<backend>; gives the number of images in each.

    Raises:
        DataError: a file is absent or not what it should be, or a database exists.
        RunError: a database cannot be written.
    """
    names = {part: os.path.join(out, f"cifar10_{part}_{backend}") for part in _PARTS}
    for name in names.values():
        if os.path.lexists(name):
            raise DataError("there is something already: remove it, or choose another name", where=Where(file=name))
    contents = {part: [_read(os.path.join(folder, file)) for file in files] for part, files in _PARTS.items()}
    return {names[part]: _write(names[part], np.concatenate(files), backend) for part, files in contents.items()}


def _write(path: str, records: NDArray[np.uint8], backend: str) -> int:
    with Progress(len(records)) as progress, new_database(path, backend) as database:
        for number, record in enumerate(records):
            database.put(b"%05d" % number, datum.write(record[1:].reshape(_SHAPE), int(record[0])))
            progress.step()
    return len(records)


def _read(path: str) -> NDArray[np.uint8]:
    """Records (n, 3073)."""
    try:
        contents = np.fromfile(path, np.uint8)
    except OSError as error:
        unreadable(path, error, DataError)
    if not len(contents) or len(contents) % _RECORD:
        message = f"expected a multiple of {_RECORD} bytes, a label and 3 x 32 x 32 pixels each. Received:"
        raise DataError(f"{message} {len(contents)}", where=Where(file=path))
    return contents.reshape(-1, _RECORD)
