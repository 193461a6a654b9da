"""A training that is resumed is the training that was never stopped, to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .cases import GOLDEN, alone, solved, written

MARK = "----"

NET = """
name: "Dropping"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } transform_param { crop_size: 20 mirror: true scale: 0.01 }
  data_param { source: "lmdb" batch_size: 6 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST } transform_param { crop_size: 20 scale: 0.01 }
  data_param { source: "lmdb" batch_size: 5 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 5 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
SOLVER = """type: "Adam" base_lr: 0.01 momentum: 0.9 lr_policy: "step" gamma: 0.5 stepsize: 3 weight_decay: 0.01 iter_size: 2
  max_iter: 8 snapshot: 4 snapshot_prefix: "kept/s" test_iter: 2 test_interval: 3 display: 1 random_seed: 7"""
GO = """
    train = load(".")
    def go(*arguments):
        sys.argv = ["train.py", *arguments]
        train.main()
    def mark():
        print("----")
    """


def test_weights_history_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN / "tools" / "lmdb_raw", tmp_path / "lmdb")
    (tmp_path / "train.py").write_text(solved(tmp_path, NET, SOLVER).text)
    code = """
    go()
    os.rename("kept/s_iter_8.pt", "whole.pt")
    mark()
    go("--resume", "--seed", "99")
    def same(a, b):
        if isinstance(a, torch.Tensor):
            return torch.equal(a, b)
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        return all(map(same, a, b)) and len(a) == len(b) if isinstance(a, list) else a == b
    whole, resumed = (torch.load(path, weights_only=True) for path in ("whole.pt", "kept/s_iter_8.pt"))
    assert whole["iteration"] == 8 and whole["tests"] == 3 and len(whole["model"]) == 7
    assert same(whole, resumed)
    """
    whole, resumed = alone(GO + code, tmp_path).split(f"{MARK}\n")
    assert resumed and whole.endswith(resumed)


def test_what_a_layer_remembers_between_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = """
        layer { name: "x" type: "DummyData" top: "x" top: "cont" top: "y" dummy_data_param {
          shape { dim: 3 dim: 2 dim: 4 } shape { dim: 3 dim: 2 } shape { dim: 3 dim: 2 dim: 5 }
          data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } data_filler { type: "gaussian" } } }
        layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h"
          recurrent_param { num_output: 5 weight_filler { type: "uniform" min: -0.5 max: 0.5 } } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "h" bottom: "y" top: "loss" }"""
    fields = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 6 snapshot: 3 snapshot_prefix: "s" display: 1 random_seed: 7'
    (tmp_path / "train.py").write_text(solved(tmp_path, net, fields).text)
    code = """
    go()
    mark()
    os.unlink("s_iter_6.pt")
    go("--resume")
    mark()
    os.unlink("s_iter_6.pt")
    text = open("train.py").read()
    open("train.py", "w").write(text.replace('state["memories"]', "[]"))
    train = load(".")
    go("--resume")
    """
    whole, resumed, forgetful = alone(GO + code, tmp_path).split(f"{MARK}\n")
    assert resumed and whole.endswith(resumed)
    assert not whole.endswith(forgetful)


def test_without_a_snapshot_it_begins_and_a_named_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (GOLDEN / "solvers/00-SGD-fixed").iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "train.py").write_text(written(tmp_path / "solver.prototxt").text)
    out = alone(
        GO
        + """
    go("--resume")
    go("--resume", "snap_iter_10.pt")
    """,
        tmp_path,
    )
    heads = [line for line in out.splitlines() if ", loss" in line]
    assert [line.split(",")[0] for line in heads] == [f"Iteration {i}" for i in (*range(21), *range(10, 21))]
    assert heads[13:21] == heads[24:]  # the mean of the last four losses begins anew, as in Caffe
