"""What is found in nets and solvers: each problem, each thing that trains badly, and nothing in what is right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from proto2torch.checking import check
from proto2torch.checking.files import is_solver
from proto2torch.cli import main

DATA = Path(__file__).parents[1] / "golden" / "data"
RUNS = DATA / "runs"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """bn-step's solver and net: 180 test records, batches of 36, five of them."""
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(RUNS / name)
    folder = tmp_path / "bn-step"
    shutil.copytree(RUNS / "bn-step", folder)
    monkeypatch.chdir(folder)
    return folder


def warnings(path="solver.prototxt"):
    findings = check(path)
    assert findings.errors == []
    return [str(warning) for warning in findings.warnings]


def changed(file, old, new):
    text = Path(file).read_text()
    assert old in text, f"{old!r} is not in {file}"
    Path(file).write_text(text.replace(old, new, 1))


def field(text):
    with open("solver.prototxt", "a") as file:
        file.write(f"\n{text}\n")


@pytest.mark.parametrize("case", sorted(path.name for path in (DATA / "solvers").iterdir()))
def test_nothing_is_wrong_with_the_solvers_that_caffe_ran(case, monkeypatch):
    monkeypatch.chdir(DATA / "solvers" / case)
    findings = check("solver.prototxt")
    assert findings.errors == []
    assert [str(w) for w in findings.warnings if "has no effect" not in str(w)] == []


def test_nothing_is_wrong_with_the_runs(run):
    assert warnings() == []


def replaced(name, value):
    """Set a field of the solver whether it has it or not."""
    lines = [line for line in Path("solver.prototxt").read_text().splitlines() if not line.startswith(f"{name}:")]
    Path("solver.prototxt").write_text("\n".join([*lines, *([f"{name}: {value}"] if value is not None else []), ""]))


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("gamma", None, "gamma is missing or 0 for the step policy: the rate falls to 0 at its first step"),
        ("base_lr", None, "base_lr is missing or 0: nothing will learn"),
        ("base_lr", -0.1, "base_lr is negative: the training goes uphill"),
        ("weight_decay", -0.1, "weight_decay is negative: the training goes uphill"),
        ("momentum", 1.5, "momentum 1.5 is not between 0 and 1: "),
        ("clip_gradients", 0, "clip_gradients is 0: every gradient becomes 0, and nothing will learn"),
        ("test_iter", None, "test_interval is given without test_iter: nothing is ever tested"),
        ("test_iter", 0, "test_iter is 0: a test of no batches shows nothing"),
        ("stepsize", 500, "stepsize 500 is not below max_iter 100: the rate never changes"),
        ("max_iter", None, "max_iter is missing or 0: nothing will be trained"),
        ("display", None, "display is missing or 0: the loss is never shown"),
        ("test_interval", 1000, "test_interval 1000 is above max_iter 100: what was learned is never tested"),
        ("power", 0.5, "power has no effect under the step policy"),
        ("rms_decay", 0.5, "rms_decay has no effect on "),
    ],
)
def test_what_of_a_solver_trains_badly(run, name, value, message):
    replaced(name, value)
    assert any(message in warning for warning in warnings()), warnings()


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("snapshot_prefix", '"none/snap"', "the folder of snapshot_prefix, 'none', is not there"),
        ("net", '"tran.prototxt"', "the net 'tran.prototxt' is not there"),
        ("weights", '"a.caffemodel"', "the weights 'a.caffemodel' are not there"),
    ],
)
def test_what_a_solver_names_and_is_not_there(run, name, value, message):
    replaced(name, value)
    (error,) = check("solver.prototxt").errors
    line = next(
        i for i, text in enumerate(Path("solver.prototxt").read_text().splitlines(), 1) if text.startswith(name)
    )
    assert str(error).startswith(f"solver.prototxt:{line}:1: {message}\n")


def test_no_snapshot_is_ever_written(run):
    replaced("snapshot", 0)
    field("snapshot_after_train: false")
    assert any("no snapshot is ever written" in warning for warning in warnings())


@pytest.mark.parametrize(
    "batches, message",
    [
        (2, "a test sees"),
        (7, "some count twice"),
    ],
)
def test_a_test_iter_that_does_not_cover_the_test_set(run, batches, message):
    from proto2torch.data.records import open_records

    records = open_records("../digits_test_lmdb")
    count = len(records)
    records.close()
    before = [line for line in Path("solver.prototxt").read_text().splitlines() if line.startswith("test_iter:")]
    batch = count // int(before[0].split(":")[1])
    replaced("test_iter", batches)
    (found,) = warnings()
    if batches * batch < count:
        assert f"a test sees {batches * batch} of the {count} records" in found
        assert f"test_iter: {count // batch} covers them" in found
    else:
        assert f"a test sees {batches * batch} records" in found and message in found


NET = """
layer {{ name: "data" type: "DummyData" top: "x" top: "y" dummy_data_param {{ shape {{ dim: 4 dim: 3 }} shape {{ dim: 4 }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip" {param}
  inner_product_param {{ num_output: 5 {filler} }} }}
{more}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{bottom}" bottom: "y" top: "loss" }}
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 10 display: 1\n'
FILLED = 'weight_filler { type: "xavier" }'
FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
SIDE = f'layer {{ name: "side" type: "InnerProduct" bottom: "x" top: "z" inner_product_param {{ num_output: 2 {FILLED} }} }}'
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }'


@pytest.mark.parametrize(
    "param, filler, more, bottom, expected",
    [
        ("", FILLED, "", "ip", []),
        ("", "", "", "ip", ["layer 'ip' (InnerProduct), net.prototxt:3:1: its weights start at 0"]),
        (FROZEN, FILLED, "", "ip", [
            "layer 'loss' (SoftmaxWithLoss), net.prototxt:6:1: no weight that learns reaches the loss 'loss'",
            "layer 'ip' (InnerProduct), net.prototxt:3:63: lr_mult is 0 for every weight of the net",
        ]),
        ("", FILLED, SIDE, "ip", ["layer 'side' (InnerProduct), net.prototxt:5:1: its weights reach no loss"]),
        ("", FILLED, SOFTMAX, "prob", ["layer 'loss' (SoftmaxWithLoss), net.prototxt:6:46: SoftmaxWithLoss takes scores"]),
    ],
)  # fmt: skip
def test_what_of_a_net_does_not_learn(param, filler, more, bottom, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET.format(param=param, filler=filler, more=more, bottom=bottom))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    found = warnings()
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True)), found


def test_a_net_without_a_loss(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = NET.format(param="", filler=FILLED, more="", bottom="ip")
    (tmp_path / "net.prototxt").write_text(text[: text.index('layer { name: "loss"')])
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    assert warnings() == [
        "solver.prototxt:1:1: the train net has no loss: nothing will learn\n  1 | " + SOLVER.strip() + "\n    | ^"
    ]


def test_every_problem_of_solver_and_nets_at_once(run):
    replaced("momentum", 0.9)
    replaced("type", '"AdaGrad"')
    replaced("iter_size", 0)
    changed(
        "net.prototxt",
        'type: "Pooling"' if 'type: "Pooling"' in Path("net.prototxt").read_text() else 'type: "InnerProduct"',
        'type: "Pulling"',
    )
    errors = "\n".join(str(error) for error in check("solver.prototxt").errors)
    assert "momentum cannot be used with AdaGrad" in errors
    assert "iter_size must be at least 1. Received: 0" in errors
    assert "layer type 'Pulling' is not supported" in errors


@pytest.mark.parametrize(
    "text, solver",
    [
        ('net: "a" base_lr: 0.1', True),
        ('# net: "x"\nname: "LeNet"\nlayer { name: "a" }', False),
        ('layers { name: "base_lr: 1" }', False),
        ('train_net_param { layer { name: "a" } } lr_policy: "fixed"', True),
        ('name: "x" input: "data" input_dim: 1', False),
        ("max_iter: 5", True),
    ],
)
def test_which_file_is_a_solver(text, solver, tmp_path):
    (tmp_path / "x.prototxt").write_text(text)
    assert is_solver(str(tmp_path / "x.prototxt")) is solver


def test_the_command(run):
    result = CliRunner().invoke(main, ["check", "solver.prototxt", "net.prototxt"])
    assert (result.exit_code, result.stdout) == (
        0,
        "solver.prototxt: 0 errors, 0 warnings\nnet.prototxt: 0 errors, 0 warnings\n",
    )
    replaced("max_iter", -1)
    replaced("display", None)
    result = CliRunner().invoke(main, ["check", "solver.prototxt", "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 2
    assert [(f["kind"], f["message"]) for f in found] == [("error", "max_iter must be at least 0. Received: -1")]
    assert (found[0]["file"], found[0]["line"]) == (
        "solver.prototxt",
        len(Path("solver.prototxt").read_text().splitlines()),
    )


def test_a_file_that_is_not_there(run):
    result = CliRunner().invoke(main, ["check", "none.prototxt", "neither.prototxt"])
    assert result.exit_code == 2
    for name in ("none", "neither"):
        assert f"error: {name}.prototxt: cannot read it: no such file or directory\n" in result.stdout
