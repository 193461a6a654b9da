"""The sides of the bench of update rules: Caffe's rules against torch.optim's nearest, on ResNet-50's weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from bench_sides import Check, Found
from torch import nn
from torch.optim import Optimizer

from proto2torch.solvers.rules import RULES

NEAREST: dict[str, tuple[type[Optimizer], dict[str, Any], dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"momentum": 0.9}, {"momentum": 0.9}),
    "Nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9}),
    "AdaGrad": (torch.optim.Adagrad, {"eps": 1e-8}, {"delta": 1e-8}),
    "RMSProp": (torch.optim.RMSprop, {"alpha": 0.99, "eps": 1e-8}, {"rms_decay": 0.99, "delta": 1e-8}),
    "AdaDelta": (torch.optim.Adadelta, {"rho": 0.95, "eps": 1e-6}, {"momentum": 0.95, "delta": 1e-6}),
    "Adam": (torch.optim.Adam, {"betas": (0.9, 0.999)}, {"momentum": 0.9, "momentum2": 0.999}),
}
"""torch's rule with its arguments, and Caffe's arguments of the same meaning."""


def rules(device: str) -> Iterator[tuple[str, Found]]:
    """The name of each rule and its sides: an update of 25.6 million weights in 161 tensors, with weight decay."""
    from torchvision.models import resnet50

    with torch.device("meta"):
        shapes = [tuple(parameter.shape) for parameter in resnet50().parameters()]
    for name, (theirs, as_torch, as_caffe) in NEAREST.items():
        ours = _optimizer(RULES[name], shapes, device, as_caffe)
        yield name, (ours.step, _optimizer(theirs, shapes, device, {**as_torch, "foreach": True}).step, _finite(ours))


def _optimizer(rule: Any, shapes: list[tuple[int, ...]], device: str, arguments: dict[str, Any]) -> Optimizer:
    draw = torch.Generator().manual_seed(1)
    params = [nn.Parameter(torch.randn(shape, generator=draw).mul_(0.02).to(device)) for shape in shapes]
    for param in params:
        param.grad = torch.randn(param.shape, generator=draw).mul_(0.001).to(device)
    optimizer: Optimizer = rule(params, lr=1e-4, weight_decay=0.0005, **arguments)
    return optimizer


def _finite(optimizer: Optimizer) -> Check:
    """What is neither a number nor a normal one takes its own time."""

    def check() -> None:
        for param in optimizer.param_groups[0]["params"]:
            assert param.isfinite().all() and param.grad is not None and param.grad.abs().mean() > 1e-30

    return check
