"""`export --shape`: nets whose databases are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

import proto2torch as p2t
from proto2torch.cli import main

DATA = """\
layer {
  name: "images" type: "Data" top: "data" top: "label"
  data_param { source: "no_such_lmdb" batch_size: 4 backend: LMDB }
}
"""
REST = """\
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.prototxt").write_text(DATA + REST)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", "net.prototxt", "--no-check", *arguments])


def module(source: str) -> torch.nn.Module:
    namespace: dict[str, type[torch.nn.Module]] = {}
    exec(source, namespace)
    return namespace["Net"]()


def test_a_missing_database_is_named_with_what_stands_in_for_it() -> None:
    done = export()
    assert done.exit_code == 2
    assert "layer 'images' (Data), net.prototxt:3:16: no database is there. Received: 'no_such_lmdb'" in done.stderr
    assert "--shape data=N,C,H,W gives its shape without reading it" in done.stderr


def test_with_its_shape_the_net_is_exported() -> None:
    done = export("--shape", "data=4,3,5,5")
    assert done.exit_code == 0, done.stderr
    assert module(done.stdout)(torch.zeros(2, 3, 5, 5)).shape == (2, 2)


def test_labels_are_one_an_item_unless_they_are_given() -> None:
    assert export("--shape", "data=4,3,5,5", "--phase", "TRAIN").exit_code == 0
    done = export("--shape", "data=4,3,5,5", "--shape", "label=4,2", "--phase", "TRAIN")
    assert done.exit_code == 2
    assert "needs one label for each of 4 positions" in done.stderr


def test_weights_go_beside_it_without_the_database(folder: Path) -> None:
    p2t.load(text=INPUT + REST.split("\n")[0]).save("w.caffemodel")
    done = export("--shape", "data=4,3,5,5", "--weights", "w.caffemodel", "-o", "model.py")
    assert done.exit_code == 0, done.stderr
    made = module((folder / "model.py").read_text())
    made.load_state_dict(load_file("model.safetensors"))
    stored = p2t.read_weights("w.caffemodel")["ip"][0]
    assert torch.equal(made.get_parameter("ip.weight"), torch.from_numpy(stored))


def test_an_inputs_shape_may_be_given_too(folder: Path) -> None:
    (folder / "net.prototxt").write_text(INPUT + REST.split("\n")[0])
    assert "nn.Linear(147, 2)" in export("--shape", "data=1,3,7,7").stdout
    p2t.load("net.prototxt").save("w.caffemodel")
    done = export("--shape", "data=1,3,5,5", "--weights", "w.caffemodel", "-o", "model.py")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    "given, says",
    [
        ("dat=1,3,5,5", "a shape is given for 'dat', which is no input"),
        ("data", "expected BLOB=N,C,H,W. Received: 'data'"),
        ("data=", "expected BLOB=N,C,H,W"),
        ("data=1,x", "expected BLOB=N,C,H,W"),
        ("data=1,0,5,5", "expected BLOB=N,C,H,W"),
        ("=1,3", "expected BLOB=N,C,H,W"),
    ],
)
def test_what_is_no_shape(given: str, says: str) -> None:
    done = export("--shape", "data=4,3,5,5", "--shape", given)
    assert done.exit_code == 2
    assert says in done.stderr
