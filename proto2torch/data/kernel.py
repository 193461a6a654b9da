"""Images of bytes to a float32 batch by one kernel: crop, mirror, mean and scale.

Triton comes with torch's CUDA wheels; where it is missing this module cannot be imported.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 1024
MOST_IMAGES = 65535  # of a launch


@triton.jit
def _transform(
    pixels,
    picks,
    mean,
    batch,
    scale,
    channels,
    rows,
    columns,
    whole_rows,
    whole_columns,
    mean_rows,
    mean_columns,
    mean_step,
    CROPPED: tl.constexpr,
    MEAN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    image = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    size = channels * rows * columns
    inside = at < size
    x, y, channel = at % columns, at // columns % rows, at // columns // rows
    place = tl.load(picks + 4 * image).to(tl.int64)
    top, left = tl.load(picks + 4 * image + 1), tl.load(picks + 4 * image + 2)
    x = tl.where(tl.load(picks + 4 * image + 3) != 0, columns - 1 - x, x)
    source = (channel * whole_rows + y) * whole_columns + x
    if not CROPPED:
        source += top * whole_columns + left
    source += place * channels * whole_rows * whole_columns
    value = tl.load(pixels + source, mask=inside, other=0).to(tl.float32)
    if MEAN == "channel":
        value -= tl.load(mean + channel * mean_step, mask=inside, other=0.0)
    if MEAN == "image":
        value -= tl.load(mean + (channel * mean_rows + top + y) * mean_columns + left + x, mask=inside, other=0.0)
    tl.store(batch + image * size + at, value * scale, mask=inside)


def transform(
    pixels: torch.Tensor,
    picks: torch.Tensor,
    mean: torch.Tensor | None,
    scale: float,
    batch: torch.Tensor,
    *,
    cropped: bool,
) -> None:
    """Fill `batch` (N, C, h, w) of float32: (pixel - mean) * scale.

    Args:
        pixels: uint8, (M, C, H, W); with `cropped`, (M, C, h, w) of crops that have been taken.
        picks: int32, (N, 4): the place in `pixels`, top and left of the crop, and whether it is mirrored.
        mean: (C, 1, 1) or (1, 1, 1), or (C, H, W) of the whole images.
    """
    count, channels, rows, columns = batch.shape
    image = mean is not None and mean.shape[1:] != (1, 1)
    grid = (triton.cdiv(channels * rows * columns, BLOCK), count)
    _transform[grid](
        pixels,
        picks,
        picks if mean is None else mean,  # of no mean nothing is read
        batch,
        scale,
        channels,
        rows,
        columns,
        *pixels.shape[2:],
        *((1, 1) if mean is None else mean.shape[1:]),
        0 if mean is None or len(mean) == 1 else 1,
        CROPPED=cropped,
        MEAN="none" if mean is None else "image" if image else "channel",
        BLOCK=BLOCK,
    )
