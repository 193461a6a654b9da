"""`proto2torch test` against what `caffe test` printed of the same net, weights and database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proto2torch.cli import main

DATA = Path(__file__).parents[1] / "golden/data"
TOOLS = DATA / "tools"
NET = str(TOOLS / "net.prototxt")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["test", *arguments])


def caffe_means() -> dict[str, float]:
    """The last lines of Caffe's log: `Loss: 1.39914`, then `accuracy = 0.0833333` …"""
    lines = (TOOLS / "test_log.txt").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Loss: "))
    means = {"Loss": float(lines[start].split()[1])}
    return means | {line.split()[0]: float(line.split()[2]) for line in lines[start + 1 :]}


@pytest.mark.parametrize("weights", ["net.caffemodel", "net.caffemodel.h5"])
def test_prints_the_means_that_caffe_printed(weights: str) -> None:
    result = run(NET, "--weights", str(TOOLS / weights), "--iterations", "3")
    assert result.exit_code == 0, result.stderr
    loss, accuracy, weighted = result.stdout.splitlines()
    caffe = caffe_means()
    assert float(loss.removeprefix("Loss: ")) == pytest.approx(caffe["Loss"], rel=1e-5)
    assert float(accuracy.removeprefix("accuracy = ")) == pytest.approx(caffe["accuracy"], rel=1e-6)
    assert float(weighted.split()[2]) == pytest.approx(caffe["loss"], rel=1e-5)
    assert weighted == f"loss = {weighted.split()[2]} (* 1 = {weighted.split()[2]} loss)"


def test_json() -> None:
    result = run(NET, "--weights", str(TOOLS / "net.caffemodel"), "--iterations", "3", "--json")
    found = json.loads(result.stdout)
    caffe = caffe_means()
    assert found["iterations"] == 3
    assert found["loss"] == pytest.approx(caffe["Loss"], rel=1e-5)
    assert found["outputs"] == {
        "accuracy": pytest.approx(caffe["accuracy"], rel=1e-6),
        "loss": pytest.approx(caffe["loss"], rel=1e-5),
    }


def test_says_which_layers_the_weights_lack(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    text = (TOOLS / "net.prototxt").read_text().replace('name: "conv"', 'name: "other"')
    net.write_text(text.replace('"lmdb_raw"', f'"{TOOLS}/lmdb_raw"').replace('"mean.bin', f'"{TOOLS}/mean.bin'))
    result = run(str(net), "--weights", str(TOOLS / "net.caffemodel"), "--iterations", "1")
    assert result.exit_code == 0, result.stderr
    assert "Ignoring source layer conv\n" in result.stderr
    assert "  other  -            5x3x5x5 + 5  left as it was\n" in result.stderr
    assert "conv of the file has the shapes of other: layers are matched by name alone\n" in result.stderr
    strict = run(str(net), "--weights", str(TOOLS / "net.caffemodel"), "--iterations", "1", "--strict")
    assert strict.exit_code == 2
    assert (
        "2 layers do not fit:\n" in strict.stderr
        and "  other  -            5x3x5x5 + 5  left as it was\n" in strict.stderr
    )


def test_weights_of_another_net_are_refused() -> None:
    weights = str(DATA / "solvers/00-SGD-fixed/init.caffemodel")
    net = str(DATA / "runs/lenet-inv/net.prototxt")
    result = run(net, "--weights", str(TOOLS / "net.caffemodel"), "--iterations", "1")
    assert result.exit_code == 2
    assert "it has weights for no layer of the net" in result.stderr
    result = run(net, "--weights", weights, "--iterations", "1")
    assert result.exit_code == 2
    assert "  ip1 " in result.stderr and "another shape\n" in result.stderr


def test_a_net_without_data_layers_is_refused(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 180 } } }\n'
        'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 4 } }\n'
    )
    result = run(str(net), "--weights", str(TOOLS / "net.caffemodel"))
    assert result.exit_code == 2
    assert "data" in result.stderr
