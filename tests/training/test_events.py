"""The history of a training: its order, its parts, its series."""

from __future__ import annotations

import pytest

from .cases import RUNS, enter, solver


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(RUNS / name)
    ours, _ = solver(enter(RUNS / "bn-step", tmp_path, monkeypatch), overrides={"test_interval": 2, "display": 1})
    ours.step(4)
    return ours


def test_events_come_in_their_order(run):
    order = [("test0", 0), ("train", 0), ("train", 1), ("test0", 2), ("train", 2), ("train", 3)]
    assert [(event.net, event.iteration) for event in run.history] == order
    assert len(run.history) == 6 and run.history[-1].iteration == 3 and len(run.history[:2]) == 2
    assert [e.iteration for e in run.history.displays] == [0, 1, 2, 3]
    assert [e.iteration for e in run.history.tests] == [0, 2]


def test_series(run):
    (first, accuracy), (second, _) = run.history.series("accuracy", "test0")
    assert (first, second) == (0, 2) and accuracy == pytest.approx(0.111111, abs=1e-5)  # as Caffe's log has it
    assert run.history.series("lr") == [(i, pytest.approx(0.05)) for i in range(4)]
    assert run.history.series("accuracy") == []
