"""Longer trainings against Caffe's: tests, the curve, BatchNorm's statistics.

Rounding grows with the updates, so that the curve is compared within a tolerance that widens, and accuracies within a
few images.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from proto2torch.training.train import train
from tests.solvers.plain_net import relative_error
from tests.training.cases import NUMBER, RUNS, SPEED, enter, solver

STEPS = {"bn-step": 100, "lenet-adam": 60, "lenet-inv": 60}


@pytest.fixture
def databases(tmp_path):
    """The databases where the nets expect them: beside the run's folder."""
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(RUNS / name)


def figures(line):
    return [float(number) for number in NUMBER.findall(SPEED.sub("(", line))]


@pytest.mark.parametrize("run", STEPS)
def test_the_curve_is_caffes(run, tmp_path, monkeypatch, databases):
    folder = enter(RUNS / run, tmp_path, monkeypatch)
    trained, log = solver(folder, overrides={"max_iter": STEPS[run], "snapshot_after_train": False})
    train(trained)
    caffes = (RUNS / run / "log.txt").read_text().splitlines()
    end = next(i for i, line in enumerate(caffes) if line.startswith(f"Iteration {STEPS[run]}"))
    compared = 0
    for line, caffe in zip(log.lines(), caffes[:end], strict=False):
        assert NUMBER.sub("#", SPEED.sub("(", line)) == NUMBER.sub("#", SPEED.sub("(", caffe))
        rel = 0.02 if "loss" in line else 1e-6
        absolute = 0.006 if "accuracy" in line else 1e-4  # two of 360 images
        assert figures(line) == pytest.approx(figures(caffe), rel=rel, abs=absolute), (line, caffe)
        compared += 1
    assert compared == end


def test_batch_norm_and_weights_after_a_hundred_updates(tmp_path, monkeypatch, databases):
    trained, _ = solver(enter(RUNS / "bn-step", tmp_path, monkeypatch), overrides={"test_interval": 1000, "display": 0})
    trained.step(100)
    with np.load(RUNS / "bn-step" / "expected.npz") as caffe:
        for layer, blobs in trained.net.params.items():
            for i, blob in enumerate(blobs):
                assert relative_error(blob.data.numpy(), caffe[f"w100_{layer}|{i}"]) <= 0.02, f"{layer} {i}"


def test_the_last_test_is_close_to_caffes(tmp_path, monkeypatch, databases):
    trained, log = solver(enter(RUNS / "bn-step", tmp_path, monkeypatch))
    train(trained)
    caffe = re.findall(r"accuracy = (\S+)", (RUNS / "bn-step" / "log.txt").read_text())
    ours = re.findall(r"accuracy = (\S+)", "\n".join(log.lines()))
    assert len(ours) == len(caffe) == 3
    assert [float(a) for a in ours] == pytest.approx([float(a) for a in caffe], abs=0.02)
