"""Longer trainings against Caffe's: the tests, the curve, the snapshots, BatchNorm's statistics.

Rounding grows with the updates. In LeNet under SGD it decides, after some fifty, which of two nearly equal values a
pooling window takes: weights that start 1e-7 apart are 1e-2 apart after a hundred. There the curve is compared, not the
weights.
"""

from __future__ import annotations

import numpy as np
import pytest

from proto2torch import read_weights
from proto2torch.training.train import train

from .cases import RUNS, enter, relative_error, same_lines, solver

CURVES = {"bn-step": 1e-4, "lenet-adam": 2e-3, "lenet-inv": 0.1}
"""How far each figure of a log may be from Caffe's, relatively."""

BEFORE_BATCH_NORM = ("conv1|1", "conv2|1")
"""Biases that BatchNorm takes away again: their gradient is zero but for rounding."""


@pytest.fixture
def enter_run(tmp_path, monkeypatch):
    """A run's folder as the working directory, the databases where its net expects them."""
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(RUNS / name)
    return lambda run: enter(RUNS / run, tmp_path, monkeypatch)


@pytest.mark.parametrize("run", CURVES)
def test_the_log_is_caffes(run, enter_run):
    trained, log = solver(enter_run(run))
    train(trained)
    caffe = (RUNS / run / "log.txt").read_text().splitlines()
    same_lines(log.lines(), caffe, rel=CURVES[run])


def test_batch_norm_and_weights_after_a_hundred_updates(enter_run):
    folder = enter_run("bn-step")
    trained, _ = solver(folder, overrides={"test_interval": 1000, "display": 0})
    trained.step(100)
    ours = read_weights(str(folder / "snap_iter_100.caffemodel"))
    with np.load(RUNS / "bn-step" / "expected.npz") as caffe:
        assert len(caffe) == 17
        for key in caffe:
            layer, _, i = key.removeprefix("w100_").partition("|")
            if f"{layer}|{i}" in BEFORE_BATCH_NORM:
                assert np.abs(ours[layer][int(i)]).max() < 1e-5
            else:
                assert relative_error(ours[layer][int(i)], caffe[key]) <= 1e-4, key


def test_lenet_after_a_hundred_updates_of_adam(enter_run):
    folder = enter_run("lenet-adam")
    trained, _ = solver(folder, overrides={"test_interval": 1000, "display": 0})
    trained.step(100)
    ours = read_weights(str(folder / "snap_iter_100.caffemodel"))
    with np.load(RUNS / "lenet-adam" / "expected.npz") as caffe:
        for key in caffe:
            layer, _, i = key.partition("_")[2].partition("|")
            blob = ours[layer][int(i)]
            assert relative_error(blob.reshape(-1)[::7] if key[0] == "s" else blob, caffe[key]) <= 2e-3, key
