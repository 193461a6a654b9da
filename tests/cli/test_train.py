"""`proto2torch train` on a small net that Caffe trained for twenty updates."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import proto2torch as p2t
from proto2torch.cli import main

ROOT = Path(__file__).parents[2]
CASE = ROOT / "tests/golden/data/solvers/00-SGD-fixed"


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden solver in a folder of its own, which is the working directory; Caffe's snapshot is in caffe/."""
    for name in ("solver.prototxt", "train.prototxt", "train.h5", "train_h5.txt"):
        shutil.copy(CASE / name, tmp_path)
    (tmp_path / "caffe").mkdir()
    for name in ("snap_iter_10.caffemodel", "snap_iter_10.solverstate"):
        shutil.copy(CASE / name, tmp_path / "caffe")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", "solver.prototxt", *arguments])


def distance(weights: Path, updates: int) -> float:
    """The largest relative distance of a blob in a snapshot from Caffe's after as many updates."""
    with np.load(CASE / "expected.npz") as expected:
        return max(
            float(np.linalg.norm(blob - caffe) / np.linalg.norm(caffe))
            for layer, blobs in p2t.read_weights(str(weights)).items()
            for i, blob in enumerate(blobs)
            for caffe in [expected[f"w{updates}_{layer}_{i}"]]
        )


def losses(log: str) -> list[float]:
    return [float(found) for found in re.findall(r"^Iteration \d+.*, loss = (\S+)$", log, re.MULTILINE)]


def test_trains_as_caffe_did(case: Path) -> None:
    result = train()
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert distance(case / "snap_iter_20.caffemodel", 20) < 1e-4
    caffe = losses((CASE / "caffe_log.txt").read_text())
    assert len(caffe) == 21
    assert losses(result.stderr) == pytest.approx(caffe, rel=1e-4)
    assert "Snapshotting solver state to binary proto file snap_iter_20.solverstate\n" in result.stderr
    assert (case / "snap_iter_10.solverstate").is_file()


def test_max_iter(case: Path) -> None:
    assert train("--max-iter", "5").exit_code == 0
    assert distance(case / "snap_iter_5.caffemodel", 5) < 1e-4


def test_set_replaces_fields(case: Path) -> None:
    result = train("--set", "max_iter=5", "--set", "snapshot_prefix=other", "--set", "display=0")
    assert result.exit_code == 0, result.stderr
    assert distance(case / "other_iter_5.caffemodel", 5) < 1e-4
    assert losses(result.stderr) == []


def test_goes_on_from_caffes_snapshot(case: Path) -> None:
    result = train("--snapshot", "caffe/snap_iter_10.solverstate")
    assert result.exit_code == 0, result.stderr
    assert "Iteration 9 " not in result.stderr
    assert "Iteration 10 " in result.stderr
    assert (case / "snap_iter_20.caffemodel").is_file()


def test_resume_starts_anew_and_then_goes_on(case: Path) -> None:
    first = train("--resume", "--max-iter", "10")
    assert first.exit_code == 0, first.stderr
    assert "there is no snapshot snap_iter_N.solverstate yet: starting anew\n" in first.stderr
    second = train("--resume")
    assert "Iteration 9 " not in second.stderr
    assert distance(case / "snap_iter_20.caffemodel", 20) < 1e-4


def test_starts_from_weights(case: Path) -> None:
    result = train("--weights", str(CASE / "init.caffemodel"), "--set", "random_seed=1", "--max-iter", "5")
    assert result.exit_code == 0, result.stderr
    assert distance(case / "snap_iter_5.caffemodel", 5) < 1e-4


def test_level_and_stage_choose_the_layers(case: Path) -> None:
    with open("train.prototxt", "a") as net:
        for rule in ("stage: 'more'", "min_level: 3"):
            net.write(f"layer {{ name: '{rule[:3]}' type: 'Silence' bottom: 'label' include {{ {rule} }} }}\n")
    assert train("--max-iter", "1").exit_code == 0
    assert {"sta", "min"}.isdisjoint(_layers(case))
    assert train("--max-iter", "1", "--stage", "more", "--level", "3").exit_code == 0
    assert {"sta", "min"} <= _layers(case)


def _layers(case: Path) -> set[str]:
    from proto2torch.prototxt.read import read_net

    return {layer.name for layer in read_net(str(case / "snap_iter_1.caffemodel")).layers}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "a", "--snapshot", "b"], "give one of --weights, --snapshot and --resume"),
        (["--resume", "--snapshot", "b"], "give one of --weights, --snapshot and --resume"),
        (["--set", "base_lr"], "--set takes FIELD=VALUE. Received: 'base_lr'"),
        (["--set", "=1"], "--set takes FIELD=VALUE. Received: '=1'"),
        (["--set", "base_rl=1"], "did you mean 'base_lr'?"),
        (["--set", "base_lr=fast"], "'fast'"),
        (["--max-iter", "-1"], "--max-iter"),
        (["--snapshot", "none.solverstate"], "none.solverstate"),
        (["--weights", "none.caffemodel"], "none.caffemodel"),
        (["--sigint-effect", "explode"], "'explode'"),
    ],
)
def test_wrong_arguments(case: Path, arguments: list[str], message: str) -> None:
    before = sorted(os.listdir())
    result = train(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert sorted(os.listdir()) == before


def test_solver_mode_gpu_without_cuda_is_said(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = train("--set", "solver_mode=GPU", "--max-iter", "1")
    assert result.exit_code == 0
    assert result.stderr.startswith("solver_mode is GPU, but torch sees no CUDA device: training on the CPU\n")


def test_gpu_without_cuda_is_an_error(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = train("--gpu", "0")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: torch sees no CUDA device. Received: --gpu 0\n  leave --gpu out to run on the CPU\n"
    )


@pytest.fixture
def start(case: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a training without end in a process of its own; it is given once it has logged a dozen iterations."""
    processes = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "proto2torch", "train", "solver.prototxt", "--max-iter", "100000000", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        processes.append(process)
        wait_for(process, "Iteration 12 ")
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], beginning: str) -> None:
    """Read the log up to the line that begins so."""
    assert process.stderr is not None
    lines = []
    while not lines or not lines[-1].startswith(beginning):
        lines.append(process.stderr.readline())
        assert lines[-1], "it ended by itself:\n" + "".join(lines)


def test_an_interrupt_snapshots_and_ends_with_130(case: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("--set", "snapshot=0")
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130, log[-2000:]
    assert "Optimization stopped early." in log
    (state,) = case.glob("snap_iter_*.solverstate")
    assert state.with_suffix(".caffemodel").is_file()


def test_a_hangup_snapshots_and_the_training_goes_on(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("--set", "snapshot=0", "--sigint-effect", "none")
    process.send_signal(signal.SIGHUP)
    wait_for(process, "Snapshotting solver state")
    wait_for(process, "Iteration ")
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130, log[-2000:]
