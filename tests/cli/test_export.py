"""`proto2torch export`: the source as a person would write it, and weights that load into it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file

import proto2torch as p2t
from proto2torch.cli import main

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "tests/golden/data/runs"
NET = str(RUNS / "lenet-inv/net.prototxt")

LENET = '''\
"""LeNet, from net.prototxt, phase TEST: data (N, 1, 28, 28) -> ip2 (N, 10)."""

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

DEPLOY = """
name: "Small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "extra" type: "ReLU" bottom: "conv" top: "conv" include { stage: "more" } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """A deploy net, and its weights beside it: small.caffemodel, with statistics that were gathered."""
    path = tmp_path / "small.prototxt"
    path.write_text(DEPLOY)
    net = p2t.load(str(path))
    draw = torch.Generator().manual_seed(0)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data.copy_(torch.rand(blob.shape, generator=draw) + 0.5)
    net.save(str(tmp_path / "small.caffemodel"))
    return path


def export(*arguments: str, check: bool = False) -> Result:
    return CliRunner().invoke(main, ["export", *([] if check else ["--no-check"]), *arguments])


def outputs(path: Path, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the exported model computes of the test's input."""
    namespace: dict[str, type[torch.nn.Module]] = {}
    exec(path.read_text(), namespace)
    model = namespace["Small"]()
    model.load_state_dict(weights)
    with torch.no_grad():
        return model.eval()(given())


def given() -> torch.Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_prints_what_a_person_would_have_written() -> None:
    result = export(NET)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == LENET
    assert result.stderr == ""


def test_a_file_holds_what_stdout_would(tmp_path: Path) -> None:
    output = tmp_path / "model.py"
    result = export(NET, "-o", str(output))
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert output.read_text() == LENET
    assert os.listdir(tmp_path) == ["model.py"]


def test_the_phase_and_the_stage_choose_the_layers(deploy: Path) -> None:
    assert "loss" in export(NET, "--phase", "train").stdout
    assert "relu" not in export(str(deploy)).stdout
    assert "relu" in export(str(deploy), "--stage", "more").stdout


def test_weights_go_beside_the_source_and_fit_it(deploy: Path, tmp_path: Path) -> None:
    weights = str(tmp_path / "small.caffemodel")
    result = export(str(deploy), "--weights", weights, "-o", str(tmp_path / "model.py"))
    assert result.exit_code == 0, result.stderr
    found = outputs(tmp_path / "model.py", load_file(tmp_path / "model.safetensors"))
    expected = p2t.load(str(deploy), weights)(given())["fc"].detach()
    assert torch.allclose(found, expected, rtol=1e-5)


def test_weights_alone_to_stdout(deploy: Path, tmp_path: Path) -> None:
    weights = str(tmp_path / "small.caffemodel")
    result = export(str(deploy), "--weights", weights, "--format", "safetensors")
    assert result.exit_code == 0, result.stderr
    found = load_tensors(result.stdout_bytes)
    assert torch.equal(found["conv.weight"], torch.from_numpy(p2t.read_weights(weights)["conv"][0]))


def test_exporting_a_deploy_net_does_without_torch(deploy: Path) -> None:
    code = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
    code += "from proto2torch.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "export", "--no-check", str(deploy)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert "from torch import nn\n" in done.stdout
    assert done.stderr == "False\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "safetensors"], "--format safetensors exports weights. Received: no --weights"),
        (["--weights", "small.caffemodel"], "give -o FILE as well"),
        (["--format", "caffemodel"], "--format caffemodel exports weights. Received: no --weights"),
        (["--format", "tflite"], "'tflite'"),
        (["--shapes"], "--shapes is for --format prototxt"),
        (["--state-dict", "w.pt"], "--state-dict writes the weights of --weights"),
    ],
)
def test_wrong_arguments(deploy: Path, arguments: list[str], message: str) -> None:
    result = export(str(deploy), *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    result = export(NET, "-o", str(tmp_path / "none/model.py"))
    assert result.exit_code == 2
    assert "the folder" in result.stderr and "does not exist" in result.stderr
    assert os.listdir(tmp_path) == []


@pytest.fixture
def repeated(tmp_path: Path) -> Path:
    """A deploy net of sixteen convolutions, each with its normalisation, and weights for it."""
    text = 'name: "Small" layer { name: "in" type: "Input" top: "x0" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
    for i in range(16):
        filler = "weight_filler { type: 'gaussian' std: 0.3 }"
        text += (
            f"layer {{ name: 'conv{i}' type: 'Convolution' bottom: 'x{i}' top: 'x{i + 1}' "
            f"convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 {filler} }} }}\n"
            f"layer {{ name: 'bn{i}' type: 'BatchNorm' bottom: 'x{i + 1}' top: 'x{i + 1}' }}\n"
            f"layer {{ name: 'relu{i}' type: 'ReLU' bottom: 'x{i + 1}' top: 'x{i + 1}' }}\n"
        )
    path = tmp_path / "repeated.prototxt"
    path.write_text(text)
    p2t.load(str(path)).save(str(tmp_path / "repeated.caffemodel"))
    return path


@pytest.mark.parametrize("flat", [[], ["--flat"]], ids=["folded", "flat"])
def test_weights_fit_what_is_folded_and_what_is_flat(repeated: Path, tmp_path: Path, flat: list[str]) -> None:
    weights = str(tmp_path / "repeated.caffemodel")
    result = export(str(repeated), "--weights", weights, "-o", str(tmp_path / "model.py"), *flat)
    assert result.exit_code == 0, result.stderr
    source = (tmp_path / "model.py").read_text()
    assert source.count("class ") == (1 if flat else 2)
    assert source.count("nn.Conv2d(") == (16 if flat else 1)
    found = outputs(tmp_path / "model.py", load_file(tmp_path / "model.safetensors"))
    net = p2t.load(str(repeated), weights)
    (expected,) = net(given()).values()
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=0, equal_nan=True)
    fresh = p2t.load(str(repeated))
    fresh.load_weights(str(tmp_path / "model.safetensors"))
    (again,) = fresh(given()).values()
    torch.testing.assert_close(again, expected, rtol=0, atol=0, equal_nan=True)
