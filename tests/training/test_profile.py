"""`--profile`: the trace, the table by layer, and that a profiled training is the same training."""

from __future__ import annotations

import json

import torch

import proto2torch as p2t
from proto2torch.training.profile import REST, Profile

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 1 dim: 8 dim: 8 } shape { dim: 4 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "a \\"name\\"" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "slice" type: "Slice" bottom: "conv" top: "one" top: "two" slice_param { slice_point: 1 } }
layer { name: "concat" type: "Concat" bottom: "two" bottom: "one" top: "both" }
layer { name: "ip" type: "InnerProduct" bottom: "both" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 6 random_seed: 1 snapshot_prefix: "run"
snapshot_after_train: false
"""


def trained(tmp_path, monkeypatch, *callbacks):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    lines: list[str] = []
    solver = p2t.Solver("solver.prototxt", log=lines.append, callbacks=callbacks)
    solver.solve()
    return solver, lines


def test_the_table_has_every_layer_that_computes_and_the_trace_is_there(tmp_path, monkeypatch):
    _, lines = trained(tmp_path, monkeypatch, Profile(2))
    head = next(i for i, line in enumerate(lines) if line.startswith("layer "))
    rows = {line[: line.index("  ")]: line for line in lines[head + 1 :] if line.endswith("%")}
    assert list(rows) == ["conv", 'a "name"', "slice", "concat", "ip", "loss", REST]
    shares = [float(row.split()[-1].rstrip("%")) for row in rows.values()]
    assert abs(sum(shares) - 100) < 0.1 * len(shares)
    for name in ("conv", "ip", "loss"):
        ahead, behind = (float(cell) for cell in rows[name].split()[-3:-1])
        assert ahead > 0 and behind > 0
    trace = json.loads((tmp_path / "run_profile.json").read_text())
    assert any(event.get("name") == "aten::convolution" for event in trace["traceEvents"])
    assert lines.count("Profile of 2 iterations: run_profile.json") == 1


def test_a_profiled_training_is_the_same_training(tmp_path, monkeypatch):
    profiled, _ = trained(tmp_path, monkeypatch, Profile(2))
    plain, _ = trained(tmp_path, monkeypatch)
    for ours, theirs in zip(profiled.net.learned, plain.net.learned, strict=True):
        assert torch.equal(ours.data, theirs.data)


def test_a_training_that_ends_before_shows_what_there_is(tmp_path, monkeypatch):
    _, lines = trained(tmp_path, monkeypatch, Profile(100))
    assert "Profile of 3 iterations: run_profile.json" in lines
