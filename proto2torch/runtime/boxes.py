"""SSD's boxes: the priors at each cell, and how predictions are told from them."""

import math

import torch
from torch import nn


def both(value):
    """A pair, of one number for both."""
    return value if isinstance(value, tuple) else (value, value)


def prior_sides(min_size, max_size, ratios):
    """Width and height of each box at a cell, in Caffe's order."""
    sides = []
    for i, least in enumerate(min_size):
        sides.append((least, least))
        if max_size:
            sides.append((math.sqrt(least * max_size[i]),) * 2)
        for ratio in ratios[1:]:
            sides.append((least * math.sqrt(ratio), least / math.sqrt(ratio)))
    return sides


def prior_boxes(grid, image, sides, variances, step=None, offset=0.5, clip=False):
    """Boxes at the centre of each cell of a grid, as shares of the image.

    (1, 2, rows * columns * len(sides) * 4): corners, then variances.
    """
    (rows, columns), (height, width) = grid, image
    step_h, step_w = both(step or (height / rows, width / columns))
    y = (torch.arange(rows, device="cpu") + offset) * step_h
    x = (torch.arange(columns, device="cpu") + offset) * step_w
    centre = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[:, :, None]
    half = torch.tensor(sides, device="cpu") / 2
    size = torch.tensor((width, height), device="cpu")
    boxes = torch.cat([(centre - half) / size, (centre + half) / size], -1)
    boxes = boxes.clamp(0, 1) if clip else boxes
    spread = torch.tensor(variances, device="cpu").expand(4).expand_as(boxes)
    return torch.stack([boxes.flatten(), spread.flatten()])[None]


class PriorBoxes(nn.Module):
    """The priors of a feature map, made once; made anew for sizes that differ."""

    def __init__(
        self,
        grid,
        image,
        min_size,
        max_size=(),
        ratios=(1,),
        variances=(0.1,),
        **options,
    ):
        super().__init__()
        self.grid, self.image, self.options = both(grid), both(image), options
        self.options["sides"] = prior_sides(min_size, max_size, ratios)
        self.options["variances"] = variances
        boxes = prior_boxes(self.grid, self.image, **self.options)
        self.register_buffer("boxes", boxes, persistent=False)

    def forward(self, x, image=None):
        grid, size = x.shape[2:], self.image if image is None else image.shape[2:]
        if (*grid, *size) == (*self.grid, *self.image):
            return self.boxes
        return prior_boxes(grid, size, **self.options).to(self.boxes)
