"""Caffe's checks of a solver, of its snapshots, and of `caffe train`'s options."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.weights import solverstate
from proto2torch.weights.solverstate import SolverState

NET = """\
layer { name: "in" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }
"""
LEAST = 'net: "net.prototxt"\nlr_policy: "fixed"\nbase_lr: 0.1\nmax_iter: 2\nsolver_mode: CPU\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# fmt: off
ROWS = [
    ("no net", "net", 'lr_policy: "fixed"\n'),
    ("two nets", "exactly one of net", LEAST + 'train_net: "net.prototxt"'),
    ("an unknown field", "SolverParameter has no field 'momentumm'", LEAST + "momentumm: 0.9"),
    ("an unknown type", "did you mean 'Adam'", LEAST + 'type: "Adamm"'),
    ("type and solver_type", "solver_type", LEAST + 'type: "Adam" solver_type: ADAM'),
    ("test_iter without test_interval", "test_interval", LEAST + "test_iter: 1"),
    ("a test net without test_iter", "one test_iter for each", LEAST + 'test_net: "net.prototxt" test_interval: 1'),
    ("test_state", "one for each test net", LEAST + "test_iter: 1 test_interval: 1 test_state { } test_state { }"),
    ("average_loss 0", "average_loss must be at least 1", LEAST + "average_loss: 0"),
    ("an unknown regularisation", "regularization_type", LEAST + 'regularization_type: "L3"'),
    ("momentum of AdaGrad", "momentum cannot be used with AdaGrad", LEAST + 'type: "AdaGrad" momentum: 0.5'),
    ("momentum of RMSProp", "momentum cannot be used with RMSProp", LEAST + 'type: "RMSProp" momentum: 0.5'),
    ("rms_decay 1", "rms_decay", LEAST + 'type: "RMSProp" rms_decay: 1'),
    ("a negative rms_decay", "rms_decay", LEAST + 'type: "RMSProp" rms_decay: -0.1'),
    ("no policy", "lr_policy must be one of", 'net: "net.prototxt"\n'),
    ("an unknown policy", "Received: 'fix'", 'net: "net.prototxt"\nlr_policy: "fix"\n'),
    *(
        (f"a negative gamma of {p}", f"gamma of the {p} policy", f'net: "net.prototxt"\nlr_policy: "{p}" gamma: -1 stepsize: 1')
        for p in ("step", "exp", "inv", "multistep", "sigmoid")
    ),
    ("no stepsize of step", "stepsize", 'net: "net.prototxt"\nlr_policy: "step" gamma: 1'),
    ("no stepsize of sigmoid", "stepsize", 'net: "net.prototxt"\nlr_policy: "sigmoid" gamma: 1'),
    ("a prefix that cannot be written", "snapshots cannot be written", LEAST + 'snapshot: 1 snapshot_prefix: "no/such"'),
]
# fmt: on
ABSENT = (
    "no net",
    "no policy",
    "a test net without test_iter",
    "test_iter without test_interval",
)
"""What is wrong with these is what they lack, which has no line."""


@pytest.mark.parametrize("what, says, text", ROWS, ids=[what for what, *_ in ROWS])
def test_solvers(folder: Path, what: str, says: str, text: str) -> None:
    (folder / "solver.prototxt").write_text(text)
    with pytest.raises(p2t.Proto2TorchError) as caught:
        p2t.Solver("solver.prototxt", device="cpu")
    assert says in str(caught.value)
    assert caught.value.file == "solver.prototxt"
    assert caught.value.exit_status == 2
    assert (caught.value.line is None) == (what in ABSENT)


def test_a_net_that_is_missing(folder: Path) -> None:
    (folder / "solver.prototxt").write_text(LEAST.replace("net.prototxt", "net.prototxtt"))
    with pytest.raises(p2t.Proto2TorchError, match=r"solver.prototxt:1:1: the net 'net\.prototxtt' is not there"):
        p2t.Solver("solver.prototxt", device="cpu")


def history(folder: Path, blobs: int, shape: tuple[int, ...] = (2, 3)) -> str:
    """A state of a net of two learnable blobs, with the history given."""
    import numpy as np

    p2t.load("net.prototxt").save("w.caffemodel")
    solverstate.write("s.solverstate", SolverState(1, "w.caffemodel", [np.zeros(shape, np.float32)] * blobs, 0))
    return "s.solverstate"


def test_a_history_of_another_length(folder: Path) -> None:
    (folder / "solver.prototxt").write_text(LEAST)
    state = history(folder, 1)
    with pytest.raises(p2t.Proto2TorchError, match="Received: 1 in all"):
        p2t.Solver("solver.prototxt", device="cpu").restore(state)


def test_a_history_of_another_shape(folder: Path) -> None:
    (folder / "solver.prototxt").write_text(LEAST)
    state = history(folder, 2, (3, 2))
    with pytest.raises(p2t.Proto2TorchError, match=r"Received: shape \(3, 2\)"):
        p2t.Solver("solver.prototxt", device="cpu").restore(state)


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["train"], "SOLVER"),
        (["trian", "solver.prototxt"], "did you mean 'train'"),
        (["train", "solver.prototxt", "--weights", "w", "--snapshot", "s"], "one of --weights, --snapshot"),
        (["train", "solver.prototxt", "--gpu", "x"], "a device's number"),
        (["train", "solver.prototxt", "--sigint-effect", "halt"], "'halt'"),
        (["test", "net.prototxt"], "--weights"),
    ],
)
def test_commands(folder: Path, arguments: list[str], says: str) -> None:
    (folder / "solver.prototxt").write_text(LEAST)
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert says in done.stderr
