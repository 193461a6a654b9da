"""A loss or a gradient that is not finite ends the training, with the iteration and the layer where it began."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from proto2torch.errors import RunError

from .cases import SOLVERS, enter, solver, weights

DATA = """
layer { name: "data" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 }
  data_filler { type: "constant" value: 1 } data_filler { type: "constant" value: 0 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "constant" value: %s } } }
"""
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "%s" bottom: "y" top: "loss" }'


def trained(tmp_path, monkeypatch, net, more="", **arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(net)
    fields = 'net: "net.prototxt" lr_policy: "fixed" base_lr: 0.1 random_seed: 3 snapshot_prefix: "snap" '
    (tmp_path / "solver.prototxt").write_text(fields + more)
    return solver(tmp_path, **arguments)


def test_the_first_layer_whose_output_is_not_finite_is_named(tmp_path, monkeypatch):
    net = DATA % 0 + 'layer { name: "log" type: "Log" bottom: "ip" top: "log" }' + LOSS % "log"
    ours, _ = trained(tmp_path, monkeypatch, net)
    with pytest.raises(RunError) as caught:
        ours.step(3)
    assert str(caught.value).startswith(
        "layer 'log' (Log): iteration 0: the loss is inf: its output 'log' is the first that is not finite\n"
    )
    assert caught.value.exit_status == 1


def test_the_first_layer_whose_gradient_is_not_finite_is_named(tmp_path, monkeypatch):
    net = DATA % 0 + 'layer { name: "root" type: "Power" bottom: "ip" top: "root" power_param { power: 0.5 } }'
    net += 'layer { name: "sum" type: "Reduction" bottom: "root" top: "sum" loss_weight: 1 }'
    ours, _ = trained(tmp_path, monkeypatch, net)
    before = weights(ours)
    with pytest.raises(RunError) as caught:
        ours.step(3)
    assert "layer 'root' (Power): iteration 0: a gradient is not finite: the gradient of its bottom 'ip'" in str(
        caught.value
    )
    assert all(np.array_equal(weights(ours)[name], value) for name, value in before.items())


def test_diverging_names_the_iteration_and_leaves_the_last_snapshot(tmp_path, monkeypatch):
    ours, _ = trained(tmp_path, monkeypatch, DATA % 1 + LOSS % "ip", "snapshot: 1", overrides={"base_lr": 1e7})
    with pytest.raises(RunError, match=r"layer 'loss' \(EuclideanLoss\): iteration (\d+): the loss is inf") as caught:
        ours.step(50)
    iteration = int(str(caught.value).split("iteration ")[1].split(":")[0])
    assert 1 < iteration < 10 and ours.iter == iteration
    ours.restore(str(tmp_path / f"snap_iter_{iteration}.solverstate"))
    assert all(np.isfinite(value).all() for value in weights(ours).values())


def test_bad_data_is_named(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    with h5py.File("train.h5", "r+") as file:
        file["data"][9, 0, 0, 0] = np.nan  # in the second batch of 8
    ours, _ = solver(folder)
    with pytest.raises(RunError, match=r"layer 'data' \(HDF5Data\): iteration 1: .* the input 'data' is not finite"):
        ours.step(3)
    assert ours.iter == 1


def test_it_can_be_left_out(tmp_path, monkeypatch):
    ours, _ = trained(tmp_path, monkeypatch, DATA % 1 + LOSS % "ip", watch=False, overrides={"base_lr": 1e7})
    ours.step(10)
    assert ours.iter == 10 and not np.isfinite(ours.loss.item())


def test_a_finite_training_is_not_disturbed(tmp_path, monkeypatch):
    results = []
    for watch in (True, False):
        ours, _ = solver(enter(SOLVERS / "04-AdaDelta-sigmoid", tmp_path / str(watch), monkeypatch), watch=watch)
        ours.step(5)
        results.append(weights(ours))
    assert all(np.array_equal(results[0][name], value) for name, value in results[1].items())
