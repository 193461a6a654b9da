"""What Caffe does to the accumulated gradients before the update rule sees them."""

from __future__ import annotations

import torch
from torch import Tensor

from proto2torch.solvers.numbers import float32


def clip(grads: list[Tensor], limit: float) -> tuple[Tensor, Tensor]:
    """Scale all gradients in place by limit / n where their common L2 norm n exceeds `limit`.

    Caffe clips the sum over `iter_size` batches as it is, before averaging and before weight decay.

    Returns n and the factor (1 where nothing was scaled) as 0-d tensors; they stay on the device, so that nothing waits
    for it.
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    factor = torch.where(norm > limit, float32(limit) / norm, torch.ones_like(norm))
    torch._foreach_mul_(grads, factor)
    return norm, factor


def average(grads: list[Tensor], batches: int) -> None:
    """Divide accumulated gradients in place by the number of batches (`iter_size`)."""
    if grads and batches != 1:
        torch._foreach_mul_(grads, float32(1 / batches))
