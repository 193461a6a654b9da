"""The lines of debug_info against the same figures in numpy: shared weights, a split blob, gradients that add up."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest

from proto2torch.errors import RunError

from .cases import SOLVERS, enter, solver, weights

NET = """
layer { name: "data" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list.txt" batch_size: 2 } }
layer { name: "one" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
        inner_product_param { num_output: 3 bias_term: false weight_filler { type: "gaussian" std: 1 } } }
layer { name: "two" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
        inner_product_param { num_output: 3 bias_term: false weight_filler { type: "gaussian" std: 1 } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "s" }
layer { name: "relu" type: "ReLU" bottom: "s" top: "s" }
layer { name: "loss" type: "EuclideanLoss" bottom: "s" bottom: "y" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 4 random_seed: 1 iter_size: 2 display: 2
debug_info: true snapshot_after_train: false
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    with h5py.File("data.h5", "w") as file:
        file["x"] = rng.standard_normal((4, 3)).astype("f")
        file["y"] = rng.standard_normal((4, 3)).astype("f")
    (tmp_path / "list.txt").write_text("data.h5\n")
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


def mean(values):
    return float(np.abs(values).mean())


def of_a_batch(x, y, w, sums):
    """(line without its figure, figure) in Caffe's order; `sums` is what the batches before left in w's diff."""
    a = x @ w.T
    b = a @ w.T
    s = a + b
    out = np.maximum(s, 0)
    dout = (out - y) / len(x)
    ds = dout * (s > 0)
    da = ds @ w
    behind = sums + ds.T @ a
    whole = behind + (da + ds).T @ x
    split = "a_one_0_split"
    yield from [
        ("[Forward] Layer data, top blob x data", mean(x)),
        ("[Forward] Layer data, top blob y data", mean(y)),
        ("[Forward] Layer one, top blob a data", mean(a)),
        ("[Forward] Layer one, param blob w data", mean(w)),
        (f"[Forward] Layer {split}, top blob {split}_0 data", mean(a)),
        (f"[Forward] Layer {split}, top blob {split}_1 data", mean(a)),
        ("[Forward] Layer two, top blob b data", mean(b)),
        ("[Forward] Layer two, param blob w data", mean(w)),
        ("[Forward] Layer sum, top blob s data", mean(s)),
        ("[Forward] Layer relu, top blob s data", mean(out)),
        ("[Forward] Layer loss, top blob loss data", float(((out - y) ** 2).sum() / 2 / len(x))),
        ("[Backward] Layer loss, bottom blob s diff", mean(dout)),
        ("[Backward] Layer relu, bottom blob s diff", mean(ds)),
        (f"[Backward] Layer sum, bottom blob {split}_1 diff", mean(ds)),
        ("[Backward] Layer sum, bottom blob b diff", mean(ds)),
        (f"[Backward] Layer two, bottom blob {split}_0 diff", mean(da)),
        ("[Backward] Layer two, param blob 0 diff", mean(behind)),
        (f"[Backward] Layer {split}, bottom blob a diff", mean(da + ds)),
        ("[Backward] Layer one, param blob 0 diff", mean(whole)),
    ]
    norms = [np.abs(w).sum(), np.abs(whole).sum(), np.linalg.norm(w), np.linalg.norm(whole)]
    yield "[Backward] All net params (data, diff)", norms
    sums[:] = whole


def test_every_figure(folder):
    training, log = solver(folder)
    w = training.net.params["one"][0].data.numpy().astype("d")
    training.step(1)
    found = [line for line in log.lines() if line.startswith("    [")]
    with h5py.File("data.h5") as file:
        x, y = file["x"][:].astype("d"), file["y"][:].astype("d")
    sums = np.zeros((3, 3))
    expected = [line for i in (0, 2) for line in of_a_batch(x[i : i + 2], y[i : i + 2], w, sums)]
    assert [line.strip().partition(": ")[0] for line in found] == [text for text, _ in expected]
    for line, (_, figure) in zip(found, expected, strict=True):
        figures = [float(n) for n in re.findall(r"-?\d[\d.e+-]*(?=[,)]|$)", line.partition(": ")[2])]
        assert figures == pytest.approx(np.ravel(figure).tolist(), rel=1e-5), line


def test_only_in_display_iterations(folder):
    training, log = solver(folder)
    training.step(4)
    assert sum("[Backward] All net params" in line for line in log.lines()) == 2 * 2  # iterations 0 and 2, twice each


@pytest.mark.parametrize("case", ["00-SGD-fixed", "09-RMSProp-fixed"])
def test_numbers_stay_as_they_are(case, tmp_path, monkeypatch):
    folder = enter(SOLVERS / case, tmp_path, monkeypatch)
    (plain, _), (shown, _) = solver(folder), solver(folder, overrides={"debug_info": True, "display": 1})
    plain.step(6)
    shown.step(6)
    assert all((ours == weights(plain)[name]).all() for name, ours in weights(shown).items())


def test_test_nets_show_each_batch(folder):
    training, log = solver(folder, overrides={"test_iter": 3, "test_interval": 1})
    training.test()
    tested = log.text.getvalue().partition("Testing net (#0)")[2]
    assert tested.count("[Forward] Layer relu, top blob s data: ") == 3 and "[Backward]" not in tested


def test_a_loss_that_is_not_finite_is_still_traced(folder):
    training, _ = solver(folder, overrides={"base_lr": 1e30, "display": 1})
    with pytest.raises(
        RunError, match=r"layer 'two' \(InnerProduct\): iteration 1: .* 'b' is the first that is not finite"
    ):
        training.step(4)
