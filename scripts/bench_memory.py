"""The memory bench: what an inference of ResNet-152 holds at its peak, beyond weights and input, and torchvision's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

BATCH = 4


def peak(module: nn.Module, x: Tensor) -> int:
    """The most bytes that a forward of `module` holds at a time, beside its parameters and `x`."""
    with torch.inference_mode():
        module.eval()(x)
        if x.is_cuda:
            torch.cuda.reset_peak_memory_stats(x.device)
            before = torch.cuda.memory_allocated(x.device)
            module(x)
            return torch.cuda.max_memory_allocated(x.device) - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiled:
            module(x)
    return _highest(profiled)


def _highest(profiled: profile) -> int:
    """The highest sum of the allocations and releases of a profile, in their order."""
    events = profiled.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held = highest = 0
    for _, change in changes:
        held += change
        highest = max(highest, held)
    return highest


def memory(ours: nn.Module, theirs: nn.Module, device: str, target: float) -> dict[str, object]:
    """One row of the bench: both peaks for a batch of 4 images, and their ratio."""
    x = torch.rand(BATCH, 3, 224, 224, device=device)
    mine, other = peak(ours, x), peak(theirs.to(device), x)
    return {
        "bench": "memory",
        "ratio": round(mine / other, 4),
        "target": target,
        "batch": BATCH,
        "proto2torch_mb": round(mine / 1e6, 2),
        "pytorch_mb": round(other / 1e6, 2),
    }
