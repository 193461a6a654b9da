"""JSON lines and TensorBoard."""

from __future__ import annotations

import json
import sys

import pytest

from proto2torch.errors import Proto2TorchError
from proto2torch.training.sinks import JsonLog, TensorBoard

from .cases import SOLVERS, enter, solver


def test_an_object_for_each_event(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "06-SGD-multistep", tmp_path, monkeypatch)
    ours, _ = solver(folder, callbacks=[JsonLog("log.jsonl")], overrides={"max_iter": 6, "display": 5})
    ours.solve()
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "display", "display", "snapshot", "end"]
    assert events[0]["max_iter"] == 6
    assert [event["lr"] for event in events[1:3]] == pytest.approx([0.05, 0.015])  # stepvalue 4, gamma 0.3
    assert events[2]["outputs"]["loss"] == ours.history.displays[1].outputs[0].value
    assert events[3]["solverstate"] == "snap_iter_6.solverstate"


def test_a_figure_that_is_no_number_is_null(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    ours, _ = solver(folder, callbacks=[JsonLog("log.jsonl")], watch=False, overrides={"base_lr": 1e30})
    ours.step(4)
    ours.close()
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-2])
    assert last["iteration"] == 3 and last["outputs"]["loss"] is None


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(Proto2TorchError, match=r"none/log\.jsonl: cannot write it: no such file"):
        JsonLog(str(tmp_path / "none" / "log.jsonl"))


def test_absence_of_tensorboard_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(Proto2TorchError) as caught:
        TensorBoard("runs")
    assert str(caught.value) == ("--tensorboard needs the package tensorboard: pip install 'proto2torch[tensorboard]'")


def test_scalars_are_named_after_net_and_figure(tmp_path, monkeypatch):
    board = TensorBoard.__new__(TensorBoard)
    told = []
    board._writer = type("Writer", (), {"add_scalar": lambda self, *a: told.append(a), "flush": lambda self: None})()
    ours, _ = solver(enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch), callbacks=[board])
    ours.step(1)
    assert [(name, at) for name, _, at in told] == [("train/smoothed_loss", 0), ("train/lr", 0), ("train/loss", 0)]
    assert told[1][1] == pytest.approx(0.05)
