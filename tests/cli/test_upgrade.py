"""`upgrade`: old nets and solvers, text and binary, in the newest format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.prototxt import schema, text

V1 = """
name: "old" input: "x" input_dim: 1 input_dim: 3 input_dim: 1 input_dim: 1
layers { name: "ip" type: INNER_PRODUCT bottom: "x" top: "y" blobs_lr: 1 blobs_lr: 2 inner_product_param { num_output: 2 } }
"""


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["upgrade", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_a_text_net(tmp_path: Path) -> None:
    (tmp_path / "old.prototxt").write_text(V1)
    code, out, _ = run(tmp_path / "old.prototxt")
    assert code == 0
    net = text.parse(out, "NetParameter").message
    assert [(layer.name, layer.type) for layer in net.layer] == [("input", "Input"), ("ip", "InnerProduct")]
    assert [param.lr_mult for param in net.layer[1].param] == [1, 2]
    assert run(tmp_path / "old.prototxt", tmp_path / "new.prototxt")[0] == 0
    assert (tmp_path / "new.prototxt").read_text() == out


def test_a_binary_net_keeps_its_weights(tmp_path: Path) -> None:
    old = text.parse(V1, "NetParameter").message
    old.layers[0].blobs.add(num=1, channels=1, height=2, width=3, data=range(6))
    old.layers[0].blobs.add(num=1, channels=1, height=1, width=2, data=[7, 8])
    (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
    code, _, err = run(tmp_path / "old.caffemodel")
    assert (code, "is binary: give a file to write it to" in err) == (2, True)
    assert run(tmp_path / "old.caffemodel", "-o", tmp_path / "new.caffemodel")[0] == 0
    new = schema.message_class("NetParameter").FromString((tmp_path / "new.caffemodel").read_bytes())
    assert not new.layers
    assert [layer.type for layer in new.layer] == ["Input", "InnerProduct"]
    weights = p2t.read_weights(str(tmp_path / "new.caffemodel"))["ip"]
    assert np.array_equal(weights[0].ravel(), np.arange(6))
    assert np.array_equal(weights[1].ravel(), [7, 8])


def test_a_solver(tmp_path: Path) -> None:
    (tmp_path / "solver.prototxt").write_text('net: "n" base_lr: 1 lr_policy: "fixed" solver_type: ADAM')
    code, out, _ = run(tmp_path / "solver.prototxt")
    assert code == 0
    assert 'type: "Adam"' in out
    assert "solver_type" not in out


def test_what_is_neither(tmp_path: Path) -> None:
    (tmp_path / "a.prototxt").write_text("layer { nam: 3 }")
    code, _, err = run(tmp_path / "a.prototxt")
    assert code == 2
    assert "a.prototxt:1:9" in err
