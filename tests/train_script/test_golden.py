"""Scripts of the golden solvers and runs: their updates, tests and figures are Caffe's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from proto2torch.cli import main
from proto2torch.prototxt.read import read_solver
from proto2torch.solvers import definition as definitions
from proto2torch.train_script import script, weights

from .cases import GOLDEN, alone

SOLVERS = GOLDEN / "solvers"
CASES = sorted(path.name for path in SOLVERS.iterdir())
CHECKED = (1, 2, 5, 10, 20)
FIGURE = re.compile(
    r"^(Iteration \d+, lr|Iteration \d+, Testing|    (?:Train|Test) net output #\d+: \w+|Iteration \d+)"
)
NUMBER = re.compile(r"= ([-+.\de]+)")
BEFORE_BATCH_NORM = ("conv1.bias", "conv2.bias")
"""Biases that BatchNorm takes away again: their gradient is zero but for rounding."""


def export(folder: Path, *options: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(main, ["export", "solver.prototxt", "-o", "train.py", *options])
    assert done.exit_code == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
    """For each case the weights after some of twenty updates, `5/conv.weight`, which its script made by itself."""
    root = tmp_path_factory.mktemp("solvers")
    for case in CASES:
        shutil.copytree(SOLVERS / case, root / case)
        export(root / case, "--weights", "init.caffemodel")
    code = f"""
        root = os.getcwd()
        for case in {CASES}:
            train = load(os.path.join(root, case))
            training = train.Training("cpu", 1, 0)
            training.load("train.safetensors")
            batches, found = training.train_batches(), {{}}
            for n in range(1, 21):
                training.update(batches)
                if n in {CHECKED}:
                    state = training.net.state_dict()
                    found |= {{f"{{n}}/{{key}}": value.numpy().copy() for key, value in state.items()}}
            np.savez("found.npz", **found)
        """
    alone(code, root)
    return {case: dict(np.load(root / case / "found.npz")) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_twenty_updates_are_caffes(case: str, trained: Mapping[str, Mapping[str, Any]]) -> None:
    with np.load(SOLVERS / case / "expected.npz") as caffe:
        assert len(trained[case]) == len(CHECKED) * 6
        for key, ours in trained[case].items():
            n, layer, leaf = re.fullmatch(r"(\d+)/(\w+)\.(\w+)", key).groups()
            theirs = caffe[f"w{n}_{layer}_{int(leaf == 'bias')}"]
            error = np.linalg.norm(ours.reshape(theirs.shape) - theirs) / np.linalg.norm(theirs)
            assert error <= 1e-4, f"{layer}.{leaf} after {n} updates"


def figures(log: str) -> dict[str, float]:
    """The numbers of a log by what they are of, `Iteration 10 Train net output #0: loss`."""
    found, at = {}, ""
    for line in log.splitlines():
        head = FIGURE.match(line)
        if head is None:
            continue
        at = re.sub(r"[ ,].*", "", head[1].removeprefix("Iteration ")) if head[1].startswith("Iteration") else at
        number = NUMBER.search(line)
        if number:
            found[f"{at} {head[1]}"] = float(number[1])
    return found


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(GOLDEN / "runs" / name)
    return tmp_path


def begun(run_folder: Path, run: str) -> Path:
    """A run's folder with its script, and Caffe's first weights for it in init.safetensors."""
    folder = run_folder / run
    shutil.copytree(GOLDEN / "runs" / run, folder)
    export(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        definition = definitions.read(read_solver("solver.prototxt"))
        state, _ = weights.state(definition, script.write(definition, stem="train").train.source, [])
    save_file({key: value.clone() for key, value in state.items()}, folder / "init.safetensors")
    return folder


def test_batch_norm_log_and_weights_of_a_hundred_iterations(run_folder: Path) -> None:
    """In double precision: in single, the value of a whole background may fall on this or that side of a PReLU."""
    folder = begun(run_folder, "bn-step")
    code = """
        train = load(".")
        torch.set_default_dtype(torch.float64)
        single = train.batches
        train.batches = lambda *how: ([tensor.double() for tensor in batch] for batch in single(*how))
        training = train.Training("cpu", 1, 0)
        training.load("init.safetensors")
        training.run()
        """
    ours, caffes = figures(alone(code, folder)), figures((folder / "log.txt").read_text())
    assert len(caffes) == 37 and ours.keys() == caffes.keys()
    for what, value in caffes.items():
        assert ours[what] == pytest.approx(value, rel=1e-5), what
    state = torch_state(folder / "snap_iter_100.pt")
    names = {"mean_sum": 0, "variance_sum": 1, "scale": 2, "weight": 0, "bias": 1}
    with np.load(folder / "expected.npz") as caffe:
        assert len(caffe) == len(state) == 17
        for key, value in state.items():
            layer, leaf = key.split(".")
            theirs = caffe[f"w100_{layer}|{names[leaf]}"]
            if key in BEFORE_BATCH_NORM:
                assert np.abs(value).max() < 1e-5
            else:
                assert np.linalg.norm(value.reshape(theirs.shape) - theirs) <= 1e-5 * np.linalg.norm(theirs), key


def torch_state(path: Path) -> dict[str, Any]:
    return {key: value.numpy() for key, value in torch.load(path, weights_only=True)["model"].items()}


def test_lenet_reaches_caffes_accuracy_on_the_digits(run_folder: Path) -> None:
    folder = begun(run_folder, "lenet-inv")
    code = """
        train = load(".")
        train.MAX_ITER = 50
        training = train.Training("cpu", 1, 0)
        training.load("init.safetensors")
        training.run()
        """
    ours, caffes = figures(alone(code, folder)), figures((folder / "log.txt").read_text())
    for what in ("50 Test net output #0: accuracy", "50 Test net output #1: loss"):
        what = what.replace("50 Test", "50     Test")
        assert ours[what] == pytest.approx(caffes[what], rel=0.02)
    assert ours["50     Test net output #0: accuracy"] > 0.9


def test_from_fillers_lenet_learns_the_digits_too(run_folder: Path) -> None:
    folder = run_folder / "lenet-adam"
    shutil.copytree(GOLDEN / "runs" / "lenet-adam", folder)
    export(folder)
    code = """
        train = load(".")
        train.MAX_ITER = train.TEST_INTERVAL = 40
        training = train.Training("cpu", 1701, 0)
        training.run()
        """
    assert figures(alone(code, folder))["40     Test net output #0: accuracy"] > 0.9
