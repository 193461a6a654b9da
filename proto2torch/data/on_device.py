"""Batches that cross to the device as bytes, a quarter of what float32 takes, and are transformed there.

Only what gives the same numbers to the bit is done so: uint8 pixels, of which `(pixel - mean) * scale` is the same two
operations of float32 anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True)
class Pending:
    """A batch that `finished` completes: its images, and its labels if it has some."""

    images: Gathered
    labels: torch.Tensor | None


def finished(transform: Transform, batch: Pending | Tensors, device: torch.device) -> Tensors:
    """The tensors of a batch; what was pending is on `device`."""
    if not isinstance(batch, Pending):
        return batch
    data = transform.finish(batch.images, device)
    return (data,) if batch.labels is None else (data, to_device(batch.labels, device))


def finish(gathered: Gathered, device: torch.device, mean: torch.Tensor | None, scale: float) -> torch.Tensor:
    """Subtract, scale and mirror on `device`; the host waits for nothing.

    Args:
        mean: (C, 1, 1) or (1, 1, 1), or (C, H, W) of the whole images; on the device.
    """
    batch = gathered.pixels.to(device, non_blocking=True).float()
    if mean is not None:
        batch -= _mean(gathered, mean)
    if scale != 1:
        batch *= scale
    mirrored = [pick.mirrored for pick in gathered.picks]
    if any(mirrored):
        where = to_device(torch.tensor(mirrored), device).view(-1, 1, 1, 1)
        batch = torch.where(where, batch.flip(-1), batch)
    return batch


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
