"""Which snapshots stay, the best by a test output, and stopping when nothing gets better."""

from __future__ import annotations

import re

import pytest

from proto2torch.errors import SolverError
from proto2torch.training import events
from proto2torch.training.callbacks import Callback
from proto2torch.training.log import Figure
from proto2torch.training.retention import Best, Keep, Output, Patience
from proto2torch.weights import solverstate

from .cases import RUNS, SOLVERS, enter, solver


@pytest.fixture
def run(tmp_path, monkeypatch):
    """bn-step's folder, whose accuracies Caffe's log has: 0.111111, 0.494444, 0.597222 at 0, 50 and 100."""
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(RUNS / name)
    return enter(RUNS / "bn-step", tmp_path, monkeypatch)


def test_the_newest_snapshots_are_kept(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    (folder / "snap_iter_90.solverstate").touch()  # of another run, and not complete
    ours, log = solver(folder, callbacks=[Keep(2)], overrides={"snapshot": 2})
    ours.step(8)
    kept = sorted(path.name for path in folder.glob("snap_iter_[0-9]*"))
    assert kept == sorted(
        [f"snap_iter_{i}.{kind}" for i in (6, 8) for kind in ("caffemodel", "solverstate", "resume")]
        + ["snap_iter_90.solverstate"]
    )
    assert [line for line in log.lines() if "Removed" in line] == [
        "Removed the snapshot of iteration 10",  # of Caffe's run
        "Removed the snapshot of iteration 2",
        "Removed the snapshot of iteration 4",
    ]


def test_the_best_by_accuracy_is_kept(run):
    best = Best("accuracy")
    ours, _ = solver(run, callbacks=[best], overrides={"max_iter": 60, "snapshot_after_train": False, "display": 0})
    ours.solve()
    assert best.iteration == 50 and best.value == pytest.approx(0.494444, abs=2e-3)
    state = solverstate.read("snap_best.solverstate")
    assert (state.iter, state.learned_net) == (50, "snap_best.caffemodel")
    ours.restore("snap_best.solverstate")
    assert ours.iter == 50 and ours.test()[0]["accuracy"].item() == pytest.approx(best.value)


class Scripted(Callback):
    """Tells the others of tests that never were."""

    def __init__(self, inner, values):
        self.inner, self.values = inner, values

    def iterated(self, solver):
        event = events.Tested(solver.iter, 0.0, 0, 0.0, (Figure("loss", self.values[solver.iter - 1], 1.0),))
        self.inner.tested(solver, event)


@pytest.mark.parametrize(
    "values, patience, iterations",
    [([3, 2, 2, 2, 1, 0, 0, 0, 0, 0], 3, 9), ([3, 2, 2.5, 2, 1, 1, 1, 1, 1, 1], 2, 4), ([9, 8, 7, 6, 5], 1, 5)],
)
def test_patience_counts_tests_without_a_better_one(values, patience, iterations, tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    ours, log = solver(folder, callbacks=[Scripted(Patience(patience), values)], overrides={"snapshot": 0})
    ours.step(len(values))
    assert ours.iter == iterations and not ours.interrupted
    stopped = [line for line in log.lines() if line.endswith("stopping")]
    assert len(stopped) == (iterations < len(values))
    if stopped:
        assert re.match(rf"loss has not become better than \S+ in {patience} tests: stopping", stopped[0])


def test_patience_goes_on_from_its_state():
    first, second = Patience(3), Patience(3)
    first._best, first._waited = 0.5, 2
    second.load_state(first.state())
    assert second.state() == {"best": 0.5, "waited": 2}


@pytest.mark.parametrize(
    "text, output",
    [
        ("accuracy", Output("accuracy", False)),
        ("loss", Output("loss", True)),
        ("top1_error", Output("top1_error", True)),
        ("score:min", Output("score", True)),
        ("loss:max", Output("loss", False)),
    ],
)
def test_which_way_is_better(text, output):
    assert Output.parse(text) == output


def test_an_output_that_is_not_there_is_refused(run):
    ours, _ = solver(run, callbacks=[Best("acuracy")])
    with pytest.raises(SolverError, match=r"no output 'acuracy'.*\n.*did you mean 'accuracy'"):
        ours.step(1)


def test_a_wrong_way_is_refused():
    with pytest.raises(ValueError, match="Received: 'loss:up'"):
        Output.parse("loss:up")
