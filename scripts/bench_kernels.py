"""The sides of the benches of single parts and of CaffeNet: (ours, plain PyTorch's, calls a round)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from bench_sides import Side
from torch import Tensor, nn

from proto2torch.runtime.lrn import across_channels_lrn
from proto2torch.solvers.nesterov import Nesterov
from proto2torch.solvers.sgd import SGD

Found = tuple[Side, Side, int]

CONVOLUTIONS = [(96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3)]
INNER_PRODUCTS = [(4096, 9216), (4096, 4096), (1000, 4096)]
RULE = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005}


def update(device: str) -> Found:
    """SGD with momentum and decay over CaffeNet's 61 million parameters, against torch.optim.SGD as it comes."""
    return _updates(SGD, device), _updates(torch.optim.SGD, device), 1


def nesterov(device: str) -> Found:
    """The same by Nesterov's rule."""
    theirs = _updates(partial(torch.optim.SGD, nesterov=True), device)
    return _updates(Nesterov, device), theirs, 1


def _updates(rule: Callable[..., Any], device: str) -> Side:
    weights = [torch.zeros(shape, device=device) for shape in CONVOLUTIONS + INNER_PRODUCTS]
    biases = [torch.zeros(weight.shape[0], device=device) for weight in weights]
    params = [nn.Parameter(value) for value in weights + biases]
    for param in params:
        param.grad = torch.full_like(param, 0.001)
    return rule(params, **RULE).step


def lrn(device: str, layout: torch.memory_format = torch.contiguous_format) -> Found:
    """LRN over CaffeNet's first convolution, forward and backward, against nn.LocalResponseNorm."""
    x = torch.randn(16, 96, 55, 55, device=device).to(memory_format=layout).requires_grad_()
    dy = torch.randn_like(x)
    theirs = nn.LocalResponseNorm(5, alpha=0.0001)

    def side(function: Callable[[Tensor], Tensor]) -> Side:
        return lambda: torch.autograd.grad(function(x), x, dy)

    return side(lambda x: across_channels_lrn(x, 5, alpha=0.0001)), side(theirs), 5


def caffenet_text(path: Path, batch: int) -> str:
    """CaffeNet for training as its authors published it, its data from memory."""
    data = '{ name: "memory" type: "HDF5Data" top: "data" top: "label" '
    data += f'hdf5_data_param {{ source: "list.txt" batch_size: {batch} }} }}\n'
    head, *layers = re.split(r"^layer ", path.read_text(), flags=re.MULTILINE)
    kept = [layer for layer in layers if 'type: "Data"' not in layer and "phase: TEST" not in layer]
    return "layer ".join([head, data, *kept])


def caffenet_module() -> nn.Module:
    """CaffeNet as a person writes it."""

    def pooled() -> list[nn.Module]:
        return [nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5, alpha=0.0001)]

    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), *pooled()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), *pooled()),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000)),
    )


def caffenet_by_hand(images: Tensor, labels: Tensor) -> Side:
    """The train step of CaffeNet as a person writes it, with the multipliers of its file."""
    model = caffenet_module().to(images.device)
    weights = [p for p in model.parameters() if p.dim() > 1]
    biases = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.SGD([{"params": weights}, {"params": biases, "lr": 0.02, "weight_decay": 0}], **RULE)
    batches = cycle(zip(list(images), list(labels), strict=True))

    def run() -> None:
        data, label = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(model(data), label).backward()
        optimizer.step()

    return run
