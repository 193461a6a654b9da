"""Trainings against what Caffe's own solver computed: weights, losses, log, snapshots."""

from __future__ import annotations

import resource

import h5py
import numpy as np
import pytest
import torch

from proto2torch.errors import DeviceError, RunError, SolverError
from proto2torch.prototxt.schema import new
from proto2torch.training.signals import Action
from proto2torch.training.train import train
from proto2torch.weights import solverstate

from .cases import CASES, RUNS, SOLVERS, enter, expected, relative_error, same_lines, solver, weights

CHECKED = (1, 2, 5, 10, 20)


def snapshot_of(folder):
    return next(path for path in folder.iterdir() if path.name.startswith("snap_iter_10.solverstate"))


def assert_weights(trained, caffe, at):
    for name, ours in weights(trained).items():
        assert relative_error(ours, caffe[f"w{at}_{name}"]) <= 1e-4, f"{name} after {at} updates"


@pytest.mark.parametrize("case", CASES)
def test_initial_weights_are_caffes_bit_for_bit(case, tmp_path, monkeypatch):
    trained, _ = solver(enter(SOLVERS / case, tmp_path, monkeypatch))
    for name, ours in weights(trained).items():
        assert np.array_equal(ours, expected(case)[f"w0_{name}"]), name


@pytest.mark.parametrize("case", CASES)
def test_weights_and_losses_are_caffes(case, tmp_path, monkeypatch):
    caffe = expected(case)
    trained, _ = solver(enter(SOLVERS / case, tmp_path, monkeypatch))
    losses = []
    for iteration in range(20):
        trained.step(1)
        losses.append(trained.outputs["loss"].item())
        if iteration + 1 in CHECKED:
            assert_weights(trained, caffe, iteration + 1)
    assert losses == pytest.approx(caffe["loss_last_microbatch"].tolist(), rel=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_the_log_is_caffes(case, tmp_path, monkeypatch):
    trained, log = solver(enter(SOLVERS / case, tmp_path, monkeypatch))
    train(trained)
    same_lines(log.lines(), (SOLVERS / case / "caffe_log.txt").read_text().splitlines(), rel=2e-5)
    assert_weights(trained, expected(case), 20)


@pytest.mark.parametrize("case", CASES)
def test_caffes_snapshot_goes_on(case, tmp_path, monkeypatch):
    folder = enter(SOLVERS / case, tmp_path, monkeypatch)
    trained, _ = solver(folder)
    trained.restore(snapshot_of(folder))
    assert trained.iter == 10
    assert_weights(trained, expected(case), 10)
    trained.solve()
    assert trained.iter == 20
    assert_weights(trained, expected(case), 20)


@pytest.mark.parametrize("case", CASES)
def test_our_snapshot_is_caffes(case, tmp_path, monkeypatch):
    folder = enter(SOLVERS / case, tmp_path, monkeypatch)
    caffe = solverstate.read(str(snapshot_of(SOLVERS / case)))
    trained, _ = solver(folder)
    trained.step(10)
    ours = solverstate.read(str(snapshot_of(folder)))
    assert (ours.iter, ours.learned_net, ours.current_step) == (10, caffe.learned_net, caffe.current_step)
    assert len(ours.history) == len(caffe.history)
    for a, b in zip(ours.history, caffe.history, strict=True):
        assert a.shape == b.shape and relative_error(a, b) <= 1e-4


@pytest.mark.parametrize("case", ["05-Adam-multistep", "13-Nesterov-step"])
def test_our_snapshot_goes_on_bit_for_bit(case, tmp_path, monkeypatch):
    folder = enter(SOLVERS / case, tmp_path, monkeypatch)
    straight, _ = solver(folder, overrides={"snapshot": 0})
    straight.step(7)  # 7 batches of 5 an epoch: not where the data starts
    state = straight.snapshot()
    straight.step(5)
    again, _ = solver(folder, overrides={"random_seed": 1, "snapshot": 0})
    again.restore(state)
    again.step(5)
    for name, value in weights(straight).items():
        assert np.array_equal(weights(again)[name], value), name


def test_without_the_resume_file_the_data_starts_anew_as_in_caffe(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    first, _ = solver(folder, overrides={"snapshot": 0})
    first.step(7)
    state = first.snapshot()
    (folder / "snap_iter_7.resume").unlink()
    again, _ = solver(folder)
    again.restore(state)
    with h5py.File("train.h5") as file:
        assert np.array_equal(again.net.feeds["data"].next()[0], file["data"][:8])


def test_learning_rate_and_outputs_are_shown(tmp_path, monkeypatch):
    trained, _ = solver(enter(SOLVERS / "06-SGD-multistep", tmp_path, monkeypatch))
    assert trained.lr == pytest.approx(0.05)
    trained.step(4)
    assert trained.lr == pytest.approx(0.015)
    assert list(trained.outputs) == ["loss"] and not trained.outputs["loss"].requires_grad


def test_a_restored_snapshot_of_another_rule_is_refused(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "05-Adam-multistep", tmp_path, monkeypatch)
    trained, _ = solver(folder, overrides={"type": "SGD"})
    before = weights(trained)
    with pytest.raises(
        SolverError, match=r"SGD keeps 1 history blobs for each of the net's 6 .* Received: 12"
    ) as caught:
        trained.restore(snapshot_of(folder))
    assert "another type" in str(caught.value)
    assert trained.iter == 0
    assert all(np.array_equal(before[name], value) for name, value in weights(trained).items())


def test_a_restored_snapshot_of_another_net_is_refused(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    net = (folder / "train.prototxt").read_text()
    (folder / "train.prototxt").write_text(net.replace("num_output: 12", "num_output: 13"))
    trained, _ = solver(folder)
    with pytest.raises(SolverError, match=r"blob 0 of layer 'ip1', of shape \(13, 48\).* Received: shape \(12, 48\)"):
        trained.restore(snapshot_of(folder))


def test_a_snapshot_without_its_weights_is_refused(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    (folder / "snap_iter_10.caffemodel").unlink()
    trained, _ = solver(folder)
    with pytest.raises(SolverError, match=r"Received: learned_net 'snap_iter_10.caffemodel'"):
        trained.restore(snapshot_of(folder))


def test_weights_are_found_beside_the_solverstate(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    trained, _ = solver(folder)
    monkeypatch.chdir(tmp_path)
    trained.restore(snapshot_of(folder))
    assert_weights(trained, expected("00-SGD-fixed"), 10)


def test_stopping_early_leaves_a_snapshot(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    trained, log = solver(folder)

    class StopAtThree:
        def poll(self):
            return Action.STOP if trained.iter == 3 else Action.NONE

    trained.signals = StopAtThree()
    trained.solve()
    assert trained.iter == 3
    assert log.lines()[-1] == "Optimization stopped early."
    assert (folder / "snap_iter_3.solverstate").exists() and (folder / "snap_iter_3.caffemodel").exists()


def test_a_signal_asks_for_a_snapshot_and_the_training_goes_on(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    trained, _ = solver(folder)

    class SnapshotAtThree:
        def poll(self):
            return Action.SNAPSHOT if trained.iter == 3 else Action.NONE

    trained.signals = SnapshotAtThree()
    trained.step(5)
    assert trained.iter == 5 and (folder / "snap_iter_3.solverstate").exists()


def test_a_full_disk_leaves_the_older_snapshot_whole_and_nothing_half_written(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    trained, _ = solver(folder, overrides={"snapshot": 0})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    trained.step(1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))  # a longer file fails as on a full disk
        with pytest.raises(RunError, match="cannot write it: file too large") as caught:
            trained.snapshot()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.exit_status, caught.value.file) == (1, "snap_iter_1.caffemodel")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("on_full_disk", ["stop", "go-on"])
def test_on_a_full_disk_the_run_stops_or_goes_on(on_full_disk, tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    trained, log = solver(folder, overrides={"snapshot": 3}, on_full_disk=on_full_disk)
    trained.step(3)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
        if on_full_disk == "stop":
            with pytest.raises(RunError, match=r"^snap_iter_6.caffemodel: cannot write it: file too large$"):
                trained.step(5)
        else:
            trained.step(5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert trained.iter in ((6, 7, 8) if on_full_disk == "stop" else (8,))  # it is written beside the training
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    said = "no snapshot of iteration 6: snap_iter_6.caffemodel: cannot write it: file too large"
    assert (said in log.lines()) == (on_full_disk == "go-on")


def test_a_run_that_loses_its_last_snapshot_does_not_end_well(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    trained, log = solver(folder, overrides={"snapshot": 4, "max_iter": 8}, on_full_disk="go-on")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
        with pytest.raises(RunError, match=r"^snap_iter_8.caffemodel: cannot write it: file too large$"):
            trained.solve()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert any(line.startswith("no snapshot of iteration 4") for line in log.lines())
    again, log = solver(folder, overrides={"snapshot": 4, "max_iter": 8}, on_full_disk="go-on")
    again.solve()
    assert log.lines()[-1] == "Optimization Done."


def test_frozen_blobs_have_their_place_in_the_history(tmp_path, monkeypatch):
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(RUNS / name)
    folder = enter(RUNS / "bn-step", tmp_path, monkeypatch)
    trained, _ = solver(folder, overrides={"type": "Adam", "test_initialization": False, "display": 0})
    statistics = trained.net.params["bn1"][0].data.clone()
    trained.step(1)
    moved = trained.net.params["bn1"][0].data
    assert not np.array_equal(moved, statistics)  # by the forward pass, not by the rule
    history = solverstate.read(trained.snapshot()).history
    blobs = [blob for blobs in trained.net.params.values() for blob in blobs]
    assert [h.shape for h in history] == [tuple(blob.shape) for blob in blobs] * 2
    decay = np.float32(
        0.0001
    )  # weight_decay; lr_mult is 0 and decay_mult 1, so that the decay gathers and nothing moves
    assert relative_error(history[2], np.float32(0.1) * decay * moved.numpy()) <= 1e-5
    assert relative_error(history[17 + 2], np.float32(0.001) * (decay * moved.numpy()) ** 2) <= 1e-4


def test_snapshot_diff_keeps_the_last_update(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    trained, _ = solver(folder, overrides={"snapshot_diff": True, "snapshot": 0})
    before = weights(trained)
    trained.step(1)
    trained.snapshot()
    model = new("NetParameter")
    model.ParseFromString((folder / "snap_iter_1.caffemodel").read_bytes())
    layer = next(layer for layer in model.layer if layer.name == "ip1")
    update = before["ip1_0"].reshape(-1) - np.array(layer.blobs[0].data, np.float32)
    assert relative_error(np.array(layer.blobs[0].diff), update) <= 1e-4


def test_a_snapshot_prefix_that_cannot_be_written_is_refused_at_the_start(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    with pytest.raises(SolverError, match="snapshots cannot be written to 'nowhere/snap'") as caught:
        solver(folder, overrides={"snapshot_prefix": "nowhere/snap"})
    assert "mkdir -p nowhere" in str(caught.value)


def test_a_device_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    with pytest.raises(DeviceError, match="Received: cuda:0"):
        solver(folder, device="cuda:0")
    with pytest.raises(DeviceError, match="Received: 'gpu'"):
        solver(folder, device="gpu")


def test_solver_mode_gpu_without_cuda_says_so_and_uses_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    trained, log = solver(enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch), overrides={"solver_mode": "GPU"})
    assert trained.device.type == "cpu"
    assert "solver_mode is GPU, but torch sees no CUDA device: training on the CPU" in log.lines()
