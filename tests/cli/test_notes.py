"""What Caffe ignores in silence is said on stderr by the commands that build a net, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main

NET = """
layer { name: "x" type: "DummyData" top: "x"
  dummy_data_param { shape { dim: 2 dim: 3 } data_filler { type: "constant" value: 1 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 2 }
  pooling_param { kernel_size: 2 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "fc" top: "loss" }
"""
NOTE = "layer 'fc' (InnerProduct), {path}:5:3: Caffe ignores 'pooling_param' of a layer of this type"


@pytest.fixture
def net(tmp_path: Path) -> str:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    p2t.load(str(path)).save(str(tmp_path / "net.caffemodel"))
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{path}" base_lr: 0 lr_policy: "fixed" max_iter: 1 test_iter: 1 test_interval: 1 solver_mode: CPU '
        "snapshot_after_train: false"
    )
    return str(path)


def test_a_net_keeps_its_notes(net: str) -> None:
    assert p2t.load(net).notes == (NOTE.format(path=net),)


@pytest.mark.parametrize("command", ["train", "test", "export"])
def test_the_notes_are_on_stderr_once(net: str, command: str) -> None:
    folder = Path(net).parent
    arguments = {
        "train": [str(folder / "solver.prototxt")],
        "test": [net, "--weights", str(folder / "net.caffemodel"), "--iterations", "1"],
        "export": [net, "--weights", str(folder / "net.caffemodel"), "-o", str(folder / "model.py")],
    }[command]
    result = CliRunner().invoke(main, [command, *arguments])
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines().count(NOTE.format(path=net)) == 1
    assert "ignores" not in result.stdout
