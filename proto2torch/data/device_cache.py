"""Images that stay on the device: those of a database that fits come there whole, once, and are cropped there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data.crop import Pick
from proto2torch.data.on_device import Pending, Stored
from proto2torch.ir.graph import Shape

SHARE = 0.25
"""Of the memory that is free on the device once the training has taken its own."""
_FIRST = 16  # batches of a training; it has taken its memory when they are made, some of them ahead


def free(device: torch.device) -> int:
    """The bytes that are free on a device; 0 on the CPU, whose memory holds the database as it is."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def fits(count: int, shape: Shape, device: torch.device) -> bool:
    """Whether `count` images of one shape, in bytes, may stay on the device."""
    return count * math.prod(shape) <= SHARE * free(device)


def settled(phase: str, batches: int, size: int, count: int) -> bool:
    """Whether the memory that is free then is what a training leaves, after so many batches of a size.

    The first pass of a test may come before the first step.
    """
    return batches >= _FIRST if phase == "TRAIN" else batches * size >= count


@dataclass(frozen=True)
class Arriving:
    """A batch whose images come to the device whole, and stay."""

    cache: DeviceCache
    images: torch.Tensor
    """(N, C, H, W) of uint8, on the host."""
    labels: torch.Tensor
    places: Sequence[int]
    picks: Sequence[Pick]

    def stored(self) -> Pending:
        """The batch, its images on the device."""
        self.cache.keep(self.places, self.images, self.labels)
        return self.cache.batch(self.places, self.picks)


class DeviceCache:
    """The images of a database, as far as they have come.

    A thread may ask what has come and prepare batches while another keeps more: what has come stays.
    """

    def __init__(self, count: int, shape: Shape, extent: Sequence[int], labelled: bool, device: torch.device) -> None:
        """Of images (C, H, W) batches take parts of `extent`; those that are `labelled` have labels too."""
        self.count, self.shape = count, shape
        self._extent, self._labelled = extent, labelled
        self._pixels = torch.empty(count, *shape, dtype=torch.uint8, device=device)
        self._labels = np.zeros(count, np.float32)
        self._came: NDArray[np.bool_] = np.zeros(count, np.bool_)

    def places(self, first: int, size: int) -> list[int]:
        """Where the images of a batch lie; after the last one comes the first again."""
        return [number % self.count for number in range(first, first + size)]

    def has(self, places: Sequence[int]) -> bool:
        """Whether all of them have come."""
        return bool(self._came[places].all())

    def keep(self, places: Sequence[int], images: torch.Tensor, labels: torch.Tensor) -> None:
        """Take in images that lie one behind the other, without a wait."""
        at = 0
        while at < len(places):
            start = places[at]
            some = min(self.count - start, len(places) - at)
            self._pixels[start : start + some].copy_(images[at : at + some], non_blocking=True)
            at += some
        self._labels[places] = labels.numpy()
        self._came[places] = True

    def batch(self, places: Sequence[int], picks: Sequence[Pick]) -> Pending:
        """A batch of images that have come."""
        labels = torch.from_numpy(self._labels[places]) if self._labelled else None
        return Pending(Stored(self._pixels, picks, places, self._extent), labels)
