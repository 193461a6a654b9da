"""The rules of whole nets: every case's blobs, objective, outputs and their order, gradients, and statistics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import proto2torch as p2t

CASES = sorted((Path(__file__).parent / "data" / "nets").glob("*.prototxt"))


def relative(ours: torch.Tensor, caffe: np.ndarray) -> float:
    a, b = ours.detach().double().numpy(), caffe.astype(np.float64)
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-12)) if a.shape == b.shape else float("inf")


def load(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    with np.load(path.with_suffix(".npz")) as stored:
        case = dict(stored)
    stages = json.loads(str(case["stages"]))
    net = p2t.load(str(path), phase=str(case["phase"]), level=int(case["level"]), stages=stages)
    given: dict[str, list[np.ndarray]] = {}
    for key in sorted(k for k in case if k.startswith("w_")):
        given.setdefault(key[2:].rpartition("|")[0], []).append(case[key])
    net.load_weights(given)
    return net, case


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_case(path: Path) -> None:
    net, case = load(path)
    inputs = {
        k[3:]: torch.from_numpy(v).requires_grad_(f"gin_{k[3:]}" in case) for k, v in case.items() if k[:3] == "in_"
    }
    problems: dict[str, Any] = {}
    wanted = [k[5:] for k in case if k.startswith("blob_")]
    outputs = net(**inputs)
    assert list(outputs) == json.loads(str(case["outputs"]))
    problems["loss"] = (relative(net.loss.detach(), case["loss"]), 1e-5)
    if net.loss.requires_grad:
        net.loss.backward()
    for name, grad in ((k, v) for k, v in case.items() if k.startswith(("g_", "gin_"))):
        layer, _, index = name.removeprefix("g_").rpartition("|")
        ours = inputs[name[4:]].grad if name.startswith("gin_") else net.params[layer][int(index)].grad
        problems[name] = (relative(torch.zeros(grad.shape) if ours is None else ours, grad), 1e-4)
    moving = [k for k in case if k.startswith("w2_")]
    if moving:
        with torch.no_grad():
            net(**inputs), net(**inputs)
        for name in moving:
            layer, _, index = name[3:].rpartition("|")
            problems[name] = (relative(net.params[layer][int(index)].data, case[name]), 1e-5)
        net, _ = load(path)
    with torch.no_grad():
        blobs = net.features(*wanted, **inputs)
    for name in wanted:
        problems[f"blob {name}"] = (relative(blobs[name], case[f"blob_{name}"]), 1e-5)
    assert {k: v for k, v in problems.items() if not v[0] <= v[1]} == {}
