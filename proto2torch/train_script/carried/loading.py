"""Batches of a Dataset that never ends."""

import functools
import sys

import torch
from torch.utils.data import DataLoader, Dataset


def batches(dataset, size, first, device, workers):
    """Batches from record `first` on, the records in order and over and over."""
    records = range(first, sys.maxsize)
    seeds = torch.Generator()  # the workers', so that none is drawn from torch's own
    loader = DataLoader(
        dataset,
        size,
        sampler=records,
        num_workers=workers,
        pin_memory=torch.device(device).type == "cuda",
        generator=seeds,
    )
    for batch in loader:
        yield [tensor.to(device, non_blocking=True).float() for tensor in batch]


def joined(*feeds):
    """Batches of several feeds as one."""
    for parts in zip(*feeds):
        yield [tensor for part in parts for tensor in part]


def picked(feed, places):
    """Of each batch the tensors that the net reads."""
    for batch in feed:
        yield [batch[place] for place in places]


class Augmented(Dataset):
    """Images that `transform` changes by random numbers, a record's own each time."""

    def __init__(self, dataset, transform, seed):
        self.dataset, self.transform, self.seed = dataset, transform, seed

    def __getitem__(self, number):
        image, label = self.dataset[number]
        draws = torch.Generator().manual_seed(self.seed + number)
        return self.transform(image, draws), label


@functools.lru_cache(maxsize=8)
def shuffled(count, epoch, seed):
    """The order of `count` things in one pass."""
    draws = torch.Generator().manual_seed(seed + epoch)
    return torch.randperm(count, generator=draws).tolist()


class Shuffled(Dataset):
    """The items of a dataset in another order each pass; the first may begin later."""

    def __init__(self, dataset, seed, skip=0):
        self.dataset, self.seed, self.skip = dataset, seed, skip

    def __getitem__(self, number):
        epoch, place = divmod(number + self.skip, len(self.dataset))
        return self.dataset[shuffled(len(self.dataset), epoch, self.seed)[place]]
