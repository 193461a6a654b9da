"""Rows of HDF5 files, and of arrays."""

import functools
import os

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset

from proto2torch.train_script.carried.loading import shuffled


@functools.cache
def open_hdf5(path, process):
    """An HDF5 file; another process opens it anew."""
    return h5py.File(path, "r")


class Rows(Dataset):
    """Rows of HDF5 files that a list names, one file after the other, over and over.

    With a `seed`, each pass shuffles the files, and the rows of each.
    """

    def __init__(self, path, names, root="", seed=None):
        with open(path) as file:
            self.paths = [root + name for name in file.read().split()]
        self.names, self.seed = names, seed
        files = [open_hdf5(path, os.getpid()) for path in self.paths]
        self.lengths = [len(file[names[0]]) for file in files]

    def __getitem__(self, number):
        epoch, row = divmod(number, sum(self.lengths))
        for place in self.order(len(self.paths), epoch):
            if row < self.lengths[place]:
                break
            row -= self.lengths[place]
        row = self.order(self.lengths[place], epoch)[row]
        file = open_hdf5(self.paths[place], os.getpid())
        rows = [np.asarray(file[name][row], np.float32) for name in self.names]
        return [torch.from_numpy(row) for row in rows]

    def order(self, count, epoch):
        """In which order one pass takes `count` things."""
        return range(count) if self.seed is None else shuffled(count, epoch, self.seed)


class Arrays(Dataset):
    """Whole batches of the arrays in an .npz file, over and over; `rows` by name."""

    def __init__(self, path, rows):
        with np.load(path) as arrays:
            tensors = {name: torch.from_numpy(arrays[name]) for name in rows}
        for name, tensor in tensors.items():
            if not len(tensor) or len(tensor) % rows[name]:
                raise ValueError(
                    f"{name}: {len(tensor)} rows, in batches of {rows[name]}"
                )
        self.batches = [tensors[name].split(count) for name, count in rows.items()]

    def __getitem__(self, number):
        return [batches[number % len(batches)] for batches in self.batches]
