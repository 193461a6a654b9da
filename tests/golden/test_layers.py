"""Every layer case that Caffe computed: tops, gradients of bottoms and blobs, statistics after the forward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.layers import REGISTRY

DATA = Path(__file__).parent / "data"
CASES = sorted(
    path for folder in ("layers", "layers_ssd", "layers_forks") for path in DATA.glob(f"{folder}/*/*.prototxt")
)
EXACT = {"Accuracy", "ArgMax"}
"""Types whose tops are counts or indices."""


def distance(ours: torch.Tensor, caffe: np.ndarray) -> float:
    """Relative norm of the difference; infinite where the shapes differ."""
    a, b = ours.detach().double().numpy(), caffe.astype(np.float64)
    if a.shape != b.shape:
        return float("inf")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return float(np.linalg.norm(np.where(same, 0, a - b)) / max(np.linalg.norm(np.where(np.isnan(b), 0, b)), 1e-12))


def test_every_registered_type_has_its_cases() -> None:
    without = {"Data", "HDF5Data", "Input", "Silence"}
    with_cases = {p.parent.name.partition("@")[0] for p in CASES}
    assert set(REGISTRY) - with_cases - without - NOT_DRAWN == set()


NOT_DRAWN = {
    "AnnotatedData",
    "ImageLabelmapData",
    "DummyData",
    "HDF5Output",
    "ImageData",
    "MemoryData",
    "WindowData",
    "Filter",
    "Parameter",
    "Python",
}
"""Types that golden/layers has no folder for; golden/nets and tests of their own cover them."""


def fork_of(path: Path) -> str:
    """The fork where the fields do not tell: caffe-windows' CenterLoss that leaves its own field out."""
    undecided = path.parent.name == "CenterLoss@windows" and "distance_type" not in path.read_text()
    return "windows" if undecided else ""


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_case(path: Path) -> None:
    with np.load(path.with_suffix(".npz")) as stored:
        case = dict(stored)
    net = p2t.load(str(path), phase=str(case["phase"]), fork=fork_of(path))
    given = [case[f"param_{i}"] for i in range(len(case)) if f"param_{i}" in case]
    if given:
        net.load_weights({"layer": given})
    bottoms = [k for k in case if k.startswith("bottom_") and "diff" not in k]
    inputs = {f"b{k[7:]}": torch.from_numpy(case[k]).requires_grad_(f"bottom_diff_{k[7:]}" in case) for k in bottoms}
    tops = net.features(*[f"t{i}" for i in range(len(case)) if f"top_{i}" in case], **inputs)

    problems = {}
    for name, top in tops.items():
        expected = case[f"top_{name[1:]}"]
        limit = 0.0 if path.parent.name in EXACT else 1e-5
        problems[name] = (distance(top, expected), limit)
    diffs = {name: case[f"top_diff_{name[1:]}"] for name in tops if f"top_diff_{name[1:]}" in case}
    wanted = [k for k in case if "diff" in k and not k.startswith("top")]
    if wanted and diffs:
        fed = [n for n in diffs if tops[n].requires_grad]
        torch.autograd.backward([tops[n] for n in fed], [torch.from_numpy(diffs[n]) for n in fed])
    elif wanted:  # a loss: its own weight was fed back
        net(**inputs)
        net.loss.backward()
    for key in wanted:
        kind, _, index = key.rpartition("_")
        grad = inputs[f"b{index}"].grad if kind == "bottom_diff" else net.params["layer"][int(index)].grad
        expected = case[key]
        grad = torch.zeros(expected.shape) if grad is None else grad
        problems[key] = (distance(grad, expected), 1e-4)
    for key in (k for k in case if k.startswith("param_after_")):
        problems[key] = (distance(net.params["layer"][int(key[12:])].data, case[key]), 1e-5)
    assert problems, "nothing was compared"
    assert {k: v for k, v in problems.items() if not v[0] <= v[1]} == {}
