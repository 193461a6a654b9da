"""Nets as their authors published them, with weights and inputs drawn by recipe.py: every blob and every output.

The prototxts are other people's and not copied here: they are read from `../shared/zoo`, and where that folder is
absent these tests say so.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.layers import REGISTRY
from proto2torch.prototxt.read import read_net

DATA = Path(__file__).parent / "data"
ZOO = Path(__file__).resolve().parents[3] / "shared" / "zoo"
CASES = sorted((DATA / "zoo").glob("*.npz"))


def prototxt_of(case: Path) -> Path:
    return ZOO / case.name.removesuffix(".npz").replace("__", "/")


def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", DATA / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(net: Any) -> dict[str, list[np.ndarray]]:
    types = {layer.name: layer.type for layer in net.layers}
    draw = recipe().weight
    return {
        name: [draw(name, types[name], i, blob.shape) for i, blob in enumerate(blobs)]
        for name, blobs in net.params.items()
    }


def relative(ours: np.ndarray, caffe: np.ndarray) -> float:
    if ours.shape != caffe.shape:
        return float("inf")
    return float(np.linalg.norm(ours - caffe) / max(np.linalg.norm(caffe), 1e-12))


def check(net: Any, case: dict[str, np.ndarray]) -> None:
    """Every output against Caffe's, and the shape, mean and standard deviation of every blob on the way."""
    digest = json.loads(str(case["digest"]))
    inputs = {name: recipe().blob(name, shape) for name, shape in net.inputs.items()}
    with torch.inference_mode():
        outputs = {k: v.numpy() for k, v in net(**inputs).items()}
        blobs = {k: v.numpy() for k, v in net.features(*digest, **inputs).items()}
    for name, (shape, mean, std) in digest.items():
        blob = blobs[name].astype(np.float64)
        assert list(blob.shape) == shape, name
        size = max(abs(mean), std, 1e-12)
        assert abs(blob.mean() - mean) <= 1e-3 * size and abs(blob.std() - std) <= 1e-3 * size, name
    expected = {k[4:]: v for k, v in case.items() if k.startswith("out_")}
    parts = {k[5:]: v for k, v in case.items() if k.startswith("part_")}
    assert set(expected) | set(parts) == set(net.outputs)
    for name, values in expected.items():
        assert relative(outputs[name], values) <= 1e-4, name
    for name, values in parts.items():
        flat = outputs[name].ravel()
        assert relative(flat[:: max(1, flat.size // 50000)], values) <= 1e-4, name


@pytest.mark.skipif(not ZOO.is_dir(), reason="../shared/zoo, with the published prototxts, is absent")
@pytest.mark.parametrize("path", CASES, ids=lambda p: p.name.removesuffix(".prototxt.npz"))
def test_net(path: Path) -> None:
    with np.load(path) as stored:
        case = dict(stored)
    prototxt = str(prototxt_of(path))
    if not prototxt_of(path).is_file():
        pytest.skip(f"{prototxt_of(path).relative_to(ZOO)} is not among the published prototxts in ../shared/zoo")
    missing = {layer.type for layer in read_net(prototxt).layers} - set(REGISTRY)
    if missing:
        with pytest.raises(p2t.Proto2TorchError, match="is not supported"):
            p2t.load(prototxt)
        return
    net = p2t.load(prototxt)
    net.load_weights(drawn(net))
    check(net, case)


PUBLISHED = sorted((DATA / "published").glob("*.npz"))


@pytest.mark.skipif(not ZOO.is_dir(), reason="../shared/zoo, with the published weights, is absent")
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.name.removesuffix(".prototxt.npz"))
def test_net_with_its_published_weights(path: Path) -> None:
    with np.load(path) as stored:
        case = dict(stored)
    prototxt = prototxt_of(path)
    check(p2t.load(str(prototxt), str(prototxt.with_suffix(".caffemodel"))), case)
