"""The published nets that Caffe's figures are there for, with weights and inputs that recipe.py draws of their names.

The prototxts are other people's and not copied here: they are read from `../shared/zoo`, and where that folder is
absent the tests say so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from proto2torch.net import Net

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT.parent / "shared" / "zoo"
CASES = sorted((DATA / "zoo").glob("*.npz"))
present = pytest.mark.skipif(not ZOO.is_dir(), reason="../shared/zoo, with the published prototxts, is absent")


def _recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", DATA / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = _recipe()


def name_of(case: Path) -> str:
    return case.name.removesuffix(".prototxt.npz")


def prototxt_of(case: Path) -> Path:
    return ZOO / case.name.removesuffix(".npz").replace("__", "/")


def draw_weights(net: Net) -> None:
    """Give a net the weights of its names."""
    types = {layer.name: layer.type for layer in net.layers}
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            blob.data.copy_(torch.from_numpy(RECIPE.weight(name, types[name], i, blob.shape)))


def draw_inputs(net: Net, names: Iterable[str]) -> dict[str, Tensor]:
    """The inputs of these names, in their declared shapes."""
    return {name: torch.from_numpy(RECIPE.blob(name, net.inputs[name])) for name in names}


def relative(ours: np.ndarray, caffe: np.ndarray) -> float:
    """Relative norm of the difference; infinite where the shapes differ."""
    if ours.shape != caffe.shape:
        return float("inf")
    return float(np.linalg.norm(ours - caffe) / max(np.linalg.norm(caffe), 1e-12))


def check_outputs(found: Mapping[str, np.ndarray], case: Mapping[str, np.ndarray]) -> None:
    """Every output, and no other, against Caffe's; of a large one the values that were kept."""
    expected = {key[4:]: values for key, values in case.items() if key.startswith("out_")}
    parts = {key[5:]: values for key, values in case.items() if key.startswith("part_")}
    assert set(found) == set(expected) | set(parts)
    for name, values in expected.items():
        assert relative(found[name], values) <= 1e-4, name
    for name, values in parts.items():
        flat = found[name].ravel()
        assert relative(flat[:: max(1, flat.size // 50000)], values) <= 1e-4, name
