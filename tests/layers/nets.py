"""Nets of one layer, in the state that a test wants them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

import proto2torch as p2t
from proto2torch.codegen.source import Source, generate
from proto2torch.ir.graph import Net as Graph
from proto2torch.ir.graph import Shape
from proto2torch.ir.lower import lower
from proto2torch.layers import REGISTRY
from proto2torch.net import Net
from proto2torch.prototxt import filters, splits
from proto2torch.prototxt.read import read_net


@dataclass(frozen=True)
class Case:
    """One layer over bottoms b0, b1 … of given shapes: its fields as text, and how many tops t0, t1 … it has."""

    type: str
    fields: str = ""
    bottoms: tuple[Shape, ...] = ((2, 3, 4, 5),)
    tops: int = 1
    phase: str = "TEST"
    inplace: bool = False
    force: bool = False
    """Whether the net asks for every gradient, as Caffe's force_backward does."""
    values: dict[int, float] = field(default_factory=dict)
    """What a bottom must hold for the layer to run at all, by its index; such a net runs on the CPU."""

    @property
    def text(self) -> str:
        lines = ["force_backward: true" if self.force else ""]
        for i, shape in enumerate(self.bottoms):
            dims = " ".join(f"dim: {d}" for d in shape)
            lines.append(f'layer {{ name: "b{i}" type: "Input" top: "b{i}" input_param {{ shape {{ {dims} }} }} }}')
        names = [f'bottom: "b{i}"' for i in range(len(self.bottoms))]
        names += [f'top: "{"b" if self.inplace else "t"}{i}"' for i in range(self.tops)]
        lines.append(f'layer {{ name: "layer" type: "{self.type}" {" ".join(names)} {self.fields} }}')
        return "\n".join(lines)

    def graph(self, bottoms: Sequence[Shape] | None = None) -> Graph:
        """The net lowered, for other shapes of its bottoms where some are given."""
        selected = splits.insert(filters.select(read_net(text=self.text), self.phase))
        given = {f"b{i}": shape for i, shape in enumerate(bottoms or ())}
        return lower(selected, self.phase, REGISTRY, lambda definition, phase: [], given)

    def source(self) -> Source:
        return generate(self.graph())

    def net(self) -> Net:
        return p2t.load(text=self.text, phase=self.phase)


def forward_line(case: Case) -> str:
    """The expression that the generated module returns."""
    return case.source().text.rstrip().splitlines()[-1].strip().removeprefix("return ")


def run(case: Case, *bottoms: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray | None], Net]:
    """Tops of the layer, gradients of its bottoms under an objective of 1 · top 0 …, and the net."""
    net = case.net()
    inputs = {f"b{i}": torch.from_numpy(np.asarray(b, np.float32)).requires_grad_() for i, b in enumerate(bottoms)}
    tops = net(**inputs)
    roots = [t for t in tops.values() if t.requires_grad]
    if roots:
        torch.autograd.backward(roots, [torch.ones_like(t) for t in roots])
    values = [t.detach().numpy() for t in tops.values()]
    return values, [None if t.grad is None else t.grad.numpy() for t in inputs.values()], net
