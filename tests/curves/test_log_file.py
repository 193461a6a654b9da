"""Logs of Caffe, of ours, with glog's prefix and without; and what Caffe's own parsers find in ours."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from proto2torch.curves.log_file import parse, read
from proto2torch.errors import Proto2TorchError
from proto2torch.training import Solver
from proto2torch.training.log import Log
from proto2torch.training.train import train

RUNS = Path(__file__).parents[1] / "golden" / "data" / "runs"


def test_caffes_log():
    curves = read(str(RUNS / "bn-step" / "log.txt"))
    assert [at for at, _ in curves.loss] == list(range(0, 101, 10))
    assert curves.loss[:2] == [(0, 2.28388), (10, 2.23752)]
    assert curves.rate[4:6] == [(40, 0.015), (50, 0.015)]
    assert curves.train["loss"][1] == (10, 2.18539)
    assert curves.test[0, "accuracy"] == [(0, 0.111111), (50, 0.494444), (100, 0.597222)]
    assert curves.test[0, "loss"] == [(0, 77.6324), (50, 1.66428), (100, 1.39571)]


@pytest.mark.parametrize("date", ["0210", "20260210"])
def test_the_prefix_of_glog(date):
    lines = (RUNS / "bn-step" / "log.txt").read_text().splitlines()
    text = "\n".join(f"I{date} 13:39:22.381027 25210 solver.cpp:239] {line}" for line in lines)
    bare = read(str(RUNS / "bn-step" / "log.txt"))
    found = parse(text, bare.name)
    assert (found.loss, found.rate, found.test) == (bare.loss, bare.rate, bare.test)


def test_iterations_shown_again_replace_the_earlier():
    text = "Iteration 0, loss = 3\nIteration 10, loss = 2\nIteration 20, loss = 9\nIteration 10, loss = 2.5\n"
    assert parse(text, "x").loss == [(0, 3.0), (10, 2.5)]


def test_a_file_without_figures_is_refused(tmp_path):
    (tmp_path / "x.log").write_text("hello\n")
    with pytest.raises(Proto2TorchError, match=r"x\.log: no figures of a training are in it\n.*expected the log of"):
        read(str(tmp_path / "x.log"))


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Our log of bn-step, with glog's prefix."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("digits_train_lmdb", "digits_test_lmdb"):
            (folder.parent / name).unlink(missing_ok=True)
            (folder.parent / name).symlink_to(RUNS / name)
        for name in ("solver.prototxt", "net.prototxt"):
            (folder / name).write_text((RUNS / "bn-step" / name).read_text())
        stream = io.StringIO()
        train(Solver("solver.prototxt", log=Log(stream, prefix=True)))
    return stream.getvalue()


def test_our_log_reads_as_caffes(ours):
    caffe, found = read(str(RUNS / "bn-step" / "log.txt")), parse(ours, "ours")
    for mine, theirs in (
        (found.loss, caffe.loss),
        (found.rate, caffe.rate),
        *((found.test[key], caffe.test[key]) for key in caffe.test),
    ):
        assert [at for at, _ in mine] == [at for at, _ in theirs]
        assert [value for _, value in mine] == pytest.approx([value for _, value in theirs], rel=2e-4)


def test_the_expressions_of_parse_log_py(ours):
    """Those that Caffe's tools/extra/parse_log.py looks for in each line."""
    iteration = re.compile(r"Iteration (\d+)")
    train = re.compile(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)")
    test = re.compile(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)")
    rate = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)")
    lines = ours.splitlines()
    assert [m[1] for line in lines if "lr = " in line and (m := iteration.search(line))] == [
        str(i) for i in range(0, 100, 10)
    ]
    assert [m.groups()[:2] for line in lines if (m := train.search(line))] == [("0", "loss")] * 10
    assert [m.groups()[:2] for line in lines if (m := test.search(line))] == [("0", "accuracy"), ("1", "loss")] * 3
    assert [float(m[1]) for line in lines if (m := rate.search(line)) and "Iteration" in line][:5] == [
        0.05, 0.05, 0.05, 0.05, 0.015
    ]  # fmt: skip


def test_the_columns_of_parse_log_sh(ours):
    """awk's fields, counted from 1: the rate is field 9, a test output field 11; seconds from the line of Solving."""
    lines = ours.splitlines()
    rates = [line.split()[8] for line in lines if ", lr = " in line]
    outputs = [line.split()[10] for line in lines if "Test net output #0" in line]
    assert rates[0] == "0.05" and float(outputs[0]) == pytest.approx(0.111111, abs=1e-4)
    losses = [line for line in lines if ", loss = " in line]
    assert all(float(line.partition("loss = ")[2]) > 0 for line in losses) and len(losses) == 11
    (start,) = [line for line in lines if "Solving" in line]
    assert re.match(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ ", start)
