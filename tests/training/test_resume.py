"""Ten updates, a restore in a new solver, ten more: bit for bit the weights of twenty, for each rule and both formats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proto2torch.training.events import Displayed

from .cases import CASES, SOLVERS, enter, solver, weights

DROPOUT = """
layer { name: "drop" type: "Dropout" bottom: "act" top: "dropped" dropout_param { dropout_ratio: 0.5 } }
"""


@pytest.mark.parametrize("kept", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("case", CASES)
def test_resumed_weights_are_the_same_bits(case, kept, tmp_path, monkeypatch):
    folder = enter(SOLVERS / case, tmp_path, monkeypatch)
    net = (folder / "train.prototxt").read_text()
    where = net.index('layer { name: "ip2"')
    net = net[:where] + DROPOUT + net[where:].replace('bottom: "act"', 'bottom: "dropped"')
    net = net.replace("batch_size: 8", "batch_size: 8 shuffle: true")  # the order of rows follows from a seed
    (folder / "train.prototxt").write_text(net)
    given = {"snapshot": 0, "snapshot_format": kept}
    straight, _ = solver(folder, overrides=given)
    straight.step(10)
    state = straight.snapshot()
    straight.step(10)

    torch.manual_seed(99)  # what another process starts from
    resumed, _ = solver(folder, overrides={**given, "random_seed": -1})
    resumed.restore(state)
    resumed.step(10)
    assert resumed.iter == 20 and state.endswith(".h5") == (kept == "HDF5")
    for name, value in weights(straight).items():
        assert np.array_equal(weights(resumed)[name], value), name
    assert straight.loss.item() == resumed.loss.item()


@pytest.mark.parametrize("case", CASES)
def test_a_snapshot_changes_no_bit_of_the_training(case, tmp_path, monkeypatch):
    """Twenty updates without a snapshot are ten, a snapshot, a restore and ten more; and so are ten more without one."""
    folder = enter(SOLVERS / case, tmp_path, monkeypatch)
    straight, halted, resumed = (solver(folder, overrides={"snapshot": 0})[0] for _ in range(3))
    straight.step(20)
    halted.step(10)
    resumed.restore(halted.snapshot())
    halted.step(10)
    resumed.step(10)
    for name, value in weights(straight).items():
        assert np.array_equal(weights(halted)[name], value) and np.array_equal(weights(resumed)[name], value), name


def test_plateau_and_its_loss_go_on(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    text = (folder / "solver.prototxt").read_text().replace('lr_policy: "fixed"', 'lr_policy: "plateau" gamma: 0.5')
    (folder / "solver.prototxt").write_text(text + "plateau_winsize: 2 plateau_winsize: 2 plateau_winsize: 2")
    given = {"snapshot": 0, "average_loss": 1}
    straight, log = solver(folder, overrides=given)
    straight.step(7)
    state = straight.snapshot()
    straight.step(13)
    resumed, _ = solver(folder, overrides=given)
    resumed.restore(state)
    resumed.step(13)

    def rates(events: list[Displayed]) -> list[float]:
        return [event.lr for event in events]

    assert rates(resumed.history.displays) == rates(straight.history.displays)[7:]
    assert min(rates(straight.history.displays)) < straight.definition.base_lr
    assert any(line.startswith("Plateau Status: Iteration ") for line in log.lines())


def test_a_recurrent_layer_goes_on_with_its_state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text("""
    layer { name: "data" type: "DummyData" top: "x" top: "cont" top: "y"
      dummy_data_param {
        shape { dim: 3 dim: 2 dim: 4 } shape { dim: 3 dim: 2 } shape { dim: 3 dim: 2 dim: 5 }
        data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } data_filler { type: "gaussian" } } }
    layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h" recurrent_param { num_output: 5
      weight_filler { type: "uniform" min: -0.5 max: 0.5 } } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "h" bottom: "y" top: "loss" }
    """)
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" lr_policy: "fixed" base_lr: 0.1 random_seed: 3 snapshot_prefix: "snap"'
    )
    straight, _ = solver(tmp_path)
    straight.step(3)
    state = straight.snapshot()
    straight.step(3)
    resumed, _ = solver(tmp_path)
    resumed.restore(state)
    resumed.step(3)
    assert straight.loss.item() == resumed.loss.item()
    assert all(np.array_equal(weights(resumed)[name], value) for name, value in weights(straight).items())
