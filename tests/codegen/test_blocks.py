"""Folded source: what a reader sees, how long it is, and that no name of a net becomes code in it."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import proto2torch as p2t
from proto2torch.codegen.build import build
from proto2torch.codegen.export import export
from proto2torch.codegen.inline import pieces
from proto2torch.codegen.source import Source, generate
from proto2torch.prototxt.read import read_net

ZOO = Path(__file__).resolve().parents[3] / "shared" / "zoo"
INPUT = 'name: "{}" layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: {} dim: 8 dim: 8 }} }} }}\n'


def quoted(name: str) -> str:
    """A name as its bytes, so that any will do."""
    return '"' + "".join(f"\\{b:03o}" for b in name.encode()) + '"'


def layer(name: str, kind: str, bottoms: Sequence[str], top: str | None = None, rest: str = "") -> str:
    """The text of a layer; in place where no top is given."""
    read = " ".join(f"bottom: {quoted(b)}" for b in bottoms)
    made = quoted(bottoms[0] if top is None else top)
    return f"layer {{ name: {quoted(name)} type: '{kind}' {read} top: {made} {rest} }}\n"


def conv(name: str, bottom: str, width: int, size: int = 1, stride: int = 1) -> str:
    pad = f"pad: {size // 2}" if size > 1 else ""
    fill = "weight_filler { type: 'gaussian' std: 0.1 } bias_filler { type: 'gaussian' std: 0.1 }"
    return layer(
        name,
        "Convolution",
        [bottom],
        name,
        f"convolution_param {{ num_output: {width} kernel_size: {size} stride: {stride} {pad} {fill} }}",
    )


def residual(name: str, before: str, width: int, stride: int = 1, project: bool = False) -> str:
    text = ""
    shortcut = before
    if project:
        shortcut = f"{name}_branch1"
        text += conv(shortcut, before, 4 * width, stride=stride)
    text += conv(f"{name}_branch2a", before, width, stride=stride)
    text += layer(f"{name}_branch2a_relu", "ReLU", [f"{name}_branch2a"])
    text += conv(f"{name}_branch2b", f"{name}_branch2a", width, 3)
    text += layer(f"{name}_branch2b_relu", "ReLU", [f"{name}_branch2b"])
    text += conv(f"{name}_branch2c", f"{name}_branch2b", 4 * width)
    text += layer(name, "Eltwise", [shortcut, f"{name}_branch2c"], name)
    return text + layer(f"{name}_relu", "ReLU", [name])


def resnet() -> str:
    text, before = INPUT.format("Small-ResNet", 3), "data"
    for stage, (width, count) in enumerate([(2, 4), (4, 5), (8, 3)], 2):
        for i in range(count):
            name = f"res{stage}{'abcdef'[i]}"
            text += residual(name, before, width, stride=2 if i == 0 and stage > 2 else 1, project=i == 0)
            before = name
    return text


RESNET = '''\
"""Small-ResNet, phase TEST: data (N, 3, 8, 8) -> res4c (N, 32, 2, 2)."""

import torch
import torch.nn.functional as F
from torch import nn


class ResProjectionBlock(nn.Module):
    """res2a, res3a, res4a."""

    def __init__(self, channels, width, stride=1):
        super().__init__()
        self.branch1 = nn.Conv2d(channels, 4 * width, 1, stride=stride)
        self.branch2a = nn.Conv2d(channels, width, 1, stride=stride)
        self.branch2b = nn.Conv2d(width, width, 3, padding=1)
        self.branch2c = nn.Conv2d(width, 4 * width, 1)

    def forward(self, x):
        branch1 = self.branch1(x)
        branch2 = F.relu(self.branch2a(x))
        branch2 = F.relu(self.branch2b(branch2))
        return F.relu(branch1 + self.branch2c(branch2))


class ResBlock(nn.Module):
    """res2b to res4c, 9 in all."""

    def __init__(self, width):
        super().__init__()
        self.branch2a = nn.Conv2d(4 * width, width, 1)
        self.branch2b = nn.Conv2d(width, width, 3, padding=1)
        self.branch2c = nn.Conv2d(width, 4 * width, 1)

    def forward(self, x):
        branch2 = F.relu(self.branch2a(x))
        branch2 = F.relu(self.branch2b(branch2))
        return F.relu(x + self.branch2c(branch2))


class SmallResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.res2 = nn.Sequential(
            ResProjectionBlock(3, 2), *[ResBlock(2) for _ in range(3)]
        )
        self.res3 = nn.Sequential(
            ResProjectionBlock(8, 4, stride=2), *[ResBlock(4) for _ in range(4)]
        )
        self.res4 = nn.Sequential(
            ResProjectionBlock(16, 8, stride=2), *[ResBlock(8) for _ in range(2)]
        )

    def forward(self, data):
        x = data.to(memory_format=torch.channels_last)
        x = self.res2(x)
        x = self.res3(x)
        return self.res4(x)
'''


def source_of(text: str, fold: bool = True) -> str:
    return export(read_net(text=text), lambda definition, phase: [], fold=fold).text


def test_a_residual_net_is_its_blocks_and_stages() -> None:
    assert source_of(resnet()) == RESNET


def test_flat_writes_every_layer() -> None:
    flat = source_of(resnet(), fold=False)
    assert flat.count("class ") == 1
    assert flat.count("nn.Conv2d(") == 3 * 4 + 9 * 3


def inception(name: str, before: str, widths: tuple[int, ...]) -> str:
    one, reduce, three, project = widths
    text = conv(f"{name}/1x1", before, one) + layer(f"{name}/relu_1x1", "ReLU", [f"{name}/1x1"])
    text += conv(f"{name}/3x3_reduce", before, reduce) + layer(
        f"{name}/relu_3x3_reduce", "ReLU", [f"{name}/3x3_reduce"]
    )
    text += conv(f"{name}/3x3", f"{name}/3x3_reduce", three, 3) + layer(f"{name}/relu_3x3", "ReLU", [f"{name}/3x3"])
    pool = "pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 }"
    text += layer(f"{name}/pool", "Pooling", [before], f"{name}/pool", pool)
    text += conv(f"{name}/pool_proj", f"{name}/pool", project)
    text += layer(f"{name}/relu_pool_proj", "ReLU", [f"{name}/pool_proj"])
    ends = [f"{name}/{end}" for end in ("1x1", "3x3", "pool_proj")]
    return text + layer(f"{name}/output", "Concat", ends, f"{name}/output")


def test_an_inception_module_takes_its_widths() -> None:
    text, before = INPUT.format("Google", 3), "data"
    for name, widths in [("3a", (4, 2, 5, 1)), ("3b", (6, 3, 9, 2)), ("4a", (8, 5, 7, 3)), ("4b", (7, 4, 6, 5))]:
        text += inception(f"inception_{name}", before, widths)
        before = f"inception_{name}/output"
    source = source_of(text)
    assert "def __init__(self, channels, conv_1x1, conv_3x3_reduce, conv_3x3, pool_proj):" in source
    assert "self.inception_3a = Inception(3, 4, 2, 5, 1)" in source
    assert "self.inception_4b = Inception(18, 7, 4, 6, 5)" in source
    assert "        return torch.cat([conv_1x1, conv_3x3, pool], 1)\n" in source


def test_what_is_shared_by_name_stays_outside() -> None:
    """Two blocks use one weight: they cannot each have their own."""
    shared = resnet()
    for name in ("res2b_branch2b", "res2c_branch2b"):
        shared = shared.replace(f"name: {quoted(name)} type", f'param {{ name: "w" }} name: {quoted(name)} type')
    source = source_of(shared)
    assert "self.res2b_branch2b = nn.Conv2d(2, 2, 3, padding=1)" in source
    assert "self.res2c_branch2b.weight = self.res2b_branch2b.weight" in source
    assert "class ResBlock" in source


@pytest.mark.parametrize("text", [resnet()], ids=["resnet"])
def test_folded_files_are_as_a_formatter_leaves_them(text: str, tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text(source_of(text))
    for tool in (
        ["ruff", "check", "--isolated"],
        ["ruff", "format", "--check", "--isolated"],
        ["mypy", "--follow-imports=skip"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *tool, str(file)], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr


PUBLISHED = [
    ("KaimingHe+deep-residual-networks/prototxt/ResNet-152-deploy.prototxt", 160, {"ResBlock", "ResProjectionBlock"}),
    ("KaimingHe+deep-residual-networks/prototxt/ResNet-50-deploy.prototxt", 160, {"ResBlock", "ResProjectionBlock"}),
    ("BVLC+caffe/models/bvlc_googlenet/deploy.prototxt", 130, {"Inception"}),
    ("soeaver+caffe-model/cls/vgg/deploy_vgg16-pytorch.prototxt", 70, set()),
]


@pytest.mark.skipif(not ZOO.is_dir(), reason="../shared/zoo, with the published prototxts, is absent")
@pytest.mark.parametrize(("path", "most", "classes"), PUBLISHED, ids=[Path(p).stem for p, _, _ in PUBLISHED])
def test_published_nets_are_short(path: str, most: int, classes: set[str]) -> None:
    source = export(read_net(str(ZOO / path)), lambda definition, phase: []).text
    assert source.count("\n") <= most
    assert set(re.findall(r"class (\w+)\(", source)[:-1]) - set(pieces()) == classes


# Names are data


def outputs(text: str) -> tuple[Source, torch.Tensor, torch.Tensor]:
    """The folded source, and what the folded and the flat module give with the same blobs."""
    net = p2t.load(text=text)
    x = torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8)
    given = []
    for fold in (True, False):
        source = generate(net.graph, fold=fold)
        module = build(source)
        net.blobs.bind(source, module, net.device)
        with torch.no_grad():
            given.append(module.eval()(x))
        if fold:
            folded = source
    return folded, given[0], given[1]


def unknown_names(source: str) -> set[str]:
    """Names that the source reads but neither assigns, imports nor takes as arguments."""
    tree = ast.parse(source)
    known = set(dir(builtins))
    read = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else known).add(node.id)
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.alias):
            known.add((node.asname or node.name).split(".")[0])
    return read - known


WORST = [
    "class",
    "nn",
    "F",
    "self",
    "super",
    "range",
    "x",
    "ResBlock",
    "forward",
    "0",
    "1/1",
    "a\"b'c\n\\",
    '"""',
    "ß0",
    "é" * 9,
]


def named(names: list[str]) -> str:
    """A residual net whose blocks bear the names."""
    text, before = INPUT.format("n", 3), "data"
    for i, name in enumerate(names):
        text += residual(name, before, 2, project=i == 0)
        before = name
    return text


def check(names: list[str]) -> None:
    source, folded, flat = outputs(named(names))
    assert torch.equal(folded, flat)
    assert source.text.count("class ") == 2, source.text
    assert unknown_names(source.text) == set()
    imports = [node for node in ast.walk(ast.parse(source.text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert len(imports) == 3
    assert len(set(source.keys.values())) == len(source.keys)


def test_the_worst_names_stay_names() -> None:
    check(WORST)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(min_size=1, max_size=90), min_size=6, max_size=6, unique=True))
def test_no_name_becomes_code(names: list[str]) -> None:
    drawn = [n for n in names if n.encode("utf-8", "ignore").decode() == n and n != "data"]
    check(list(dict.fromkeys(drawn + WORST[:6])))
