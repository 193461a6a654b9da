"""The bench of published nets: the generated module of each against one written by hand, both in channels_last."""

from __future__ import annotations

from collections.abc import Iterator

import bench_cuda
import bench_kernels
import torch
from bench_sides import Found, Side
from torch import nn

import proto2torch as p2t

TARGETS = {"generated_zoo": 1.02}
BATCH = 4


def rows(device: str) -> Iterator[tuple[str, Found]]:
    """Each net that is there, and both sides' forward in evaluation."""
    for name, trained in bench_cuda.zoo().items():
        path = trained.path.with_name(trained.path.name.replace("train_val", "deploy"))
        if path.exists():
            by_hand = trained.by_hand() if trained.by_hand else bench_kernels.caffenet_module()
            for part in by_hand.modules():
                if isinstance(part, nn.ReLU):
                    part.inplace = False  # as ours: at equal flags
            images = torch.randn(BATCH, 3, trained.extent, trained.extent, device=device)
            given = images.to(memory_format=torch.channels_last)
            theirs = by_hand.to(device, memory_format=torch.channels_last)
            ours = p2t.load(str(path), device=device).module
            yield name, (_forward(ours, given), _forward(theirs, given), lambda: None)


def _forward(module: nn.Module, images: torch.Tensor) -> Side:
    module.eval()

    @torch.no_grad()
    def run() -> None:
        module(images)

    return run
