"""The loss's scale in float16, and trainings in 16 bits."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch import precision
from proto2torch.errors import RunError
from proto2torch.solvers.rules import RULES
from proto2torch.training.scaling import Scale

CASE = Path(__file__).parents[1] / "golden/data/solvers/00-SGD-fixed"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def unchosen(monkeypatch):
    monkeypatch.setattr(precision, "_chosen", None)


def test_gradients_come_back_as_they_were():
    scale = Scale(CPU)
    weight = torch.full((3,), 2.0, requires_grad=True)
    scale.of((weight * torch.tensor([1e-7, 1.0, 3.0])).sum()).backward()
    assert scale.unscale([weight.grad]) == 0
    assert torch.allclose(weight.grad, torch.tensor([1e-7, 1.0, 3.0]), rtol=1e-6, atol=0)


def test_a_net_may_have_no_gradients():
    scale = Scale(CPU)
    scale.scale([])
    assert scale.unscale([]) == 0


def test_an_overflow_halves_the_scale_and_2000_updates_without_double_it():
    scale = Scale(CPU)
    assert scale.unscale([torch.tensor([1.0, float("inf")])]) == 1
    assert scale.state()["scale"] == 2.0**15
    for _ in range(2000):
        scale.unscale([torch.ones(1)])
    assert scale.state() == {"scale": 2.0**16, "since": 0}


def test_no_scale_helps_what_is_not_finite():
    scale = Scale(CPU)
    for _ in range(42):
        scale.unscale([torch.tensor([float("nan")])])
    with pytest.raises(RunError, match="not finite at any scale"):
        scale.check()


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_an_update_that_overflowed_changes_nothing(rule, plain, on_device):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = RULES[rule]([weight], lr=0.1, **({"momentum": 0.9} if rule in ("SGD", "Nesterov", "Adam") else {}))
    optimizer.keep_updates = plain
    if on_device:
        optimizer.rates_on_device()
    weight.grad = torch.ones(3)
    optimizer.step()
    before, history = weight.clone(), [slot.clone() for slot in optimizer.history(weight)]
    weight.grad = torch.full((3,), float("inf"))
    optimizer.overflowed = torch.ones(())
    optimizer.step()
    assert torch.equal(weight, before)
    assert all(map(torch.allclose, optimizer.history(weight), history))  # a division by the rate may round


@pytest.mark.parametrize(("chosen", "near"), [("bf16", 0.1), ("fp16", 0.04)])
def test_a_training_in_16_bits_stays_near_caffes(chosen, near, monkeypatch, tmp_path):
    """Weights stay float32, outputs too; after 20 updates they are Caffe's to the precision of the products."""
    shutil.copytree(CASE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    precision.choose(chosen)
    solver = p2t.Solver("solver.prototxt", weights="init.caffemodel", log=lambda line: None)
    with np.load("expected.npz") as expected:
        solver.step(20)
        pairs = [
            (blob.data, torch.from_numpy(expected[f"w20_{layer}_{i}"]))
            for layer, blobs in solver.net.params.items()
            for i, blob in enumerate(blobs)
        ]
    ours, theirs = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in zip(*pairs, strict=True))
    assert ours.dtype == torch.float32
    assert 1e-5 < (ours - theirs).norm() / theirs.norm() < near  # in float32 it would be less
    assert all(value.dtype == torch.float32 for value in solver.outputs.values())


def test_debug_info_in_fp16_changes_no_update(monkeypatch, tmp_path):
    shutil.copytree(CASE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    precision.choose("fp16")
    trained = []
    for debug in (False, True):
        overrides = {"debug_info": debug, "iter_size": 2, "snapshot": 0}
        solver = p2t.Solver("solver.prototxt", weights="init.caffemodel", overrides=overrides, log=lambda line: None)
        solver.step(5)
        trained.append([blob.data for blob in solver.net.learned])
    for ours, theirs in zip(*trained, strict=True):
        assert (ours - theirs).norm() <= 0.01 * theirs.norm()
