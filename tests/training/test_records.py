"""What lies beside the snapshots after a training: nets, solver, command, versions, figures."""

from __future__ import annotations

import csv
import json
import platform

import pytest
import torch

from proto2torch.prototxt.read import read_net, read_solver
from proto2torch.training.log import figures
from proto2torch.training.records import Records

from .cases import RUNS, SOLVERS, enter, solver


def rows(path):
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["iteration", "seconds", "net", "figure", "value"]
    return rows


def test_nets_and_solver_are_those_that_ran(tmp_path, monkeypatch):
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(RUNS / name)
    folder = enter(RUNS / "bn-step", tmp_path, monkeypatch)
    ours, _ = solver(folder, callbacks=[Records()], overrides={"max_iter": 51, "average_loss": 7, "display": 10})
    ours.solve()
    train, test = (read_net(f"snap_run/{phase}.prototxt") for phase in ("train", "test0"))
    assert [layer.name for layer in train.layers] == [layer.name for layer in ours.net.layers]
    assert [layer.name for layer in test.layers] == [layer.name for layer in ours.test_nets[0].layers]
    assert "accuracy" in [layer.type.lower() for layer in test.layers]
    assert read_solver("snap_run/solver.prototxt").message.average_loss == 7
    found = rows("snap_run/log.csv")
    assert [row[0] for row in found if row[2:4] == ["train", "lr"]] == ["0", "10", "20", "30", "40", "50"]
    accuracies = [(int(row[0]), float(row[4])) for row in found if row[2:4] == ["test0", "accuracy"]]
    assert accuracies == ours.history.series("accuracy", "test0")
    assert [at for at, _ in accuracies] == [0, 50]
    assert accuracies[1][1] == pytest.approx(0.494444, abs=2e-3)  # Caffe's


def test_the_run_can_be_told_again(tmp_path, monkeypatch):
    ours, _ = solver(enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch), callbacks=[Records(["proto2torch", "x"])])
    ours.step(1)
    ours.close()
    run = json.loads((tmp_path / "00-SGD-fixed" / "snap_run/run.json").read_text())
    assert (run["command"], run["random_seed"], run["device"]) == (["proto2torch", "x"], 6862, "cpu")
    assert run["versions"]["torch"] == torch.__version__
    assert run["versions"]["python"] == platform.python_version()


def test_figures_are_written_as_the_run_goes_and_a_resume_goes_on_with_them(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    given = {"snapshot": 0}
    first, _ = solver(folder, callbacks=[Records()], overrides=given)
    first.step(5)
    state = first.snapshot()
    first.step(3)  # and killed: no end is told
    before = rows("snap_run/log.csv")
    first.close()
    assert [row[0] for row in before] == [str(i) for i in range(8) for _ in range(3)]
    second, _ = solver(folder, callbacks=[Records()], overrides=given)
    second.restore(state)
    second.step(4)
    second.close()
    after = rows("snap_run/log.csv")
    assert after[:15] == before[:15]
    assert [row[0] for row in after] == [str(i) for i in range(9) for _ in range(3)]


def test_values_are_whole(tmp_path, monkeypatch):
    ours, _ = solver(enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch), callbacks=[Records()])
    ours.step(1)
    ours.close()
    value = float(next(row[4] for row in rows("snap_run/log.csv") if row[3] == "loss"))
    assert value == figures(ours.outputs, {})[0].value
