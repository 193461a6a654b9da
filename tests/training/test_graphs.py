"""Recorded iterations: the same numbers, buffers and refusals, by a recorder that plays on the CPU."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.errors import DeviceError
from proto2torch.training.graphs import Recorded, refusal, with_update

from .cases import CASES, RUNS, SOLVERS, Captured, enter, expected, relative_error, weights
from .tape import Tape

QUIET = {"display": 0, "snapshot": 0}


@pytest.fixture
def case(monkeypatch, tmp_path):
    return enter(SOLVERS / CASES[0], tmp_path, monkeypatch)


def solver(log=None, **overrides):
    """A solver whose rates lie on the device, as they do on CUDA."""
    made = p2t.Solver("solver.prototxt", weights="init.caffemodel", overrides=overrides, log=log or (lambda line: None))
    made._update.rule.rates_on_device()
    return made


def recorded(recorder, log=None, **overrides):
    """The same, recorded."""
    made = solver(log, **overrides)
    work = made._iteration.whole if made._at_once else made._iteration.gradients
    made._recorded = Recorded(made.net, made.definition.iter_size, work, recorder)
    return made


def histories(training):
    return [slot for blob in training.net.learned for slot in training._update.rule.history(blob.tensor)]


def same(ours, theirs):
    for mine, other in zip(ours.net.learned, theirs.net.learned, strict=True):
        assert torch.equal(mine.data, other.data)
    assert all(map(torch.equal, histories(ours), histories(theirs)))


@pytest.mark.parametrize("name", CASES)
def test_twenty_updates_are_those_of_the_plain_training(name, tmp_path, monkeypatch):
    enter(SOLVERS / name, tmp_path, monkeypatch)
    recorder, losses = Tape(), [[], []]
    pair = solver(**QUIET), recorded(recorder, **QUIET)
    for kept, one in zip(losses, pair, strict=True):
        for _ in range(20):
            one.update()
            kept.append((one.loss.item(), one.outputs["loss"].item()))
    assert losses[0] == losses[1]
    assert (recorder.records, recorder.warmed, recorder.plays) == (1, 3, 17)
    same(*pair)
    caffes = expected(name)
    for blob, values in weights(pair[1]).items():
        assert relative_error(values, caffes[f"w20_{blob}"]) <= 1e-4


@pytest.mark.parametrize("display", [1, 4])
def test_what_is_shown_and_kept_between_plays_is_that_of_the_plain_training(display, case):
    """Where each iteration is shown, forward and backward alone are recorded; else those that are shown are not."""
    kept, recorder = [], Tape()
    for number, make in enumerate((solver, lambda *how, **over: recorded(recorder, *how, **over))):
        log = Captured()
        training = make(log, display=display, snapshot_prefix=f"snap{number}", clip_gradients=0.2)
        training.step(20)
        words = ("    Train", "Iteration", *(["Gradient"] if display == 1 else []))  # on CUDA where all is shown
        shown = [line for line in log.lines() if line.startswith(words)]
        kept.append((training, [line.split(" (")[0] + line.split(")")[-1] for line in shown]))
    assert kept[0][1] == kept[1][1]
    assert kept[0][1]
    assert recorder.plays == (17 if display == 1 else 12)
    same(kept[0][0], kept[1][0])
    ours, theirs = (p2t.read_weights(f"snap{number}_iter_10.caffemodel") for number in range(2))
    for layer, blobs in ours.items():
        assert all(map(np.array_equal, blobs, theirs[layer]))


def test_a_resumed_training_goes_on_as_it_would_have(case):
    whole = recorded(Tape(), display=0, snapshot=8)
    whole.step(20)
    recorder = Tape()
    resumed = recorded(recorder, **QUIET)
    resumed.step(5)  # recorded, over tensors that the restore replaces
    resumed.restore("snap_iter_8.solverstate")
    resumed.step(12)
    assert recorder.records == 2
    same(resumed, whole)


def test_batch_norms_and_tests_in_between(monkeypatch, tmp_path):
    """Statistics are gathered by the plays, and the tests use them."""
    shutil.copytree(RUNS, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs/bn-step")
    trained = []
    for recorder in (None, Tape()):
        log = Captured()
        overrides = {"max_iter": 30, "test_interval": 10, "snapshot_after_train": False, "snapshot": 0}
        training = p2t.Solver("solver.prototxt", overrides=overrides, log=log)
        training._update.rule.rates_on_device()
        if recorder:
            training._recorded = Recorded(training.net, 1, training._iteration.whole, recorder)
        training.solve()
        trained.append(([line for line in log.lines() if "Test net" in line], training))
    assert recorder.plays == 30 - 3 - 3  # those that warm it, and those that are shown
    assert len(trained[0][0]) == 4 * 2
    assert trained[0][0] == trained[1][0]
    same(trained[0][1], trained[1][1])


def test_a_rate_that_no_graph_can_take_is_not_played(case):
    recorder = Tape()
    stages = {"lr_policy": "multifixed", "stagelr": [0.05, 0.0, 0.02], "stageiter": [7, 12, 30]}
    pair = solver(**QUIET, **stages), recorded(recorder, **QUIET, **stages)
    for one in pair:
        one.step(20)
    assert (recorder.warmed, recorder.plays) == (3 + 5, 12)
    same(*pair)


def test_fp16_scales_within_the_graph(case, monkeypatch):
    from proto2torch import precision

    monkeypatch.setattr(precision, "_chosen", None)
    precision.choose("fp16")
    recorder = Tape()
    pair = solver(**QUIET), recorded(recorder, **QUIET)
    for one in pair:
        one._scale._scale.fill_(2.0**40)  # overflows, is halved, and fits
        one.step(30)
    assert recorder.plays == 27
    assert pair[0]._scale.state() == pair[1]._scale.state()
    assert pair[0]._scale.state()["scale"] < 2.0**40
    same(*pair)


def test_what_is_written_counts_as_written(case):
    """BatchNorm's statistics in a test net are made anew where the version of the sums has grown."""

    class Silent(Tape):
        def record(self, work):
            return super().record(work)[0], lambda: None

    training = recorded(Silent(), **QUIET)
    training.step(4)
    before = [blob.tensor._version for blob in training.net.learned]
    training.step(1)
    assert all(blob.tensor._version > version for blob, version in zip(training.net.learned, before, strict=True))


@pytest.mark.parametrize(("policy", "more"), [("fixed", []), ("inv", ["_foreach_mul_", "fill_"] * 3)])
def test_beside_the_play_are_copies_in_and_out_and_what_a_changed_rate_needs(policy, more, case, called):
    """Of batch and label into the graph's memory, of output and loss out of it; three groups differ in multipliers."""

    class Silent(Tape):
        def record(self, work):
            return super().record(work)[0], lambda: None

    training = recorded(Silent(), **QUIET, lr_policy=policy, gamma=0.1, power=0.75)
    training.step(5)
    batch = training.net.batch()
    training.net.batch = lambda: batch
    with called() as calls:
        training.step(1)
    assert len(training._update.rule.param_groups) == 3
    assert sorted(calls.names) == sorted(["copy_", "copy_", "clone", "clone", *more])


def test_outputs_of_an_iteration_stay_as_they_were(case):
    training, kept = recorded(Tape(), **QUIET), []
    for _ in range(6):
        training.step(1)
        kept.append((training.outputs["loss"], training.loss, training.loss.item()))
    assert [loss.item() for _, loss, _ in kept] == [value for *_, value in kept]
    assert [output.item() for output, *_ in kept] == [value for *_, value in kept]
    assert len({value for *_, value in kept}) == 6


def test_what_comes_between_gradients_and_update_keeps_them_apart(case):
    for overrides, together in (
        ({}, True),
        ({"display": 1}, False),
        ({"snapshot_diff": True}, False),
        ({"lr_policy": "plateau", "gamma": 0.5, "plateau_winsize": [5]}, False),
    ):
        assert with_update(solver(**{"display": 0, **overrides}).definition) is together


def test_without_cuda_it_is_refused(case):
    with pytest.raises(DeviceError, match="cannot be recorded as a CUDA graph: it needs a CUDA device"):
        p2t.Solver("solver.prototxt", log=lambda line: None, cuda_graph=True)
    done = CliRunner().invoke(main, ["train", "solver.prototxt", "--cuda-graph"])
    assert done.exit_code == 2
    assert "it needs a CUDA device" in done.stderr


def test_what_remembers_on_the_host_is_refused():
    text = """
    layer { name: "in" type: "Input" top: "x" top: "cont" input_param { shape { dim: 2 dim: 1 dim: 3 } shape { dim: 2 dim: 1 } } }
    layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "y" recurrent_param { num_output: 4 } }
    """
    net = p2t.load(text=text, phase="TRAIN")
    net.device = torch.device("cuda")
    assert refusal(net) == "layer 'lstm' (LSTM) remembers the batch before on the host"


def test_what_cannot_be_recorded_is_said(case):
    class Fails(Tape):
        def record(self, work):
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    failing = recorded(Fails(), **QUIET)
    with pytest.raises(DeviceError, match="this net cannot be recorded: operation not permitted when stream is captur"):
        failing.step(5)
