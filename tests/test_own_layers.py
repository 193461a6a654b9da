"""Layers of a user's own: docs/adding-a-layer.md does as it says, and a file that is wrong is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import proto2torch as p2t
from proto2torch import own_layers
from proto2torch.cli import main
from proto2torch.layers import REGISTRY

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "docs/adding-a-layer.md").read_text(), re.DOTALL)
MINE, EXPORTED, IN_PYTHON = [text for kind, text in BLOCKS if kind == "python"]
NET = next(text for kind, text in BLOCKS if kind == "")
COMMAND = next(text for kind, text in BLOCKS if kind == "console").split()[1:]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the page, in the working directory; what they register is gone afterwards."""
    (tmp_path / "my_layers.py").write_text(MINE)
    (tmp_path / "net.prototxt").write_text(NET)
    monkeypatch.chdir(tmp_path)
    before = dict(REGISTRY)
    yield tmp_path
    REGISTRY.clear()
    REGISTRY.update(before)
    own_layers._loaded.clear()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_export_is_what_the_page_shows(folder: Path) -> None:
    done = run(*COMMAND)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == EXPORTED


def test_in_python_an_import_is_enough(folder: Path) -> None:
    code = IN_PYTHON + "assert net.source.count('class ') == 3, net.source\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr


def test_it_computes(folder: Path) -> None:
    assert own_layers.load("my_layers.py") == ["GradientReversal", "Temperature"]
    net = p2t.load("net.prototxt", phase="TRAIN")
    assert net.params["soft"][0].data.item() == 1
    net.params["soft"][0].data.fill_(2.0)
    x = torch.ones(2, 3)
    net(x)
    net.loss.backward()
    weight = net.params["domain"][0]
    expected = -0.5 * weight.data.T.expand(4, 3) * 2 / 2  # two items, each divided by t
    assert torch.allclose(net.params["shared"][0].grad, expected)


def test_weights_go_to_a_file_and_back(folder: Path) -> None:
    own_layers.load("my_layers.py")
    net = p2t.load("net.prototxt")
    net.params["soft"][0].data.fill_(3.0)
    net.save("w.caffemodel")
    assert p2t.load("net.prototxt", "w.caffemodel").params["soft"][0].data.item() == 3


def test_its_errors_show_the_line(folder: Path) -> None:
    (folder / "net.prototxt").write_text(NET.replace("scale: 0.5", "scale: -1"))
    done = run(*COMMAND)
    assert done.exit_code == 2
    assert "layer 'turn' (GradientReversal), net.prototxt:3:82: scale must not be negative. Received: -1" in done.stderr


def test_without_the_option_the_type_is_unknown(folder: Path) -> None:
    done = run("export", "net.prototxt")
    assert done.exit_code == 2
    assert "layer type 'GradientReversal' is not supported" in done.stderr


def test_a_file_runs_once(folder: Path) -> None:
    (folder / "my_layers.py").write_text(
        MINE
        + "\nfrom pathlib import Path\nruns = Path('runs')\nruns.write_text((runs.read_text() if runs.exists() else '') + 'x')\n"
    )
    own_layers.load("my_layers.py")
    assert run(*COMMAND, "--layers", "./my_layers.py").exit_code == 0
    assert (folder / "runs").read_text() == "x"


RELU = "from proto2torch.layers import Layer\nclass Mine(Layer, type='Mine'): pass\nclass R(Layer, type='ReLU'): pass\n"


@pytest.mark.parametrize(
    "file, text, says",
    [
        ("my_layer.py", None, ["my_layer.py: cannot read the layers: no such file", "did you mean 'my_layers.py'?"]),
        ("layers.txt", "", ["expected a Python file, with the ending .py"]),
        ("empty.py", "x = 1\n", ["empty.py: it registers no layer", 'class Mine(Layer, type="Mine"):']),
        (
            "twice.py",
            RELU,
            [
                "twice.py:3:1: cannot run it: layer type 'ReLU' is registered twice. Received: ReLU of ",
                "R of twice.py\n",
            ],
        ),
        ("syntax.py", "x = (\n", ["syntax.py:1:", "cannot run it: '(' was never closed"]),
        ("raises.py", "\n1 / 0\n", ["raises.py:2:1: cannot run it: ZeroDivisionError: division by zero"]),
        ("piece.py", MINE + "\n\ndef lstm_unit(x):\n    return x\n", ["'lstm_unit' is the name of a piece"]),
    ],
)
def test_a_file_that_is_wrong_registers_nothing(folder: Path, file: str, text: str | None, says: list[str]) -> None:
    if text is not None:
        (folder / file).write_text(text)
    types = set(REGISTRY)
    done = run("export", "net.prototxt", "--layers", file)
    assert done.exit_code == 2
    for said in says:
        assert said in done.stderr
    assert set(REGISTRY) == types


METHODS = {
    "__init__": "def __init__(self, definition, phase):",
    "check": "def check(self):",
    "shapes": "def shapes(self, x):",
    "blobs": "def blobs(self, x):",
    "code": "def code(self, node):",
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("command", [("export",), ("check",)])
def test_what_its_methods_raise_is_said_with_layer_and_file(folder: Path, method: str, command: tuple[str]) -> None:
    (folder / "bad.py").write_text(
        "from proto2torch.layers import Layer\n"
        f"class Mine(Layer, type='Mine'):\n    {METHODS[method]}\n        return 1 / 0\n"
    )
    (folder / "bad.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 } } }\n'
        'layer { name: "mine" type: "Mine" bottom: "x" top: "y" }\n'
    )
    done = run(*command, "bad.prototxt", "--layers", "bad.py")
    if command == ("check",) and method == "code":  # which asks for no code
        assert done.exit_code == 0
        return
    assert done.exit_code == 2
    text = "layer 'mine' (Mine), bad.prototxt:2:1: its class Mine, bad.py:4, raised ZeroDivisionError: division by zero"
    assert f"error: {text}\n" in done.stderr + done.stdout


def test_caffe_and_extract_features_take_layers(folder: Path) -> None:
    done = run("caffe", "time", "-model=net.prototxt", "-iterations=1", "--layers", "my_layers.py")
    assert done.exit_code == 0, done.stderr
    assert run("check", "net.prototxt", "--layers", "my_layers.py").exit_code == 0
    assert "--layers" in run("extract-features", "--help").stdout
