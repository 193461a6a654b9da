"""The Datums of an LMDB."""

import functools
import os

import lmdb
import numpy as np
import torch
from torch.utils.data import Dataset

from proto2torch.train_script.carried.pictures import decoded


def varint(message, at):
    """The number that begins at a byte of a protobuf message, and where it ends."""
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def message_fields(message):
    """The values of a protobuf message by field number: whole numbers, or bytes."""
    found, at = {}, 0
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 0:
            value, at = varint(message, at)
        elif key & 7 in (2, 5):  # bytes of any length, or four
            size, at = varint(message, at) if key & 7 == 2 else (4, at)
            value, at = message[at : at + size], at + size
        else:
            raise ValueError("a record of the database is not a Datum")
        found.setdefault(key >> 3, []).append(value)
    return found


def read_datum(record):
    """The pixels (C, H, W) and the label of Caffe's Datum."""
    fields = message_fields(record)
    shape = [fields.get(number, [0])[-1] for number in (1, 2, 3)]
    label = (fields.get(5, [0])[-1] + 2**31) % 2**32 - 2**31  # an int32
    if fields.get(7, [0])[-1]:
        return decoded(fields[4][-1]), label
    if fields.get(4, [b""])[-1]:
        pixels = np.frombuffer(fields[4][-1], np.uint8)
    else:
        pixels = np.frombuffer(b"".join(fields.get(6, [])), "<f4")
    return torch.from_numpy(pixels.reshape(shape).copy()), label


def read_raw_datum(record):
    """The pixels (C, H, W) and the label of Caffe's Datum, of bytes as they are."""
    fields = message_fields(record)
    shape = [fields[number][-1] for number in (1, 2, 3)]
    label = (fields.get(5, [0])[-1] + 2**31) % 2**32 - 2**31  # an int32
    pixels = np.frombuffer(fields[4][-1], np.uint8).reshape(shape)
    return torch.from_numpy(pixels.copy()), label


@functools.cache
def open_database(path):
    """An LMDB, which a process can open only once."""
    return lmdb.open(path, readonly=True, lock=False, readahead=False)


class Database(Dataset):
    """Images and labels of an LMDB in the order of its keys, over and over."""

    def __init__(self, path, transform=None):
        self.path, self.transform = os.path.realpath(path), transform
        with open_database(self.path).begin() as transaction:
            self.keys = list(transaction.cursor().iternext(values=False))

    def __getitem__(self, number):
        key = self.keys[number % len(self.keys)]
        with open_database(self.path).begin() as transaction:
            image, label = read_datum(transaction.get(key))
        return (self.transform(image) if self.transform else image), label
