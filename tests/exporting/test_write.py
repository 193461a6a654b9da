"""The formats besides source: run by what reads them, and weights bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load as load_tensors

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.codegen.formats import onnx as onnx_format
from proto2torch.codegen.formats import pt2 as pt2_format
from proto2torch.codegen.inline import pieces

from .nets import INPUT, SMALL, written

GOLDEN = Path(__file__).parents[1] / "golden" / "data"

MANY = f"""
name: "Many"
{INPUT}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 6 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "norm" type: "LRN" bottom: "conv" top: "norm" lrn_param {{ local_size: 3 alpha: 0.5 beta: 0.75 }} }}
layer {{ name: "spp" type: "SPP" bottom: "norm" top: "spp" spp_param {{ pyramid_height: 2 pool: AVE }} }}
layer {{ name: "ave" type: "Pooling" bottom: "norm" top: "ave" pooling_param {{ pool: AVE kernel_size: 3 stride: 2 }} }}
layer {{ name: "all" type: "Pooling" bottom: "norm" top: "all" pooling_param {{ pool: AVE global_pooling: true }} }}
layer {{ name: "gate" type: "Flatten" bottom: "all" top: "gate" }}
layer {{ name: "gated" type: "Scale" bottom: "conv" bottom: "gate" top: "gated" scale_param {{ axis: 0 }} }}
layer {{ name: "best" type: "ArgMax" bottom: "gate" top: "best" argmax_param {{ top_k: 2 axis: 1 }} }}
"""


def export(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


def drawn(batch: int) -> torch.Tensor:
    return torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(batch))


def close(found: np.ndarray, expected: torch.Tensor) -> bool:
    return found.shape == expected.shape and bool(np.abs(found - expected.detach().numpy()).max() <= 1e-5)


def test_onnx_for_any_batch_in_one_file_of_plain_operators(tmp_path: Path) -> None:
    net, weights = written(tmp_path, MANY)
    path = str(tmp_path / "model.onnx")
    done = export(net, "--weights", weights, "-o", path)
    assert done.exit_code == 0, done.stderr
    assert "model.onnx: written; largest difference from the net: " in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "net.caffemodel", "net.prototxt"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("LRN") == 1 and kinds.count("GlobalAveragePool") == 1
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    loaded = p2t.load(net, weights)
    for batch in (1, 5):
        expected = loaded(data=drawn(batch))
        for name, found in zip(names, session.run(None, {"data": drawn(batch).numpy()}), strict=True):
            assert close(found, expected[name]), name


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch 2.11, of its own loading
def test_pt2_for_any_batch(tmp_path: Path) -> None:
    net, weights = written(tmp_path, MANY)
    path = str(tmp_path / "model.pt2")
    done = export(net, "--weights", weights, "-o", path)
    assert done.exit_code == 0, done.stderr
    program = torch.export.load(path).module()
    expected = p2t.load(net, weights)(data=drawn(5))
    found = program(drawn(5))
    assert found.keys() == expected.keys()
    assert all(close(found[name].detach().numpy(), expected[name]) for name in expected)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_file_that_differs_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    module = {"onnx": onnx_format, "pt2": pt2_format}[kind]
    right = module.run
    monkeypatch.setattr(module, "run", lambda path, inputs: [v * 1.00003 for v in right(path, inputs)])
    net, weights = written(
        tmp_path, f'{INPUT} layer {{ name: "p" type: "Power" bottom: "data" top: "p" }}' + SMALL_TAIL
    )
    path = tmp_path / f"model.{kind}"
    path.write_bytes(b"before")
    done = export(net, "--weights", weights, "-o", str(path))
    assert done.exit_code == 1
    assert f"the {kind} file does not compute what the net computes: 'fc' differs by 3.0e-05" in done.stderr
    assert path.read_bytes() == b"before"
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, "net.caffemodel", "net.prototxt"])


SMALL_TAIL = 'layer { name: "fc" type: "InnerProduct" bottom: "p" top: "fc" inner_product_param { num_output: 2 } }'


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("LSTM", "layer 'layer' (LSTM), {file}: remembers something from one forward to the next"),
        ("RNN", "layer 'layer' (RNN), {file}: remembers something from one forward to the next"),
        ("BatchNorm", "layer 'layer' (BatchNorm), {file}: remembers something from one forward to the next"),
    ],
)
def test_what_remembers_is_refused_by_name(tmp_path: Path, kind: str, folder: str, says: str) -> None:
    file = str(GOLDEN / "layers" / folder / "00.prototxt")
    done = export(file, "--format", kind, "-o", str(tmp_path / "m"))
    assert done.exit_code == 2
    assert says.split("{file}")[0] in done.stderr and says.split("{file}")[1][2:] in done.stderr
    assert os.listdir(tmp_path) == []


def test_the_layer_that_onnx_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what stands in for it, ArgMax's stable sort has no operator."""
    monkeypatch.delitem(onnx_format._OPERATORS, "top_indices")
    best = 'layer { name: "best" type: "ArgMax" bottom: "data" top: "best" argmax_param { top_k: 2 axis: 1 } }'
    net, weights = written(tmp_path, INPUT + SMALL_TAIL.replace('"p"', '"data"') + best)
    done = export(net, "--weights", weights, "-o", str(tmp_path / "m.onnx"))
    assert done.exit_code == 2
    assert "layer 'best' (ArgMax)" in done.stderr and "ONNX cannot say it" in done.stderr
    assert not (tmp_path / "m.onnx").exists()


def test_what_stands_in_for_a_piece_of_the_runtime_is_one() -> None:
    assert set(onnx_format._OPERATORS) <= set(pieces())


def test_a_missing_package_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_format, "_PACKAGES", ("onnx", "no_such_package"))
    net, _ = written(tmp_path, SMALL)
    done = export(net, "-o", str(tmp_path / "m.onnx"))
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == (
        "error: --format onnx needs no_such_package: pip install 'proto2torch[onnx]'"
    )


def test_a_training_net_is_no_onnx_file(tmp_path: Path) -> None:
    net, _ = written(tmp_path, SMALL)
    done = export(net, "--phase", "TRAIN", "-o", str(tmp_path / "m.onnx"))
    assert done.exit_code == 2
    assert "--format onnx is for a net in use. Received: --phase TRAIN" in done.stderr


@pytest.mark.parametrize("ending", ["caffemodel", "caffemodel.h5", "safetensors"])
@pytest.mark.parametrize("case", ["00-SGD-fixed", "05-Adam-multistep"])
def test_caffes_own_weights_come_through_bit_for_bit(tmp_path: Path, case: str, ending: str) -> None:
    folder = GOLDEN / "solvers" / case
    text = (folder / "train.prototxt").read_text().replace("train_h5.txt", str(tmp_path / "list.txt"))
    (tmp_path / "list.txt").write_text(f"{folder / 'train.h5'}\n")
    (tmp_path / "net.prototxt").write_text(text)
    given = str(folder / "snap_iter_10.caffemodel")
    path = str(tmp_path / f"w.{ending}")
    done = export(str(tmp_path / "net.prototxt"), "--phase", "TRAIN", "--weights", given, "-o", path)
    assert done.exit_code == 0, done.stderr
    net = p2t.load(str(tmp_path / "net.prototxt"), path, phase="TRAIN")
    for layer, blobs in p2t.read_weights(given).items():
        for blob, stored in zip(net.params[layer], blobs, strict=True):
            assert blob.data.numpy().tobytes() == stored.tobytes(), layer


def test_binary_formats_go_to_a_pipe_too(tmp_path: Path) -> None:
    net, weights = written(tmp_path, SMALL)
    done = export(net, "--weights", weights, "--format", "safetensors")
    assert done.exit_code == 0, done.stderr
    assert torch.equal(load_tensors(done.stdout_bytes)["fc.bias"], p2t.load(net, weights).params["fc"][1].data)


@pytest.mark.parametrize("end", [".onnx", ".pt2", ".caffemodel", ".h5", ".safetensors", ".prototxt", ".py"])
def test_places_that_cannot_be_written(tmp_path: Path, end: str) -> None:
    net, weights = written(tmp_path, SMALL)
    folder = tmp_path / f"folder{end}"
    folder.mkdir()
    for path, says in [(folder, "is a directory"), (tmp_path / "none" / f"m{end}", "create it first")]:
        done = export(net, "--weights", weights, "--no-check", "-o", str(path))
        assert done.exit_code == 2 and says in done.stderr
    assert sorted(os.listdir(tmp_path)) == [
        folder.name,
        "net.caffemodel",
        "net.prototxt",
    ]


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    net, weights = written(tmp_path, SMALL)
    (tmp_path / "w.safetensors").write_bytes(b"")
    for arguments in (
        [net, "-o", net],
        [net, "--weights", weights, "-o", weights],
        [net, "--weights", str(tmp_path / "w.safetensors"), "-o", str(tmp_path / "w.py")],
        [net, "--weights", weights, "-o", str(tmp_path / "m.py"), "--state-dict", str(tmp_path / "m.py")],
    ):
        done = export(*arguments)
        assert done.exit_code == 2, arguments
        assert "give another name" in done.stderr or "name one file" in done.stderr
