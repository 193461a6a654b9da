"""Where torch's fused kernels may make an update: they read and write each tensor once, and so cost a fraction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_DEVICES = ("cpu", "cuda")


def fusible(*lists: Sequence[Tensor]) -> bool:
    """Whether a fused kernel computes rightly over `lists`: parameters, their gradients, their histories.

    All must be of one dtype on one device that has the kernels. Those of one parameter must lie in memory alike: the
    kernels walk the memory, whatever the strides are.
    """
    first = lists[0][0]
    if first.device.type not in _DEVICES or not first.is_floating_point():
        return False
    same = all(t.dtype == first.dtype and t.device == first.device for tensors in lists for t in tensors)
    return same and all(_alike(tensors) for tensors in zip(*lists, strict=True))


def _alike(tensors: Sequence[Tensor]) -> bool:
    if all(t.is_contiguous() for t in tensors):
        return True
    return all(t.dim() == 4 and t.is_contiguous(memory_format=torch.channels_last) for t in tensors)
