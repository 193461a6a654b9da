"""Folded, flat and built are one computation: the same bits, whatever the source looks like."""

from __future__ import annotations

import torch
from torch import Tensor

from proto2torch.codegen.build import build
from proto2torch.codegen.source import generate
from proto2torch.net import Net

from .zoo import RECIPE


def check_one_computation(net: Net) -> None:
    """Compare a net, a module of its folded source and one of its flat source, bit for bit, on one item."""
    inputs = {n: torch.from_numpy(RECIPE.blob(n, (1, *shape[1:]))) for n, shape in net.inputs.items()}
    with torch.inference_mode():
        built = list(net(**inputs).values())
    folded, folded_keys = _outputs(net, True, inputs)
    flat, flat_keys = _outputs(net, False, inputs)
    assert folded_keys.keys() == flat_keys.keys()
    assert len(set(folded_keys.values())) == len(set(flat_keys.values()))
    for one, other, third in zip(folded, flat, built, strict=True):
        assert torch.isfinite(one).all()
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def _outputs(net: Net, fold: bool, inputs: dict[str, Tensor]) -> tuple[list[Tensor], dict[tuple[int, int], str]]:
    """What a fresh module gives that uses the net's own tensors."""
    source = generate(net.graph, fold=fold)
    module = build(source)
    net.blobs.bind(source, module, net.device)
    module.eval()
    with torch.inference_mode():
        result = module(*[inputs[name] for name in source.inputs])
    return list(result.values()) if isinstance(result, dict) else [result], source.keys
