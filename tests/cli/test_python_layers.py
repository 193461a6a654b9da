"""`--allow-python-layers`: with it a net's Python layers run in every command, without it nothing of theirs does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from proto2torch.cli import main

LAYERS = '''
import caffe
import numpy as np


class Ramp(caffe.Layer):
    """Two images of two values: 1 2 and 3 4; the labels of both are 1."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(2, 3, 1, 2)
        top[1].reshape(2)

    def forward(self, bottom, top):
        top[0].data[...] = np.array([1, 2, 3, 4]).reshape(2, 1, 1, 2)
        top[1].data[...] = 1


class Twice(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff
'''
NET = """
layer {{ name: "in" type: "Python" top: "data" top: "label" python_param {{ module: "{module}" layer: "Ramp" }} }}
layer {{ name: "scale" type: "Scale" bottom: "data" top: "scaled"
  scale_param {{ filler {{ type: "constant" value: 3 }} }} }}
layer {{ name: "twice" type: "Python" bottom: "scaled" top: "twice" python_param {{ module: "{module}" layer: "Twice" }} }}
layer {{ name: "loss" type: "Reduction" bottom: "twice" top: "loss" loss_weight: 1
  reduction_param {{ operation: MEAN }} }}
layer {{ name: "quiet" type: "Silence" bottom: "label" }}
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.5 lr_policy: "fixed" max_iter: 1 display: 1 snapshot_prefix: "snap"\n'
IMAGES = """
layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: 1 dim: 2 }} }} }}
layer {{ name: "scale" type: "Scale" bottom: "data" top: "scaled" }}
layer {{ name: "twice" type: "Python" bottom: "scaled" top: "twice" python_param {{ module: "{module}" layer: "Twice" }} }}
layer {{ name: "pool" type: "Pooling" bottom: "twice" top: "prob" pooling_param {{ global_pooling: true pool: AVE }} }}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder, the working directory, with a solver, its net, weights, and the module that the net names."""
    name = f"layers_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(LAYERS)
    (tmp_path / "net.prototxt").write_text(NET.format(module=name))
    (tmp_path / "images.prototxt").write_text(IMAGES.format(module=name))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    monkeypatch.chdir(tmp_path)
    train = run("train", "solver.prototxt", "--allow-python-layers")
    assert train.exit_code == 0, train.stderr
    sys.modules.pop(name)
    return name


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


WEIGHTS = "snap_iter_1.caffemodel"
COMMANDS = {
    "train": ("train", "solver.prototxt"),
    "test": ("test", "net.prototxt", "--weights", WEIGHTS, "--iterations", "1"),
    "features": ("features", "net.prototxt", WEIGHTS, "--blobs", "twice", "-o", "f.npy", "--iterations", "1"),
    "extract-features": ("extract-features", WEIGHTS, "net.prototxt", "twice", "db", "1", "lmdb"),
    "classify": ("classify", "images.prototxt", WEIGHTS, "image.png"),
    "pixels": ("pixels", "images.prototxt"),
    "export": ("export", "net.prototxt", "--weights", WEIGHTS, "-o", "model.py"),
    "time": ("time", "net.prototxt", "--iterations", "1"),
    "verify": ("verify", "net.prototxt", WEIGHTS, "--against", "a.npz"),
}


def test_train_test_features_and_export_run_them(module: str, tmp_path: Path) -> None:
    train = run(*COMMANDS["train"], "--allow-python-layers")
    assert re.search(r"^Iteration 0\b.*, loss = 15$", train.stderr, re.MULTILINE)  # the mean of 2 * 3 * (1 2 3 4)
    # the gradient of each channel's scale is 2 * (1 + 2 + 3 + 4) / 12, so that 3 becomes 3 - 0.5 * 5 / 3
    scale = 3 - 0.5 * 5 / 3
    test = run(*COMMANDS["test"], "--allow-python-layers")
    assert test.exit_code == 0, test.stderr
    assert float(test.stdout.splitlines()[0].removeprefix("Loss: ")) == pytest.approx(5 * scale, rel=1e-5)  # six digits
    features = run(*COMMANDS["features"], "--allow-python-layers")
    assert features.exit_code == 0, features.stderr
    ramp = np.array([1, 2, 3, 4]).reshape(2, 1, 1, 2).repeat(3, 1)
    np.testing.assert_allclose(np.load("f.npy").reshape(ramp.shape), 2 * scale * ramp, rtol=1e-6)


@pytest.mark.parametrize("command", ["pixels", "time"])
def test_what_only_builds_a_net_builds_them(module: str, command: str) -> None:
    result = run(*COMMANDS[command], "--allow-python-layers")
    assert result.exit_code == 0, result.stderr


def test_what_is_exported_runs_them_too(module: str, tmp_path: Path) -> None:
    export = run(*COMMANDS["export"], "--allow-python-layers")
    assert export.exit_code == 0, export.stderr
    check = """
import torch, model, safetensors.torch
net = model.Net()
net.load_state_dict(safetensors.torch.load_file("model.safetensors"))
print(float(net(torch.ones(2, 3, 1, 2))))
"""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(tmp_path)])}
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=environment, check=False)
    assert result.stdout and float(result.stdout) == pytest.approx(2 * (3 - 0.5 * 5 / 3)), result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_without_it_they_are_refused_and_not_imported(module: str, tmp_path: Path, command: str) -> None:
    np.savez("a.npz", twice=np.zeros(1))
    (tmp_path / "image.png").write_bytes(b"")
    before = set(os.listdir())
    result = run(*COMMANDS[command])
    assert result.exit_code == 2
    layer = "Twice" if "images.prototxt" in COMMANDS[command] else "Ramp"
    assert f"would run '{layer}' of the Python module '{module}', which is not allowed" in result.stderr
    assert "--allow-python-layers" in result.stderr
    assert module not in sys.modules
    assert set(os.listdir()) == before
    assert "--allow-python-layers" in run(command, "--help").stdout


@pytest.mark.parametrize("file", ["net.prototxt", "solver.prototxt"])
def test_check_sets_them_up_where_it_may(module: str, file: str) -> None:
    result = run("check", file)
    assert result.exit_code == 2 and f"would run 'Ramp' of the Python module '{module}'" in result.stdout
    assert module not in sys.modules
    allowed = run("check", file, "--allow-python-layers")
    assert allowed.exit_code == 0, allowed.stdout


@pytest.mark.parametrize(
    "arguments", [("train", "-solver=solver.prototxt"), ("test", "-model=net.prototxt", f"-weights={WEIGHTS}")]
)
def test_caffe_runs_them_where_it_may(module: str, arguments: tuple[str, ...]) -> None:
    result = run("caffe", *arguments)
    assert result.exit_code == 2 and f"would run 'Ramp' of the Python module '{module}'" in result.stderr
    allowed = run("caffe", *arguments, "-iterations=1", "--allow-python-layers")
    assert allowed.exit_code == 0, allowed.stderr


def test_extract_features_runs_them_where_it_may(module: str) -> None:
    result = run(*COMMANDS["extract-features"], "--allow-python-layers")
    assert result.exit_code == 0, result.stderr
