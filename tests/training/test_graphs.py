"""Recorded forward and backward: buffers, gradients and refusals, by a recorder that plays on the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.errors import DeviceError
from proto2torch.training.graphs import Recorded, refusal

CASE = Path(__file__).parents[1] / "golden/data/solvers/00-SGD-fixed"


class Replays:
    """Plays by doing the work again into the memory of the recording, as a CUDA graph does."""

    records = 0

    def warm(self, work):
        return work()

    def record(self, work):
        self.records += 1
        outputs, loss = work()
        grads = [p.grad for p in self.parameters]

        def play():
            for p in self.parameters:
                p.grad = None
            again, value = work()
            loss.copy_(value)
            for name, output in again.items():
                outputs[name].copy_(output)
            for mine, p in zip(grads, self.parameters, strict=True):
                mine.copy_(p.grad)
                p.grad = None

        return (outputs, loss), play


@pytest.fixture
def case(monkeypatch, tmp_path):
    shutil.copytree(CASE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def solver(**how):
    return p2t.Solver("solver.prototxt", weights="init.caffemodel", log=lambda line: None, **how)


def test_a_recorded_training_has_the_same_numbers(case):
    plain, recorded = solver(), solver()
    recorder = Replays()
    recorder.parameters = [blob.tensor for blob in recorded.net.learned]
    recorded._recorded = Recorded(recorded.net, lambda loss: loss, recorder)
    losses = [[], []]
    for kept, one in zip(losses, (plain, recorded), strict=True):
        for _ in range(10):
            one.update()
            kept.append(one.loss)
    assert [float(loss) for loss in losses[0]] == [float(loss) for loss in losses[1]]
    for ours, theirs in zip(recorded.net.learned, plain.net.learned, strict=True):
        assert torch.equal(ours.data, theirs.data)
    assert recorder.records == 1


def test_without_cuda_it_is_refused(case):
    with pytest.raises(DeviceError, match="cannot be recorded as a CUDA graph: it needs a CUDA device"):
        solver(cuda_graph=True)
    done = CliRunner().invoke(main, ["train", "solver.prototxt", "--cuda-graph"])
    assert done.exit_code == 2
    assert "it needs a CUDA device" in done.stderr


def test_what_adds_up_over_batches_is_refused(case):
    accumulating = solver(overrides={"iter_size": 2})
    accumulating.net.device = torch.device("cuda")
    assert (
        refusal(accumulating.net, accumulating.definition) == "with iter_size the gradients of several batches add up"
    )


def test_what_cannot_be_recorded_is_said(case):
    class Fails(Replays):
        def record(self, work):
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    failing = solver()
    failing._recorded = Recorded(failing.net, lambda loss: loss, Fails())
    with pytest.raises(DeviceError, match="this net cannot be recorded: operation not permitted when stream is captur"):
        failing.step(5)
