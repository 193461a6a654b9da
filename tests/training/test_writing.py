"""The thread that writes snapshots: what it waits for, what it says, and that it writes what was there."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import proto2torch as p2t
from proto2torch.errors import RunError
from proto2torch.training import snapshot
from proto2torch.training.writing import Writer

CASE = Path(__file__).parents[1] / "golden/data/solvers/00-SGD-fixed"


def test_work_goes_on_beside_and_what_follows_comes_back():
    writer, go, done = Writer(), threading.Event(), []
    writer.start(lambda: done.append(go.wait(10)), lambda: done.append(threading.current_thread()))
    writer.settle(wait=False)
    assert done == []
    go.set()
    writer.settle()
    assert done == [True, threading.main_thread()]
    writer.close()


def test_an_error_comes_back_once_and_nothing_follows_it():
    writer, told = Writer(), []

    def fails() -> None:
        raise RunError("cannot write it")

    writer.start(fails, lambda: told.append("told"))
    with pytest.raises(RunError, match="cannot write it"):
        writer.settle()
    writer.settle()
    assert told == []
    writer.close()


def test_a_snapshot_is_of_its_iteration_whatever_the_training_does_meanwhile(monkeypatch, tmp_path):
    shutil.copytree(CASE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(tmp_path / "snap_iter_10.caffemodel", ignore_errors=True)
    go, write = threading.Event(), snapshot.Taken.write
    monkeypatch.setattr(snapshot.Taken, "write", lambda taken: (go.wait(10), write(taken))[1])
    solver = p2t.Solver("solver.prototxt", weights="init.caffemodel", log=lambda line: None)
    threading.Timer(0.5, go.set).start()
    solver.step(15)
    found = p2t.read_weights("snap_iter_10.caffemodel")
    with np.load("expected.npz") as expected:
        for layer, arrays in found.items():
            for i, array in enumerate(arrays):
                theirs = expected[f"w10_{layer}_{i}"]
                assert np.linalg.norm(array.reshape(theirs.shape) - theirs) <= 1e-4 * np.linalg.norm(theirs)
    assert solver.iter == 15


def test_what_is_taken_shares_no_memory_with_the_net(monkeypatch, tmp_path):
    shutil.copytree(CASE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    solver = p2t.Solver("solver.prototxt", log=lambda line: None)
    solver.step(1)
    _, taken = solver._taken()
    live = [blob.tensor for blob in solver.net.learned]
    live += [slot for blob in solver.net.learned for slot in solver._update.rule.history(blob.tensor)]
    arrays = [array for _, arrays in taken.layers for array in arrays] + list(taken.state.history)
    assert len(arrays) == len(live)
    assert not any(np.shares_memory(array, tensor.detach().numpy()) for array in arrays for tensor in live)
