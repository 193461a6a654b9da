"""Caffe's fillers that torch has no initialiser for."""

import torch
from torch import nn


def bilinear_(tensor):
    """A kernel that interpolates, the same for every pair of channels."""
    size = tensor.shape[-1]
    factor = (size + 1) // 2
    ramp = 1 - (torch.arange(size) / factor - (size - 1) / (2 * factor)).abs()
    return tensor.copy_(ramp * ramp[:, None])


def positive_unitball_(tensor, generator=None):
    """Positive numbers of which each row adds up to 1."""
    rows = torch.rand(tensor.shape, generator=generator).flatten(1)
    return tensor.copy_((rows / rows.sum(1, keepdim=True)).view_as(tensor))


def sparse_normal_(tensor, share, mean=0.0, std=1.0, generator=None):
    """Normal numbers, of which a share stays and the others become 0."""
    nn.init.normal_(tensor, mean, std, generator)
    return tensor.mul_(torch.rand(tensor.shape, generator=generator) < share)
