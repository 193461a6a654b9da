"""Folded, flat and built are one computation: the same bits, whatever the source looks like.

The prototxts of the zoo are other people's and not copied here: they are read from `../shared/zoo`, and where that
folder is absent these tests say so. The suite runs a sample of kinds; PROTO2TORCH_WHOLE_ZOO=1 runs every deploy net.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import proto2torch as p2t
from proto2torch.codegen.build import build
from proto2torch.codegen.source import generate
from proto2torch.layers import REGISTRY
from proto2torch.prototxt.read import read_net

DATA = Path(__file__).parent / "data"
ZOO = Path(__file__).resolve().parents[3] / "shared" / "zoo"
SAMPLE = (
    "BVLC+caffe/models/bvlc_googlenet/deploy.prototxt",
    "KaimingHe+deep-residual-networks/prototxt/ResNet-50-deploy.prototxt",
    "soeaver+caffe-model/cls/inception/deploy_inception-v2.prototxt",
    "chuanqi305+MobileNet-SSD/deploy.prototxt",
    "hujie-frank+SENet/models/SE-ResNet-50.prototxt",
)


def _recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", DATA / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = _recipe()


def whole_zoo() -> list[str]:
    return sorted(str(p.relative_to(ZOO)) for p in ZOO.rglob("*.prototxt") if "deploy" in p.name or "SENet" in str(p))


def outputs(net: Any, fold: bool, inputs: dict[str, Tensor]) -> tuple[list[Tensor], dict[tuple[int, int], str]]:
    """What a fresh module gives that uses the net's own tensors."""
    source = generate(net.graph, fold=fold)
    module = build(source)
    net.blobs.bind(source, module, net.device)
    module.eval()
    with torch.inference_mode():
        result = module(*[inputs[name] for name in source.inputs])
    return list(result.values()) if isinstance(result, dict) else [result], source.keys


def check(net: Any) -> None:
    types = {layer.name: layer.type for layer in net.layers}
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            blob.data.copy_(torch.from_numpy(RECIPE.weight(name, types[name], i, blob.shape)))
    inputs = {n: torch.from_numpy(RECIPE.blob(n, (1, *shape[1:]))) for n, shape in net.inputs.items()}
    with torch.inference_mode():
        built = list(net(**inputs).values())
    folded, folded_keys = outputs(net, True, inputs)
    flat, flat_keys = outputs(net, False, inputs)
    assert folded_keys.keys() == flat_keys.keys()
    assert len(set(folded_keys.values())) == len(set(flat_keys.values()))
    for one, other, third in zip(folded, flat, built, strict=True):
        assert torch.isfinite(one).all()
        assert torch.equal(one, other)
        assert torch.equal(one, third)


@pytest.mark.skipif(not ZOO.is_dir(), reason="../shared/zoo, with the published prototxts, is absent")
@pytest.mark.parametrize("path", whole_zoo() if os.environ.get("PROTO2TORCH_WHOLE_ZOO") else SAMPLE)
def test_one_computation(path: str) -> None:
    missing = {layer.type for layer in read_net(str(ZOO / path)).layers} - set(REGISTRY)
    if missing:
        with pytest.raises(p2t.Proto2TorchError, match="is not supported"):
            p2t.load(str(ZOO / path))
        return
    check(p2t.load(str(ZOO / path)))


def preactivated() -> str:
    """A residual net that normalises before it convolves; some blocks project what they have normalised."""
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }\n'
    before = "data"

    def layer(name: str, kind: str, bottom: str, top: str, rest: str = "") -> str:
        return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}\n'

    def conv(name: str, bottom: str, width: int) -> str:
        rest = f"num_output: {width} kernel_size: 3 pad: 1 bias_term: false"
        return layer(name, "Convolution", bottom, name, f"convolution_param {{ {rest} }}")

    def norm(name: str, bottom: str) -> str:
        return (
            layer(name, "BatchNorm", bottom, name)
            + layer(f"{name}_scale", "Scale", name, name, "scale_param { bias_term: true }")
            + layer(f"{name}_relu", "ReLU", name, name)
        )

    for i, width in enumerate([4, 4, 4, 8, 8, 8, 16, 16, 16], 1):
        name, project = f"res{i}", i in (1, 4, 7)
        text += norm(f"{name}_bn", before) + conv(f"{name}_conv1", f"{name}_bn", width)
        text += norm(f"{name}_conv1_bn", f"{name}_conv1") + conv(f"{name}_conv2", f"{name}_conv1_bn", width)
        if project:
            text += conv(f"{name}_match", f"{name}_bn", width)
        shortcut = f"{name}_match" if project else before
        text += (
            f'layer {{ name: "{name}" type: "Eltwise" bottom: "{shortcut}" bottom: "{name}_conv2" top: "{name}" }}\n'
        )
        before = name
    return text


def test_blocks_that_normalise_first() -> None:
    net = p2t.load(text=preactivated())
    assert net.source.count("class ") == 3
    assert "nn.Sequential(" in net.source
    check(net)
