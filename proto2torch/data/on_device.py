"""Batches that cross to the device as bytes, a quarter of what float32 takes, and are transformed there.

Only what gives the same numbers to the bit is done so: uint8 pixels, of which `(pixel - mean) * scale` is the same two
operations of float32 anywhere. On CUDA they are one kernel, where Triton is there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from proto2torch.data.crop import Pick

if TYPE_CHECKING:
    from proto2torch.data.transform import Transform

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Gathered:
    """Crops (N, C, h, w) of uint8 as the images have them, and of which part of each image, to be mirrored or not."""

    pixels: torch.Tensor
    picks: Sequence[Pick]

    @property
    def places(self) -> Sequence[int]:
        return range(len(self.picks))

    @property
    def extent(self) -> Sequence[int]:
        return self.pixels.shape[2:]


@dataclass(frozen=True)
class Stored:
    """Whole images (M, C, H, W) of uint8 that lie on the device, which of them a batch has, and which part of each."""

    pixels: torch.Tensor
    picks: Sequence[Pick]
    places: Sequence[int]
    extent: Sequence[int]
    """Rows and columns of the parts."""


@dataclass(frozen=True)
class Pending:
    """A batch that `finished` completes: its images, and its labels if it has some."""

    images: Gathered | Stored
    labels: torch.Tensor | None


def finished(transform: Transform, batch: Pending | Tensors, device: torch.device) -> Tensors:
    """The tensors of a batch; what was pending is on `device`."""
    if not isinstance(batch, Pending):
        return batch
    data = transform.finish(batch.images, device)
    return (data,) if batch.labels is None else (data, to_device(batch.labels, device))


def finish(images: Gathered | Stored, device: torch.device, mean: torch.Tensor | None, scale: float) -> torch.Tensor:
    """Crop, subtract, scale and mirror on `device`; the host waits for nothing.

    Args:
        mean: (C, 1, 1) or (1, 1, 1), or (C, H, W) of the whole images; on the device.
    """
    if isinstance(images, Gathered):
        images = Gathered(images.pixels.to(device, non_blocking=True), images.picks)
    launch = kernel(device.type)
    if launch is not None:
        return launch(images, device, mean, scale)
    batch = (_parts(images, mean) if isinstance(images, Stored) else _crops(images, mean)).contiguous()
    if scale != 1:
        batch *= scale
    return batch


@functools.cache
def kernel(kind: str) -> Callable[..., torch.Tensor] | None:
    """What makes a batch with one launch on a kind of device; None where nothing can.

    Triton needs a compiler of C on the machine, and a GPU that is not too old: it is tried, once.
    """
    if kind != "cuda":
        return None
    try:
        pixels = torch.zeros(1, 1, 1, 1, dtype=torch.uint8, device=kind)
        launched(Gathered(pixels, [Pick(0, 0, False)]), pixels.device, None, 1.0)
    except Exception:  # whatever Triton meets: the operations of torch do the same
        return None
    return launched


def launched(images: Gathered | Stored, device: torch.device, mean: torch.Tensor | None, scale: float) -> torch.Tensor:
    """The batch by Triton's kernel; of `Gathered` the pixels lie on the device."""
    from proto2torch.data.kernel import transform

    batch = torch.empty(len(images.picks), images.pixels.shape[1], *images.extent, device=device)
    with torch.cuda.device_of(batch):  # type: ignore[no-untyped-call]
        transform(images.pixels, _chosen(images, torch.int32), mean, scale, batch, cropped=isinstance(images, Gathered))
    return batch


def _chosen(images: Gathered | Stored, dtype: torch.dtype) -> torch.Tensor:
    """(N, 4): the place of each image, top, left and whether it is mirrored."""
    rows = [(place, *pick) for place, pick in zip(images.places, images.picks, strict=True)]
    return to_device(torch.tensor(rows, dtype=dtype), images.pixels.device)


def _crops(gathered: Gathered, mean: torch.Tensor | None) -> torch.Tensor:
    """Crops less the mean, mirrored."""
    batch = gathered.pixels.float()
    if mean is not None:
        batch -= _mean(gathered, mean)
    mirrored = [pick.mirrored for pick in gathered.picks]
    if any(mirrored):
        where = to_device(torch.tensor(mirrored), batch.device).view(-1, 1, 1, 1)
        batch = torch.where(where, batch.flip(-1), batch)
    return batch


def _parts(stored: Stored, mean: torch.Tensor | None) -> torch.Tensor:
    """Parts of stored images less the mean, mirrored."""
    rows, columns = stored.extent
    device = stored.pixels.device
    places, top, left, mirrored = _chosen(stored, torch.int64).unbind(1)
    across = torch.arange(columns, device=device)
    across = left[:, None] + torch.where(mirrored[:, None] != 0, across.flip(0), across)
    down = top[:, None] + torch.arange(rows, device=device)
    batch = stored.pixels[places[:, None, None], :, down[:, :, None], across[:, None, :]].movedim(-1, 1).float()
    if mean is None:
        return batch
    if mean.shape[1:] == (1, 1):
        return batch - mean
    return batch - mean[:, down[:, :, None], across[:, None, :]].transpose(0, 1)


def _mean(gathered: Gathered, mean: torch.Tensor) -> torch.Tensor:
    """The mean of each crop, (N, C, h, w), or one for all."""
    rows, columns = gathered.pixels.shape[2:]
    if mean.shape[1:] in ((1, 1), (rows, columns)):
        return mean
    corners = to_device(torch.tensor([pick[:2] for pick in gathered.picks]), mean.device)
    down = corners[:, :1] + torch.arange(rows, device=mean.device)
    across = corners[:, 1:] + torch.arange(columns, device=mean.device)
    return mean[:, down[:, :, None], across[:, None, :]].transpose(0, 1)


def to_device(small: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on `device`, without a wait."""
    return (small.pin_memory() if device.type == "cuda" else small).to(device, non_blocking=True)
