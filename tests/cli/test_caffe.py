"""`proto2torch caffe …`: flags in every spelling, and what each action does and prints."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.cli.gflags import Flags, parse
from proto2torch.errors import Proto2TorchError

DATA = Path(__file__).parents[1] / "golden" / "data"
PREFIX = re.compile(r"^I\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ [^\]]*\] ", re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "-solver", "a b", "-level", "3"],
        ["train", "-solver=a b", "-level=3"],
        ["--solver", "a b", "train", "--level", "3"],
        ["--solver=a b", "--level=3", "train"],
        ["-level=0x3", "--solver=x", "-solver", "a b", "--", "train"],
        ["train", "-solver=a b", "-level=3", "-allow_python_layers=0", "--noallow-python-layers"],
        ["-logtostderr", "--minloglevel=2", "-v", "1", "train", "-solver=a b", "-level=3", "--nolog_prefix"],
    ],
)
def test_spellings(arguments):
    assert parse(arguments) == (["train"], Flags(solver="a b", level=3))


def test_dashes_stand_for_underscores_and_negative_numbers_are_values():
    assert parse(["-sigint-effect=none", "--level", "-2"]) == ([], Flags(sigint_effect="none", level=-2))


def test_switches():
    for argument in ("-allow_python_layers", "--allow-python-layers", "--allow_python_layers=true"):
        assert parse([argument, "train"]) == (["train"], Flags(allow_python_layers=True))


def test_numbers_are_decimal_as_gflags_reads_them():
    assert parse(["-iterations=010"]) == ([], Flags(iterations=10))


def test_flags_of_the_environment(monkeypatch):
    monkeypatch.setenv("FLAGS_gpu", "0")
    monkeypatch.delenv("FLAGS_model", raising=False)
    assert parse(["--tryfromenv=gpu,model"]) == ([], Flags(gpu="0"))


def test_unknown_flags_that_are_said_to_be_fine():
    assert parse(["--undefok=foo,bar", "--foo=1", "test"]) == (["test"], Flags())


def test_a_flagfile_that_names_itself(tmp_path):
    (tmp_path / "flags").write_text(f"--level=1\n--flagfile={tmp_path / 'flags'}\n")
    with pytest.raises(Proto2TorchError, match="it names itself with --flagfile"):
        parse([f"--flagfile={tmp_path / 'flags'}"])


@pytest.mark.parametrize("flag", ["-help", "--help", "-h"])
def test_help(flag):
    done = CliRunner().invoke(main, ["caffe", flag])
    assert (done.exit_code, "device_query" in done.stdout) == (0, True)


@pytest.mark.parametrize("flag", ["-version", "--version"])
def test_version(flag):
    done = CliRunner().invoke(main, ["caffe", flag])
    assert (done.exit_code, done.stdout) == (0, f"caffe of proto2torch {p2t.__version__}\n")


def test_a_flagfile(tmp_path):
    (tmp_path / "flags").write_text("# of the cluster\n-gpu=0,1\n--iterations=7\n")
    assert parse([f"--flagfile={tmp_path / 'flags'}", "test"]) == (["test"], Flags(gpu="0,1", iterations=7))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-sover=x"], "unknown command line flag 'sover'\n  did you mean 'solver'?"),
        (["-gpu"], "flag 'gpu' is missing its argument"),
        (["--foo=1", "--undefok=bar"], "unknown command line flag 'foo'"),
        (["--fromenv=model"], "FLAGS_model is not in the environment, from where --fromenv takes it"),
        (["-allow_python_layers=maybe"], "flag 'allow_python_layers' takes true or false. Received: 'maybe'"),
        (["-iterations=many"], "flag 'iterations' takes a whole number. Received: 'many'"),
    ],
)
def test_wrong_flags(arguments, message):
    with pytest.raises(Proto2TorchError) as caught:
        parse(arguments)
    assert str(caught.value) == message


def caffe(*arguments):
    return CliRunner().invoke(main, ["caffe", *arguments])


@pytest.fixture
def case(tmp_path, monkeypatch):
    folder = tmp_path / "case"
    shutil.copytree(DATA / "solvers" / "06-SGD-multistep", folder)
    monkeypatch.chdir(folder)
    return folder


def test_train(case):
    result = caffe("train", "-solver=solver.prototxt")
    assert result.exit_code == 0, result.stderr
    with np.load("expected.npz") as expected:
        ours = p2t.read_weights("snap_iter_20.caffemodel")["ip1"][0]
        assert np.linalg.norm(ours - expected["w20_ip1_0"]) <= 1e-4 * np.linalg.norm(expected["w20_ip1_0"])
    assert "solver.prototxt" not in [path.name for path in case.iterdir() if path.name.endswith(".json")]
    assert PREFIX.sub("", result.stderr).count("Optimization Done.\n") == 2
    assert len(PREFIX.findall(result.stderr)) > 60


def test_train_goes_on_from_a_snapshot(case):
    result = caffe("train", "--solver", "solver.prototxt", "--snapshot", "snap_iter_10.solverstate")
    assert result.exit_code == 0, result.stderr
    log = PREFIX.sub("", result.stderr)
    assert "Resuming from snap_iter_10.solverstate\n" in log and "\nIteration 9, lr" not in log


def test_test_prints_what_caffe_prints(monkeypatch):
    """Line by line, but for the net's text, and Caffe's line when its reader begins anew, which comes when it may."""
    monkeypatch.chdir(DATA / "tools")
    result = caffe("test", "-model", "net.prototxt", "-weights=net.caffemodel", "--iterations", "3")
    assert result.exit_code == 0, result.stderr
    log = re.sub(r"(?<=from parameters: \n).*?(?=^I)", "", result.stderr, flags=re.DOTALL | re.MULTILINE)
    ours = PREFIX.sub("", log).splitlines()
    caffes = [line for line in Path("test_log.txt").read_text().splitlines() if not line.startswith("Restarting data")]
    built = caffes.index("Running for 3 iterations.")
    assert ours[:built] == caffes[:built]
    number = re.compile(r"\d+\.\d+")
    assert [number.sub("#", line) for line in ours] == [number.sub("#", line) for line in caffes]
    figures, expected = ([float(n) for n in number.findall("\n".join(lines[built:]))] for lines in (ours, caffes))
    assert figures == pytest.approx(expected, rel=1e-5)


def test_time_prints_caffes_lines(case):
    result = caffe("time", "-model=train.prototxt", "-iterations=2")
    assert result.exit_code == 0, result.stderr
    lines = PREFIX.sub("", result.stderr).splitlines()
    start = lines.index("*** Benchmark begins ***")
    assert lines[start + 1] == "Testing for 2 iterations."
    assert all(re.fullmatch(rf"Iteration: {i} forward-backward time: \S+ ms\.", lines[start + 1 + i]) for i in (1, 2))
    layers = lines[lines.index("Average time per layer: ") + 1 : -5]
    assert [line.split("\t")[0] for line in layers] == [
        f"{name:>10}" for name in ("data", "conv", "pool", "relu", "ip1", "act", "ip2", "loss") for _ in range(2)
    ]
    times = {(*line.split()[:2],): float(line.split()[2]) for line in layers}
    assert times["data", "backward:"] == 0 and min(times["ip1", "forward:"], times["ip1", "backward:"]) > 0
    whole = {line.rpartition(": ")[0]: float(line.split()[-2]) for line in lines[-5:-1]}
    assert whole["Average Forward-Backward"] == pytest.approx(
        whole["Average Forward pass"] + whole["Average Backward pass"], rel=1e-3
    )
    assert whole["Total Time"] == pytest.approx(2 * whole["Average Forward-Backward"], rel=1e-3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "caffe takes one action of train, test, time, device_query. Received: none"),
        (["trian"], "Received: trian"),
        (["train", "more"], "Received: train more"),
        (["train"], "train needs a solver: -solver F"),
        (["train", "-solver=s", "-snapshot=a", "-weights=b"], "but not both"),
        (
            ["train", "-solver=s", "-sigint_effect=explode"],
            "-sigint_effect must be one of stop, snapshot, none. Received: 'explode'",
        ),
        (["test", "-model=m"], "test needs a net and its weights: -model F -weights F"),
        (["time"], "time needs a net: -model F"),
        (["time", "-model=m", "-phase=TRIAN"], "-phase must be TRAIN or TEST. Received: 'TRIAN'"),
        (["test", "-model=m", "-weights=w", "-iterations=0"], "-iterations must be at least 1. Received: 0"),
    ],
)
def test_wrong_use(arguments, message):
    result = caffe(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_device_query_without_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = caffe("device_query", "-gpu", "all")
    assert result.exit_code == 2 and "torch sees no CUDA device" in result.stderr


def test_help_is_not_taken_for_a_flag():
    assert "-solver F" in caffe("--help").stdout
    assert caffe("-phase", "TEST", "time").exit_code == 2
