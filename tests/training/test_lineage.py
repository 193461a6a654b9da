"""Snapshots and the runs they are of: what a later run is told, what it refuses, and which one it goes on from."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from click.testing import CliRunner

from proto2torch.cli import main
from proto2torch.errors import SolverError, WeightsError
from proto2torch.training import lineage, snapshot
from proto2torch.training.retention import Keep

from .cases import SOLVERS, enter, solver, weights


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    for name in folder.glob("snap_*"):
        name.unlink()
    return folder


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def train(*arguments):
    result = CliRunner().invoke(main, ["train", "solver.prototxt", *arguments])
    return result.exit_code, [line for line in result.stderr.splitlines() if line.startswith(("warning: ", "error: "))]


def test_a_run_that_goes_on_as_it_was_is_told_nothing(folder):
    assert train("--max-iter", "4", "--resume") == (0, [])
    told = train("--max-iter", "8", "--resume", "--set", "display=2", "--set", "snapshot=3")
    assert told == (0, [])
    assert {snapshot.run_of(f"snap_iter_{i}.solverstate") for i in (4, 6, 8)} == {lineage.last_run("snap")}


def test_other_settings_and_other_layers_are_named_in_one_line(folder):
    train("--max-iter", "4")
    edit(folder / "train.prototxt", "pool: MAX", "pool: AVE")
    edit(folder / "train.prototxt", 'name: "act" type: "ReLU"', 'name: "act2" type: "TanH"')
    status, told = train("--max-iter", "6", "--resume", "--set", "base_lr=0.01", "--set", "random_seed=3")
    assert status == 0
    assert told == [
        "warning: snap_iter_4.solverstate was trained otherwise: base_lr was 0.05 and is 0.01, random_seed was 6862 "
        "and is 3, layer 'act2' is new, layer 'act' is gone, layer 'pool' is another"
    ]


@pytest.mark.parametrize("kind", ["Nesterov", "AdaGrad"])  # which keep as many blobs of the same shapes
def test_another_rule_is_refused(folder, kind):
    train("--max-iter", "4")
    momentum = ["--set", "momentum=0"] if kind == "AdaGrad" else []
    status, told = train("--max-iter", "6", "--resume", "--set", f"type={kind}", *momentum)
    assert status == 2
    assert told == [
        f"error: snap_iter_4.solverstate: it is the snapshot of a solver of type SGD. Received: a solver of type {kind}"
    ]


def test_layers_of_another_name_are_refused(folder):
    """Their history would fit, and their weights would stay as the fillers drew them."""
    train("--max-iter", "4")
    ours, _ = solver(folder)
    before = weights(ours)
    edit(folder / "train.prototxt", 'name: "ip2"', 'name: "ip9"')
    other, _ = solver(folder)
    with pytest.raises(WeightsError, match="2 layers do not fit"):
        other.restore("snap_iter_4.solverstate")
    assert other.iter == 0 and (weights(other)["conv_0"] == before["conv_0"]).all()


def test_a_start_over_earlier_snapshots_is_said(folder):
    train("--max-iter", "4")
    status, told = train("--max-iter", "2")
    assert status == 0
    assert told == [
        "warning: snap_iter_4.solverstate is there from an earlier run, which --resume would go on with: this one "
        "starts anew, over the snapshots of that one"
    ]


def test_resume_goes_on_with_the_last_run(folder):
    train("--max-iter", "8")
    train("--max-iter", "4")
    assert lineage.newest("snap", print) == "snap_iter_4.solverstate"
    os.remove("snap_iter_4.solverstate")
    said = []
    assert lineage.newest("snap", said.append) == "snap_iter_8.solverstate"
    assert said == [
        "warning: snap_iter_8.solverstate is of an earlier run: the last one, snap_run, has left no complete snapshot"
    ]
    shutil.rmtree("snap_run")
    assert lineage.newest("snap", said.append) == "snap_iter_8.solverstate" and len(said) == 1


@pytest.mark.parametrize("content", ["", "[1]", '{"run": 3}', "{}"])
def test_records_that_say_nothing_of_the_run(folder, content):
    train("--max-iter", "4")
    (folder / "snap_run/run.json").write_text(content)
    assert lineage.last_run("snap") is None
    assert lineage.newest("snap", print) == "snap_iter_4.solverstate"


def test_what_an_older_resume_file_lacks_is_not_asked_for(folder):
    train("--max-iter", "4")
    kept = torch.load("snap_iter_4.resume", weights_only=True)
    del kept["run"]
    torch.save(kept, "snap_iter_4.resume")
    assert snapshot.run_of("snap_iter_4.solverstate") is None
    assert train("--max-iter", "6", "--resume")[0] == 0


def test_a_snapshot_whose_resume_file_is_broken_is_passed_over(folder):
    train("--max-iter", "4")
    train("--max-iter", "8", "--resume")
    content = (folder / "snap_iter_8.resume").read_bytes()
    (folder / "snap_iter_8.resume").write_bytes(content[:300])
    said = []
    assert lineage.newest("snap", said.append) == "snap_iter_4.solverstate"
    assert [line.split(": ")[0] for line in said] == ["passing over snap_iter_8.solverstate"]


def test_keep_takes_earlier_runs_for_older(folder):
    train("--max-iter", "8", "--set", "snapshot=2")
    ours, _ = solver(folder, callbacks=[Keep(2)], overrides={"snapshot": 2})
    ours.step(4)
    assert [at for at, _ in snapshot.listed("snap")] == [2, 4]


def test_the_run_stands_in_its_records(folder):
    train("--max-iter", "1")
    run = json.loads((folder / "snap_run/run.json").read_text())["run"]
    assert len(run) == 16 and snapshot.run_of("snap_iter_1.solverstate") == run


def test_a_python_restore_refuses_another_rule(folder):
    ours, _ = solver(folder)
    ours.step(2)
    state = ours.snapshot()
    other, _ = solver(folder, overrides={"type": "Nesterov"})
    with pytest.raises(SolverError, match="it is the snapshot of a solver of type SGD"):
        other.restore(state)
