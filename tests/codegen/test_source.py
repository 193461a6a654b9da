"""The source itself: LeNet's as a person would write it, names that are hostile, files that stand alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import proto2torch as p2t
from proto2torch.codegen.export import export
from proto2torch.codegen.inline import closure, pieces
from proto2torch.prototxt.read import read_net

NETS = Path(__file__).parents[1] / "golden" / "data" / "nets"

LENET = """
name: "LeNet"
layer { name: "mnist" type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 64 backend: LMDB } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 20 kernel_size: 5 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" convolution_param { num_output: 50 kernel_size: 5 } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1" inner_product_param { num_output: 500 } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param { num_output: 10 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""

WRITTEN = '''\
"""LeNet, phase TEST: data (N, 1, 28, 28) -> ip2 (N, 10)."""

import torch
import torch.nn.functional as F
from torch import nn


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(800, 500)
        self.ip2 = nn.Linear(500, 10)

    def forward(self, data):
        data = data.to(memory_format=torch.channels_last)
        pool1 = F.max_pool2d(self.conv1(data), 2)
        pool2 = F.max_pool2d(self.conv2(pool1), 2)
        ip1 = F.relu(self.ip1(pool2.flatten(1)))
        return self.ip2(ip1)
'''


def digits(definition: Any, phase: str) -> list[tuple[int, ...]]:
    return [(64, 1, 28, 28), (64,)]


def source_of(text: str, **how: Any) -> str:
    return export(read_net(text=text), digits, **how).text


def test_lenet_is_what_a_person_would_write() -> None:
    assert source_of(LENET) == WRITTEN


def test_labels_stay_where_asked_for() -> None:
    assert 'return {"accuracy": accuracy, "loss": loss}' in source_of(LENET, keep_labels=True)


def test_the_same_net_gives_the_same_bytes() -> None:
    assert source_of(LENET, phase="TRAIN") == source_of(LENET, phase="TRAIN")


def test_export_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(LENET)
    script = (
        "import sys\n"
        "from proto2torch.codegen.export import export\n"
        "from proto2torch.prototxt.read import read_net\n"
        f"export(read_net({str(net)!r}), lambda d, p: [(64, 1, 28, 28), (64,)])\n"
        "assert not {'torch', 'numpy', 'h5py', 'scipy'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_ceil_mode_stays_where_another_size_may_come() -> None:
    free = LENET.split('layer { name: "ip1"')[0].replace("kernel_size: 2 stride: 2", "kernel_size: 2 stride: 2")
    assert source_of(free).count("ceil_mode=True") == 2


HOSTILE = [
    "conv1/7x7_s2",
    "class",
    "1",
    "fc-8",
    "fc_8",
    "x; import os",
    "a\"b'c\n\\",
    "__init__",
    "forward",
    "self",
    "é" * 9,
]


def chain(names: list[str]) -> str:
    """A net whose layers and blobs bear the names, one InnerProduct after the other."""
    text = 'name: "chain" layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 2 dim: 3 } } }\n'
    before = '"in"'
    for name in names:
        quoted = '"' + "".join(f"\\{b:03o}" for b in name.encode()) + '"'
        text += (
            f"layer {{ name: {quoted} type: 'InnerProduct' bottom: {before} top: {quoted} "
            "inner_product_param { num_output: 3 weight_filler { type: 'constant' value: 0.5 } } }\n"
        )
        before = quoted
    return text


def shape_of(source: str) -> str:
    """The syntax tree without names and strings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field, value in ast.iter_fields(node):
            if isinstance(value, str):
                setattr(node, field, "")
    return ast.dump(tree)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(min_size=1, max_size=30).filter(lambda s: s != "in"), min_size=5, max_size=5, unique=True))
def test_no_name_becomes_code(names: list[str]) -> None:
    names = [n for n in names if n.encode("utf-8", "ignore").decode() == n] or ["x"]
    plain = [f"ip{i}" for i in range(len(names))]
    hostile = export(read_net(text=chain(names)), digits).text
    assert shape_of(hostile) == shape_of(export(read_net(text=chain(plain)), digits).text)


def test_hostile_names_compute() -> None:
    net = p2t.load(text=chain(HOSTILE))
    out = net(torch.ones(2, 3))
    assert list(net.params) == HOSTILE
    assert torch.equal(out[HOSTILE[-1]], torch.full((2, 3), 1.5 ** len(HOSTILE)))


@pytest.mark.parametrize("path", sorted(NETS.glob("*-0.prototxt")), ids=lambda p: p.stem)
def test_exported_source_stands_alone(path: Path, tmp_path: Path) -> None:
    """It compiles, passes ruff's default rules, is laid out as ruff format leaves it, and names nothing of ours."""
    try:
        source = export(read_net(str(path)), digits, phase="TRAIN").text
    except p2t.Proto2TorchError as error:
        assert "is not supported" in str(error)
        return
    file = tmp_path / "model.py"
    file.write_text(source)
    assert "proto2torch" not in source
    for command in (["check"], ["format", "--check", "--line-length", "88"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_runtime_pieces_name_only_torch_and_each_other() -> None:
    for name in pieces():
        text = "import math\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
        text += "\n\n".join(piece.text for piece in closure([name]))
        namespace: dict[str, Any] = {}
        exec(compile(text, name, "exec"), namespace)
        assert callable(namespace[name]) or name.isupper()
