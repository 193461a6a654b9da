from __future__ import annotations

import os
from pathlib import Path

import pytest

from proto2torch.errors import PrototxtError, SolverError
from proto2torch.prototxt import text, upgrade
from proto2torch.prototxt.document import Document
from tests.prototxt.nets import document, layers, messages, problems, upgraded

NEW = 'layer { name: "a" type: "ReLU" bottom: "x" top: "y" }'
OLD = 'layers { name: "a" type: RELU bottom: "x" top: "y" }'
OLDEST = 'layers { layer { name: "a" type: "relu" } bottom: "x" top: "y" }'


@pytest.mark.parametrize("source", [NEW, OLD, OLDEST])
def test_the_three_formats_say_the_same(source: str) -> None:
    net = upgraded(f'name: "n" force_backward: true {source}')
    assert messages(net) == layers(NEW)
    assert (net.name, net.force_backward, net.path) == ("n", True, "net.prototxt")


@pytest.mark.parametrize("source", [NEW, OLD])
def test_state_and_debug_info_are_kept(source: str) -> None:
    net = upgraded(f'debug_info: true state {{ level: 3 stage: "s" }} {source}')
    assert net.debug_info and net.state.level == 3 and list(net.state.stage) == ["s"]


@pytest.mark.parametrize("old", [OLD, OLDEST])
def test_old_and_new_layers_in_one_net_are_refused(old: str) -> None:
    (problem,) = problems(upgraded, f"{NEW}\n{old}")
    assert isinstance(problem, PrototxtError)
    assert "a net lists its layers as 'layer' or, in the older format, as 'layers'. Received: both" in str(problem)
    assert problem.line == 2


def test_layers_keep_their_places() -> None:
    net = upgraded(f"# a net\n{NEW}\n\n{NEW}")
    assert [layer.where().line for layer in net.layers] == [2, 4]
    assert [layer.where("bottom[0]").column for layer in net.layers] == [32, 32]


def test_a_net_without_text_has_no_places() -> None:
    given = document(f"{OLDEST} input: 'x' input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1", None)
    net = upgrade.net(Document(given.message))
    assert [layer.where().line for layer in net.layers] == [None, None]
    assert [layer.name for layer in net.layers] == ["input", "a"]


def test_the_net_of_a_solver_upgrades_too() -> None:
    solver = text.parse(f"base_lr: 1\nnet_param {{\n{OLD} }}", "SolverParameter", "solver.prototxt")
    inline = Document(solver.message.net_param, solver.mark and solver.mark.find("net_param"), solver.source)
    (layer,) = upgrade.net(inline).layers
    assert (layer.type, layer.where().line, layer.where().file) == ("ReLU", 3, "solver.prototxt")


def test_a_whole_message_has_the_newest_format_alone() -> None:
    source = f'name: "n" force_backward: true state {{ stage: "s" }} input: "x" input_shape {{ dim: 2 }} {OLD}'
    whole = upgrade.message(upgraded(source))
    expected = document(
        'name: "n" force_backward: true state { stage: "s" } '
        f'layer {{ name: "input" type: "Input" top: "x" input_param {{ shape {{ dim: 2 }} }} }} {NEW}'
    )
    assert whole == expected.message


def solver(source: str, path: str | None = "solver.prototxt") -> Document:
    return upgrade.solver(text.parse(source, "SolverParameter", path))


SOLVERS = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


@pytest.mark.parametrize(("old", "new"), SOLVERS.items())
def test_solver_types(old: str, new: str) -> None:
    upgraded = solver(f"base_lr: 1\nsolver_type: {old}")
    assert upgraded.message.type == new
    assert not upgraded.message.HasField("solver_type")
    assert upgraded.where("type").line == 2


def test_a_solver_of_todays_format_stays_as_it_is() -> None:
    given = text.parse('type: "Adam" snapshot_prefix: "p"', "SolverParameter")
    assert upgrade.solver(given).message == given.message


def test_both_types_are_refused() -> None:
    with pytest.raises(SolverError, match="'type' or the older 'solver_type'") as raised:
        solver('type: "SGD"\nsolver_type: ADAM')
    assert raised.value.line == 2


@pytest.mark.parametrize(
    ("path", "prefix"), [("a/b/solver.prototxt", "a/b/solver"), ("s.v2.prototxt", "s.v2"), ("solver", "solver")]
)
def test_the_prefix_is_the_solvers_path_without_extension(path: str, prefix: str) -> None:
    assert solver("base_lr: 1", path).message.snapshot_prefix == prefix


def test_a_prefix_that_is_a_directory_gets_the_solvers_stem(tmp_path: Path) -> None:
    source = f'snapshot_prefix: "{tmp_path}"'
    assert solver(source, "a/my.prototxt").message.snapshot_prefix == os.path.join(tmp_path, "my")


def test_a_prefix_that_is_no_directory_stays(tmp_path: Path) -> None:
    prefix = f"{tmp_path}/lenet"
    assert solver(f'snapshot_prefix: "{prefix}"').message.snapshot_prefix == prefix


def test_a_solver_without_a_file_gets_no_prefix() -> None:
    assert not solver("base_lr: 1", None).message.HasField("snapshot_prefix")


def test_the_solver_given_is_not_changed() -> None:
    given = text.parse("solver_type: ADAM", "SolverParameter", "s.prototxt")
    upgrade.solver(given)
    assert given.message.HasField("solver_type") and given.where("solver_type").line == 1
