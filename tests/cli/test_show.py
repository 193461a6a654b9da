"""`show`: the table, the object, and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proto2torch.cli import main
from proto2torch.cost.table import count, size

MNIST = Path(__file__).resolve().parents[2] / "examples" / "mnist"


def show(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["show", *arguments])


def test_the_table_of_lenet() -> None:
    done = show(str(MNIST / "lenet.prototxt"), "--shape", "data=64,1,28,28")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["layer", "type", "output", "parameters", "multiply-adds", "activations"]
    table = {line.split()[0]: line.split() for line in lines[2:] if line and not line.startswith("-")}
    assert table["conv1"][1:] == [
        "Convolution",
        *"64x20x24x24".replace("x", " x ").split(),
        "520",
        "18.43",
        "M",
        "2.949",
        "MB",
    ]
    assert table["relu1"][1:] == ["ReLU", "64", "x", "500", "-", "-", "-"]
    assert table["total"][1:] == [
        "9",
        "layers",
        "431,080",
        "146.8",
        "M",
        "5.044",
        "MB",
    ]  # 4 x 64 x (784 + 11,520 + 2,880 + 3,200 + 800 + 500 + 10 + 10)
    assert "multiply-adds  146.8 M a forward, 2.293 M for each of the 64 items" in lines
    assert "training" not in done.stdout


def test_a_net_that_trains_shows_the_memory_of_a_step() -> None:
    data = ("--shape", "data=64,1,28,28")
    done = show(str(MNIST / "lenet_train_test.prototxt"), "--phase", "train", *data)
    assert done.exit_code == 0, done.stderr
    assert "with SGD: parameters 1.724 MB, gradients 1.724 MB, history 1.724 MB" in done.stdout
    twice = show(str(MNIST / "lenet_train_test.prototxt"), "--phase", "TRAIN", "--rule", "Adam", *data)
    assert "with Adam: parameters 1.724 MB, gradients 1.724 MB, history 3.449 MB" in twice.stdout


def test_the_object_has_elements_and_bytes() -> None:
    done = show(str(MNIST / "lenet_train_test.prototxt"), "--phase", "TRAIN", "--input", "data=2,1,28,28", "--json")
    found = json.loads(done.stdout)
    assert found["totals"] == {
        "parameters": 431_080,
        "statistics": 0,
        "multiply_adds": 2 * 2_293_000,
        "activation_bytes": 4 * (2 * (784 + 1 + 20 * 576 + 20 * 144 + 50 * 64 + 50 * 16 + 500 + 10) + 1),
    }
    conv1 = next(layer for layer in found["layers"] if layer["name"] == "conv1")
    assert conv1["tops"] == [{"blob": "conv1", "shape": [2, 20, 24, 24]}]
    assert (conv1["type"], conv1["bottoms"], conv1["parameters"]) == ("Convolution", ["data"], 520)
    assert found["training"]["total"] == sum(
        found["training"][key] for key in ("parameters", "gradients", "history", "activations", "passing")
    )


def test_the_memory_format_is_told() -> None:
    """Chosen for a net of convolutions, or as the user says."""
    for given, told in (((), "channels_last"), (("--memory-format", "contiguous"), "contiguous")):
        assert f"memory format  {told}" in show(str(MNIST / "lenet.prototxt"), *given).stdout.splitlines()
        done = show(str(MNIST / "lenet.prototxt"), *given, "--json")
        assert json.loads(done.stdout)["memory_format"] == told


def test_a_net_without_convolutions_is_contiguous(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }'
    )
    assert "memory format  contiguous" in show(str(tmp_path / "net.prototxt")).stdout


def test_stages_choose_layers(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
        'layer { name: "extra" type: "Power" bottom: "x" top: "y" include { stage: "more" min_level: 1 } }'
    )
    assert "extra" not in show(str(net)).stdout
    assert "extra" in show(str(net), "--stage", "more", "--level", "1").stdout


def test_names_stay_in_their_line(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    name = r"a\nb\033[31m" + "x" * 300
    net.write_text(f'layer {{ name: "{name}" type: "Input" top: "x" input_param {{ shape {{ dim: 1 }} }} }}')
    done = show(str(net))
    assert done.exit_code == 0
    assert "\033" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.prototxt",), "no.prototxt: cannot read it"),
        ((str(MNIST / "lenet.prototxt"), "--rule", "Lion"), "Received: 'Lion'"),
        ((str(MNIST / "lenet.prototxt"), "--shape", "dta=1,1,28,28"), "did you mean 'data'?"),
        ((str(MNIST / "lenet.prototxt"), "--shape", "data=1,1,2,2"), "conv1"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], message: str) -> None:
    done = show(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (724_406_816, "724.4 M"), (999_960, "1 M"), (1.5e15, "1500 T")],
)
def test_counts_in_four_digits(number: float, text: str) -> None:
    assert count(number) == text


def test_sizes_in_decimal_units() -> None:
    assert [size(4), size(1000), size(243_860_896)] == ["4 B", "1 kB", "243.9 MB"]
