"""Fine-tuning at the command line: layers renamed, replaced, frozen; several weight files; what the user is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import proto2torch as p2t
from proto2torch.cli import main

NET = """name: "small"
layer { name: "d" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 4 dim: 6 } shape { dim: 4 } data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1" param { lr_mult: RATE } param { lr_mult: RATE }
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 3 random_seed: 5 snapshot_prefix: "run"'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A net and a solver, and weights of the net as a.caffemodel."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET.replace("RATE", "1"))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    p2t.load("net.prototxt", phase="TRAIN").save("a.caffemodel")
    return tmp_path


def train(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", "solver.prototxt", *arguments])


def test_a_replaced_layer_starts_anew_and_the_net_lies_beside_the_snapshots(folder: Path) -> None:
    result = train("--weights", "a.caffemodel", "--replace", "ip2=ip2_new:7")
    assert result.exit_code == 0, result.stderr
    assert "Ignoring source layer ip2\n" in result.stderr
    assert "  ip2_new  -            7x5 + 7     left as it was\n" in result.stderr
    trained = p2t.read_weights("run_iter_3.caffemodel")
    assert {name: [b.shape for b in blobs] for name, blobs in trained.items()} == {
        "ip1": [(5, 6), (5,)],
        "ip2_new": [(7, 5), (7,)],
    }
    text = (folder / "run_run/train.prototxt").read_text()
    assert 'name: "ip2_new"' in text and "num_output: 7" in text and text.count("lr_mult: 10") == 2
    again = CliRunner().invoke(
        main, ["test", "run_run/train.prototxt", "--weights", "run_iter_3.caffemodel", "--iterations", "1", "--strict"]
    )
    assert again.exit_code == 0, again.stderr


def test_the_new_layer_learns_ten_times_as_fast(folder: Path) -> None:
    """One update from zero weights, where momentum and decay do nothing: -lr * lr_mult * gradient."""
    steps = []
    for replace in ({}, {"ip2": "other"}):
        solver = p2t.Solver("solver.prototxt", weights="a.caffemodel", replace=replace)
        name = replace.get("ip2", "ip2")
        for blob in solver.net.params[name]:
            blob.data.zero_()
        solver.step(1)
        steps.append([blob.data.clone() for blob in solver.net.params[name]])
        solver.close()
    for slow, fast in zip(*steps, strict=True):
        assert slow.abs().max() > 0
        np.testing.assert_allclose(fast.numpy(), 10 * slow.numpy(), rtol=1e-5)


def test_another_number_of_classes_gets_the_hint(folder: Path) -> None:
    (folder / "net.prototxt").write_text(NET.replace("RATE", "1").replace("num_output: 3", "num_output: 7"))
    result = train("--weights", "a.caffemodel")
    assert result.exit_code == 2
    assert "ip2 has 3 outputs in the file and 7 in the net: rename the layer to train it anew" in result.stderr
    assert "train --replace ip2=ip2_new:7" in result.stderr


@pytest.mark.parametrize(
    "replace, message",
    [
        ("ip3=x:5", "there is no layer 'ip3' to replace"),
        ("ip2=ip1", "a layer of the name 'ip1' is there already"),
        ("relu=x:5", "only layers with outputs can be replaced"),
        ("ip2", "expected LAYER=NEW or LAYER=NEW:OUTPUTS, such as fc8=fc8_flowers:102. Received: 'ip2'"),
    ],
)
def test_what_cannot_be_replaced(replace: str, message: str, folder: Path) -> None:
    result = train("--weights", "a.caffemodel", "--replace", replace)
    assert result.exit_code == 2 and message in result.stderr
    assert not list(folder.glob("run*"))


def test_several_files_each_give_their_layers(folder: Path) -> None:
    net = p2t.load("net.prototxt", phase="TRAIN")
    one, two = np.full((5, 6), 2, np.float32), np.full((3, 5), 3, np.float32)
    for path, layer, weight in (("one.caffemodel", "ip1", one), ("two.caffemodel", "ip2", two)):
        net.load_weights({layer: [weight, np.zeros(len(weight), np.float32)]})
        text = NET.replace("RATE", "1").replace(f'name: "{"ip2" if layer == "ip1" else "ip1"}"', 'name: "other"')
        part = p2t.load(text=text, phase="TRAIN")
        part.load_weights({layer: [weight, np.zeros(len(weight), np.float32)]})
        part.save(path)
    result = train("--weights", "one.caffemodel,two.caffemodel", "--max-iter", "0")
    assert result.exit_code == 0, result.stderr
    trained = p2t.read_weights("run_iter_0.caffemodel")
    assert np.array_equal(trained["ip1"][0], one) and np.array_equal(trained["ip2"][0], two)


def test_strict_refuses_what_does_not_fit_one_to_one(folder: Path) -> None:
    (folder / "net.prototxt").write_text(NET.replace("RATE", "1").replace('"ip2" type', '"ip2_renamed" type'))
    result = train("--weights", "a.caffemodel", "--strict")
    assert result.exit_code == 2
    assert "2 layers do not fit:\n" in result.stderr
    assert "ip2 of the file has the shapes of ip2_renamed: layers are matched by name alone" in result.stderr
    assert train("--weights", "a.caffemodel").exit_code == 0


def test_a_rate_of_zero_freezes_a_layer_and_holds_no_gradient(folder: Path) -> None:
    (folder / "net.prototxt").write_text(NET.replace("RATE", "0"))
    solver = p2t.Solver("solver.prototxt", weights="a.caffemodel")
    before = [blob.data.clone() for blob in solver.net.params["ip1"]]
    solver.step(2)
    for blob, was in zip(solver.net.params["ip1"], before, strict=True):
        assert np.array_equal(blob.data.numpy(), was.numpy())
        assert not blob.tensor.requires_grad and blob.tensor.grad is None
    assert solver.net.params["ip2"][0].tensor.grad is not None
    solver.close()
