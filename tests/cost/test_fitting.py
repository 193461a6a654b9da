"""A step that is too large for a GPU: what is said, where, and that the pair it names does fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.cost import estimate
from proto2torch.cost.fitting import advice
from proto2torch.errors import RunError

NET = """name: "n"
layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt"
  batch_size: 24 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
%s
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 3 display: 1 type: "Adam" momentum: 0.9 %s'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import h5py
    import numpy as np

    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["data"], file["label"] = np.zeros((24, 3, 12, 12), "f4"), np.zeros(24, "f4")
    (tmp_path / "list.txt").write_text("data.h5\n")
    (tmp_path / "net.prototxt").write_text(NET % "")
    (tmp_path / "solver.prototxt").write_text(SOLVER % "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parameters() -> int:
    """Bytes of parameters, gradients and Adam's two histories: convolution and inner product."""
    return 4 * 4 * ((8 * 27 + 8) + (5 * 800 + 5))


def test_the_pair_fits_and_makes_the_same_number_of_items(folder: Path) -> None:
    graph = p2t.load("net.prototxt", phase="TRAIN").graph
    memory = estimate(graph, "Adam")
    assert memory.fixed == parameters()
    for part in (0.99, 0.5, 0.3, 0.1):
        available = int((memory.fixed + part * (memory.total - memory.fixed)) / 0.9)
        found = advice(graph, "Adam", 2, available, "the GPU")
        assert found is not None
        pair = re.search(r"batch_size: (\d+) here with iter_size: (\d+) in the solver fits", found.hint)
        assert pair is not None
        batch, iter_size = map(int, pair.groups())
        assert batch * iter_size == 24 * 2
        assert memory.at(batch) <= 0.9 * available
        assert found.where.line == 3
    assert advice(graph, "Adam", 2, int(memory.total / 0.9) + 2, "the GPU") is None


def test_where_not_one_item_fits_the_largest_layer_is_named(folder: Path) -> None:
    found = advice(p2t.load("net.prototxt", phase="TRAIN").graph, "Adam", 1, 1000, "the GPU")
    assert found is not None
    assert found.hint.startswith("not even one item fits: 67.66 kB are parameters")
    assert "the most of them of layer 'ip'" in found.hint


def test_batch_norm_is_told_apart(folder: Path) -> None:
    norm = 'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }'
    found = advice(p2t.load(text=NET % norm, phase="TRAIN").graph, "SGD", 1, 300_000, "the GPU")
    assert found is not None
    assert found.hint.endswith("sums the same gradient, but for BatchNorm, which sees the smaller batch")


def test_check_says_it_with_the_line(folder: Path) -> None:
    result = CliRunner().invoke(main, ["check", "solver.prototxt", "--gpu-memory", "0.00025"])
    assert result.exit_code == 0
    assert "warning: layer 'data' (HDF5Data), net.prototxt:3:" in result.stdout
    assert "with batch_size 24, and the GPU has 250 kB" in result.stdout
    assert "batch_size: 12 here with iter_size: 2 in the solver fits" in result.stdout
    result = CliRunner().invoke(main, ["check", "solver.prototxt", "--gpu-memory", "8"])
    assert "training step" not in result.stdout


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_a_training_that_finds_no_memory_says_what_fits(
    error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = p2t.Solver("solver.prototxt", device="cpu", log=lambda message: None)

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(solver.net.module, "forward", fail)
    with pytest.raises(RunError) as raised:
        solver.step(1)
    assert raised.value.message.startswith("out of memory: a training step takes about")
    assert raised.value.hint == "batch_size: 12 here with iter_size: 2 in the solver fits, and sums the same gradient"
    assert (raised.value.file, raised.value.line, raised.value.exit_status) == ("net.prototxt", 3, 1)


def test_a_test_that_finds_no_memory_is_told_of_test_iter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "solver.prototxt").write_text(SOLVER % "test_iter: 1 test_interval: 1")
    solver = p2t.Solver("solver.prototxt", device="cpu", log=lambda message: None)

    def fail(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(solver.test_nets[0].module, "forward", fail)
    with pytest.raises(RunError, match="a test does not fit into cpu") as raised:
        solver.test()
    assert raised.value.hint is not None and "more test_iter" in raised.value.hint


def test_other_errors_stay_what_they_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solver = p2t.Solver("solver.prototxt", device="cpu", log=lambda message: None)

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(solver.net, "forward", fail)
    with pytest.raises(RuntimeError, match="something else"):
        solver.step(1)
