"""Whether a training is recorded where nobody says: by what iterations took, and without the loss of one."""

from __future__ import annotations

import itertools

import pytest
import torch

import proto2torch as p2t
from proto2torch.training.graphs import Recorded
from proto2torch.training.trial import Trial, Verdict

from .cases import CASES, SOLVERS, enter
from .tape import Tape

QUIET = {"display": 0, "snapshot": 0}


class Ticks:
    """A clock by which the iterations take these milliseconds, one after the other."""

    def __init__(self, *taken):
        self.times = list(itertools.accumulate(itertools.chain.from_iterable((0.0, one) for one in taken)))
        self.asked = 0

    def now(self):
        return self.times.pop(0)

    def between(self, start, end):
        self.asked += 1
        return end - start


def ticks(plain, recorded):
    return Ticks(*[500.0] * 5, *[plain] * 10, *[900.0] * 5, *[recorded] * 10)


@pytest.fixture
def case(monkeypatch, tmp_path):
    return enter(SOLVERS / CASES[5], tmp_path, monkeypatch)


def solver(log=lambda line: None, **overrides):
    made = p2t.Solver("solver.prototxt", weights="init.caffemodel", overrides={**QUIET, **overrides}, log=log)
    made._update.rule.rates_on_device()
    return made


def tried(recorder, clock, monkeypatch, **overrides):
    """A solver that tries, as on CUDA, and what it logs."""
    lines = []
    made = solver(lines.append, **overrides)
    made._trial = Trial(clock)
    work = made._iteration.whole
    monkeypatch.setattr(made, "_recording", lambda required: Recorded(made.net, 1, work, recorder, required=required))
    lines.clear()
    return made, lines


def test_medians_decide_and_the_first_iterations_do_not_count():
    clock = ticks(2.0, 1.5)
    trial, turns = Trial(clock), []
    while trial.verdict() is None:
        assert clock.asked == 0  # nothing waits before the end
        turns.append(trial.recording)
        assert trial.timed(lambda: "found") == "found"
    assert turns == [False] * 15 + [True] * 15
    assert trial.verdict() == pytest.approx((2.0, 1.5))
    assert trial.verdict().record


def test_a_tie_is_left_plain_and_said():
    assert not Verdict(1.0, 1.0).record
    assert str(Verdict(1.0, 1.25)) == "CUDA graph: 1.250 ms an iteration, 1.000 ms without: left out"
    assert str(Verdict(0.5, 0.25)) == "CUDA graph: 0.250 ms an iteration, 0.500 ms without: kept"


@pytest.mark.parametrize(("recorded", "word", "plays"), [(0.1, "kept", 12 + 10), (3.0, "left out", 12)])
def test_a_training_keeps_the_faster_way_and_loses_no_step(recorded, word, plays, case, monkeypatch):
    plain, recorder = solver(), Tape()
    trying, lines = tried(recorder, ticks(1.0, recorded), monkeypatch)
    for one in (plain, trying):
        one.step(40)
    assert [line for line in lines if "CUDA" in line] == [
        f"CUDA graph: {recorded:.3f} ms an iteration, 1.000 ms without: {word}"
    ]
    assert recorder.plays == plays
    assert trying.iter == 40
    for ours, theirs in zip(trying.net.learned, plain.net.learned, strict=True):
        assert torch.equal(ours.data, theirs.data)


class Fails(Tape):
    def record(self, work):
        raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize("recorder", [Tape(against="it waits for the device"), Fails()])
def test_what_cannot_be_recorded_goes_on_in_silence(recorder, case, monkeypatch):
    plain = solver()
    trying, lines = tried(recorder, ticks(1.0, 1.0), monkeypatch)
    for one in (plain, trying):
        one.step(25)
    assert (recorder.records, recorder.plays) == (0, 0)
    assert not [line for line in lines if "CUDA" in line]
    assert trying._recorded is trying._trial is None
    for ours, theirs in zip(trying.net.learned, plain.net.learned, strict=True):
        assert torch.equal(ours.data, theirs.data)


def test_displays_in_between_are_not_timed(case, monkeypatch):
    recorder = Tape()
    trying, lines = tried(recorder, ticks(1.0, 0.5), monkeypatch, display=10)
    trying.step(36)
    assert sum("CUDA graph" in line for line in lines) == 1
    assert recorder.plays == 12 + 2


@pytest.mark.parametrize("asked", [None, False])
def test_nothing_is_tried_on_the_cpu(asked, case):
    made = p2t.Solver("solver.prototxt", log=lambda line: None, cuda_graph=asked)
    assert made._trial is made._recorded is None
    assert made._update.rule._placed is None


def test_what_is_compiled_or_profiled_is_recorded_on_request_alone():
    from proto2torch.cli.train import _recorded

    assert _recorded(None, compiled=False, profile=None) is None
    assert _recorded(None, compiled=True, profile=None) is False
    assert _recorded(None, compiled=False, profile=5) is False
    assert _recorded(True, compiled=True, profile=None) is True
