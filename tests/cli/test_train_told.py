"""What `proto2torch train` tells and keeps: its options for logs, snapshots, stopping, and a rehearsal."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from proto2torch.cli import main

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/golden/data"


@pytest.fixture
def case(tmp_path, monkeypatch):
    folder = tmp_path / "case"
    shutil.copytree(DATA / "solvers" / "00-SGD-fixed", folder, ignore=shutil.ignore_patterns("snap_*", "expected.npz"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(DATA / "runs" / name)
    folder = tmp_path / "bn-step"
    shutil.copytree(DATA / "runs" / "bn-step", folder)
    monkeypatch.chdir(folder)
    return folder


def train(*arguments):
    return CliRunner().invoke(main, ["train", "solver.prototxt", *arguments])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_records_lie_beside_the_snapshots(case):
    before = names(case)
    assert train("--max-iter", "3").exit_code == 0
    assert sorted(set(names(case)) - set(before)) == [
        "snap_iter_3.caffemodel",
        "snap_iter_3.resume",
        "snap_iter_3.solverstate",
        "snap_run",
    ]
    assert names(case / "snap_run") == ["log.csv", "run.json", "solver.prototxt", "train.prototxt"]
    run = json.loads((case / "snap_run/run.json").read_text())
    assert run["solver"] == "solver.prototxt" and run["random_seed"] == 6862


def test_records_leave_the_users_files_alone(case):
    """Caffe's usual names, lenet_solver.prototxt beside the prefix lenet, are no names of ours."""
    mine = case / "snap_solver.prototxt"
    mine.write_text((case / "solver.prototxt").read_text())
    before = mine.read_bytes()
    assert CliRunner().invoke(main, ["train", "snap_solver.prototxt", "--max-iter", "1"]).exit_code == 0
    assert mine.read_bytes() == before


def test_best_and_patience_need_a_test_net(case):
    result = train("--patience", "3", "--max-iter", "1")
    assert result.exit_code == 2
    assert "--best and --patience go by a test net's outputs" in result.stderr


def test_records_can_be_left_out(case):
    assert train("--max-iter", "1", "--no-records").exit_code == 0
    assert not (case / "snap_run").exists()


def test_a_dry_run_writes_nothing(run):
    before = names(run)
    result = train("--dry-run")
    assert result.exit_code == 0, result.stderr
    assert names(run) == before
    assert re.search(r"dry run: done in \S+ s; memory of the process: \d+ MB at most\n$", result.stderr)


def test_a_dry_run_finds_what_the_training_would_end_in(run):
    text = (run / "net.prototxt").read_text()
    (run / "net.prototxt").write_text(text.replace("digits_test_lmdb", "digits_tset_lmdb"))
    result = train("--dry-run")
    assert result.exit_code == 2 and "digits_tset_lmdb" in result.stderr


def test_glog(case):
    result = train("--glog", "--max-iter", "2")
    assert re.search(r"^I\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ \S+\] Iteration 1, lr = 0\.05$", result.stderr, re.MULTILINE)


def test_json_log_and_keep(case):
    result = train("--json-log", "log.jsonl", "--keep", "1", "--set", "snapshot=2", "--max-iter", "6")
    assert result.exit_code == 0, result.stderr
    events = [json.loads(line) for line in (case / "log.jsonl").read_text().splitlines()]
    assert [e["iteration"] for e in events if e["event"] == "snapshot"] == [2, 4, 6]
    assert [name for name in names(case) if "_iter_" in name and name.endswith("state")] == ["snap_iter_6.solverstate"]


def test_best_and_patience(run):
    result = train("--best", "accuracy", "--patience", "1", "--set", "base_lr=0", "--set", "test_interval=2")
    assert result.exit_code == 0, result.stderr
    assert "accuracy has not become better than " in result.stderr
    assert "Optimization stopped early.\n" in result.stderr
    assert (run / "snap_best.caffemodel").is_file() and (run / "snap_best.solverstate").is_file()


def test_divergence_exits_with_1(case):
    result = train("--set", "base_lr=1e30")
    assert result.exit_code == 1
    error = result.stderr[result.stderr.index("error: ") :]
    assert error.startswith("error: layer 'ip1' (InnerProduct): iteration 1: the loss is nan: its output 'ip1' is the")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--keep", "0"], "--keep"),
        (["--best", "accuracy:up"], "--best: expected OUTPUT, OUTPUT:min or OUTPUT:max. Received: 'accuracy:up'"),
        (["--patience", "x"], "--patience"),
        (["--on-full-disk", "panic"], "'panic'"),
        (["--json-log", "none/x"], "none/x: cannot write it: no such file or directory"),
    ],
)
def test_wrong_arguments(case, arguments, message):
    before = names(case)
    result = train(*arguments)
    assert result.exit_code == 2 and message in result.stderr
    assert names(case) == before


def start(*arguments, stderr=subprocess.PIPE):
    command = [sys.executable, "-m", "proto2torch", "train", "solver.prototxt", "--max-iter", "100000000", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stderr=stderr, text=True, env=environment, preexec_fn=listen)


def listen():
    """A shell starts what runs in its background with interrupts ignored, and so would these tests hand that on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for(process, beginning):
    while not (line := process.stderr.readline()).startswith(beginning):
        assert line, f"it ended before {beginning!r}"


def test_termination_snapshots_within_an_iteration_whatever_the_solver_says(case):
    process = start("--set", "snapshot=0", "--set", "snapshot_after_train=false", "--sigint-effect", "none")
    wait_for(process, "Iteration 5 ")
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130, log[-1000:]
    at = int(re.findall(r"^Snapshotting to binary proto file snap_iter_(\d+)\.caffemodel$", log, re.MULTILINE)[0])
    displayed = [5, *map(int, re.findall(r"^Iteration (\d+), lr", log, re.MULTILINE))]  # 5 may have been read above
    assert displayed[-1] == at - 1
    assert log.rstrip().endswith("Optimization Done.") and (case / f"snap_iter_{at}.solverstate").is_file()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_termination_before_the_training_begins(case, sent):
    (case / "slow.py").write_text("import sys, time\nprint('here', file=sys.stderr, flush=True)\ntime.sleep(60)\n")
    process = start("--layers", "slow.py")
    wait_for(process, "here")
    process.send_signal(sent)
    _, log = process.communicate(timeout=60)
    assert (process.returncode, log.strip()) == (130, "interrupted")


def test_a_second_interrupt_ends_at_once(run):
    process = start("--set", "test_iter=1000000", "--set", "test_interval=1")  # a test without end
    wait_for(process, "Iteration 0, Testing net (#0)")
    os.kill(process.pid, signal.SIGSTOP)  # so that both are there before the first is looked at
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    os.kill(process.pid, signal.SIGCONT)
    _, log = process.communicate(timeout=60)
    assert log.splitlines()[-1] == "interrupted"
    assert process.returncode == 130
    assert time.monotonic() - began < 10 and not list(run.glob("snap_iter_*.solverstate"))


def test_a_terminal_shows_progress(case):
    ours, theirs = pty.openpty()
    process = start("--set", "display=1000", "--set", "snapshot=0", stderr=theirs)
    os.close(theirs)
    text = ""
    shown = re.compile(r"\[\.{5,24}\] \d+/100000000  loss \S+  lr 0\.05  \d+ images/s  \d+:\d\d:\d\d left\r")
    began = time.monotonic()
    while not shown.search(text):
        assert time.monotonic() - began < 60, text[-2000:]
        text += os.read(ours, 65536).decode(errors="replace")
    process.send_signal(signal.SIGTERM)
    try:
        while piece := os.read(ours, 65536):
            text += piece.decode(errors="replace")
    except OSError:  # the other end is closed
        pass
    assert process.wait(60) == 130
    os.close(ours)
    assert text.rstrip().endswith("Optimization Done.")
