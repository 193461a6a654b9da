"""Stored activations of a right net against nets with one fault each: the layer that has it is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.errors import DataError
from proto2torch.measure.compare import read, verify
from proto2torch.prototxt.read import read_net

GOLDEN = Path(__file__).parents[1] / "golden/data"

NET = """name: "net"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 19 dim: 19 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 8 kernel_size: 3 pad: 1 stride: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 0 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param { local_size: 5 alpha: 0.5 beta: 0.75 k: 1 } }
layer { name: "conv2" type: "Convolution" bottom: "norm1" top: "conv2" convolution_param { num_output: 8 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "bn2" type: "BatchNorm" bottom: "conv2" top: "bn2" batch_norm_param { eps: 0.01 } }
layer { name: "scale2" type: "Scale" bottom: "bn2" top: "scale2" scale_param { bias_term: true } }
layer { name: "sum" type: "Eltwise" bottom: "scale2" bottom: "norm1" top: "sum" eltwise_param { operation: SUM coeff: 1 coeff: 0.5 } }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" relu_param { negative_slope: 0.1 } }
layer { name: "pool2" type: "Pooling" bottom: "sum" top: "pool2" pooling_param { pool: AVE kernel_size: 3 stride: 3 pad: 1 } }
layer { name: "power" type: "Power" bottom: "pool2" top: "power" power_param { power: 1 scale: 2 shift: 0.5 } }
layer { name: "slice" type: "Slice" bottom: "power" top: "a" top: "b" slice_param { axis: 1 slice_point: 3 } }
layer { name: "join" type: "Concat" bottom: "b" bottom: "a" top: "join" concat_param { axis: 1 } }
layer { name: "up" type: "Deconvolution" bottom: "join" top: "up" convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "up" top: "up" }
layer { name: "ip1" type: "InnerProduct" bottom: "up" top: "ip1" inner_product_param { num_output: 10 } }
layer { name: "prelu" type: "PReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param { num_output: 10 } }
layer { name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }
"""

Weights = dict[str, list[np.ndarray]]


def weights() -> Weights:
    """Drawn for every layer; statistics of BatchNorm are positive."""
    rng = np.random.default_rng(1)
    net = p2t.load(text=NET)
    drawn = {
        name: [rng.normal(0, 0.3, blob.shape).astype(np.float32) for blob in blobs]
        for name, blobs in net.params.items()
    }
    drawn["bn2"] = [drawn["bn2"][0], np.abs(drawn["bn2"][1]) + np.float32(0.05), np.ones(1, np.float32)]
    drawn["ip2"][0] *= 3
    return drawn


def run(text: str, given: Weights) -> Any:
    net = p2t.load(text=text)
    net.load_weights(given)
    return net


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    """Every blob of the right net."""
    data = np.random.default_rng(2).normal(size=(2, 3, 19, 19)).astype(np.float32)
    net = run(NET, weights())
    blobs = list(dict.fromkeys(top for layer in net.layers for top in layer.tops))
    with torch.no_grad():
        found = net.features(*blobs, data=data)
    return {name: value.numpy() for name, value in found.items()}


def blob(layer: str, index: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Weights], None]:
    def apply(given: Weights) -> None:
        given[layer][index] = np.ascontiguousarray(change(given[layer][index])).reshape(given[layer][index].shape)

    return apply


def turned(w: np.ndarray) -> np.ndarray:
    return w[..., ::-1, ::-1]


FAULTS: list[tuple[str, Any, Any]] = [
    # the layer, and what is wrong with it: its text, or a blob
    ("conv1", "pad: 1 stride: 1", "pad: 0 stride: 1"),
    ("conv1", "pad: 1 stride: 1", "pad: 1 stride: 2"),
    ("conv1", "kernel_size: 3 pad: 1 stride: 1", "kernel_size: 3 pad: 1 stride: 1 bias_term: false"),
    ("conv1", "kernel_size: 3 pad: 1 stride: 1", "kernel_size: 3 pad: 2 dilation: 2 stride: 1"),
    ("conv1", blob("conv1", 0, lambda w: w[:, ::-1]), None),  # RGB for BGR
    ("conv1", blob("conv1", 0, lambda w: w[::-1]), None),
    ("conv1", blob("conv1", 0, turned), None),
    ("conv1", blob("conv1", 0, lambda w: w.transpose(0, 1, 3, 2)), None),
    ("conv1", blob("conv1", 0, lambda w: w * np.float32(1.01)), None),
    ("conv1", blob("conv1", 1, lambda b: b + np.float32(0.01)), None),
    ("conv1", blob("conv1", 1, lambda b: b[::-1]), None),
    (
        "relu1",
        'type: "ReLU" bottom: "conv1" top: "conv1"',
        'type: "ReLU" bottom: "conv1" top: "conv1" relu_param { negative_slope: 0.01 }',
    ),
    ("relu1", 'type: "ReLU" bottom: "conv1" top: "conv1"', 'type: "ELU" bottom: "conv1" top: "conv1"'),
    ("relu1", 'type: "ReLU" bottom: "conv1" top: "conv1"', 'type: "Sigmoid" bottom: "conv1" top: "conv1"'),
    ("relu1", 'type: "ReLU" bottom: "conv1" top: "conv1"', 'type: "TanH" bottom: "conv1" top: "conv1"'),
    ("pool1", "pool: MAX kernel_size: 3 stride: 2 pad: 0", "pool: MAX kernel_size: 3 stride: 2 pad: 1"),
    ("pool1", "pool: MAX kernel_size: 3 stride: 2 pad: 0", "pool: MAX kernel_size: 2 stride: 2 pad: 0"),
    ("pool1", "pool: MAX kernel_size: 3 stride: 2 pad: 0", "pool: AVE kernel_size: 3 stride: 2 pad: 0"),
    ("norm1", "k: 1", "k: 2"),
    ("norm1", "alpha: 0.5", "alpha: 0.1"),
    ("norm1", "alpha: 0.5", "alpha: 0.49"),
    ("norm1", "beta: 0.75", "beta: 0.5"),
    ("norm1", "local_size: 5", "local_size: 3"),
    ("norm1", "local_size: 5", "local_size: 5 norm_region: WITHIN_CHANNEL"),
    ("conv2", blob("conv2", 0, lambda w: w.transpose(0, 1, 3, 2)), None),
    ("conv2", blob("conv2", 0, lambda w: np.roll(w, 1, 1)), None),
    ("conv2", blob("conv2", 0, lambda w: np.concatenate([w[4:], w[:4]])), None),  # the groups swapped
    ("conv2", blob("conv2", 1, lambda b: b * 0), None),
    ("bn2", "eps: 0.01", "eps: 0.00001"),
    ("bn2", "eps: 0.01", "eps: 0.0101"),
    ("bn2", blob("bn2", 2, lambda s: s * 2), None),
    ("bn2", blob("bn2", 0, lambda m: m * 0), None),
    ("bn2", blob("bn2", 1, np.sqrt), None),  # the deviation in place of the variance
    ("scale2", blob("scale2", 0, lambda g: g[::-1]), None),
    ("scale2", blob("scale2", 1, lambda b: -b), None),
    ("scale2", "bias_term: true", "bias_term: false"),
    ("sum", "coeff: 1 coeff: 0.5", "coeff: 1 coeff: 1"),
    ("sum", "coeff: 1 coeff: 0.5", "coeff: 0.5 coeff: 1"),
    ("sum", "operation: SUM coeff: 1 coeff: 0.5", "operation: MAX"),
    ("relu2", "negative_slope: 0.1", "negative_slope: 0.2"),
    ("relu2", "relu_param { negative_slope: 0.1 }", ""),
    ("pool2", "pool: AVE kernel_size: 3 stride: 3 pad: 1", "pool: MAX kernel_size: 3 stride: 3 pad: 1"),
    ("pool2", "pool: AVE kernel_size: 3 stride: 3 pad: 1", "pool: AVE kernel_size: 3 stride: 3 pad: 0"),
    ("power", "shift: 0.5", "shift: 0.501"),
    ("power", "scale: 2", "scale: -2"),
    ("slice", "slice_point: 3", "slice_point: 5"),
    ("join", 'bottom: "b" bottom: "a"', 'bottom: "a" bottom: "b"'),
    ("up", blob("up", 0, turned), None),
    ("up", blob("up", 0, lambda w: w.reshape(4, 8, 4, 4).transpose(1, 0, 2, 3)), None),
    ("up", blob("up", 1, lambda b: b * 2), None),
    ("sigmoid", 'type: "Sigmoid"', 'type: "TanH"'),
    (
        "sigmoid",
        'layer { name: "sigmoid" type: "Sigmoid" bottom: "up" top: "up" }',
        'layer { name: "sigmoid" type: "Dropout" bottom: "up" top: "up" }',
    ),
    ("ip1", blob("ip1", 0, lambda w: w.reshape(10, 4, -1).transpose(0, 2, 1)), None),  # channels last
    ("ip1", blob("ip1", 0, lambda w: w[::-1]), None),
    ("ip1", blob("ip1", 1, lambda b: b * 0), None),
    ("prelu", blob("prelu", 0, lambda a: a * 0 + np.float32(0.9)), None),
    ("ip2", blob("ip2", 0, lambda w: w.T), None),
    (
        "prob",
        'type: "Softmax" bottom: "ip2" top: "prob"',
        'type: "Softmax" bottom: "ip2" top: "prob" softmax_param { axis: 0 }',
    ),
]


def test_there_are_fifty_faults_at_least() -> None:
    assert len(FAULTS) >= 50


@pytest.mark.parametrize("layer, fault, instead", FAULTS, ids=lambda v: v if isinstance(v, str) else "")
def test_the_layer_with_the_fault_is_named(
    layer: str, fault: Any, instead: str | None, stored: dict[str, np.ndarray]
) -> None:
    given, text = weights(), NET
    if isinstance(fault, str):
        assert text.count(fault) == 1
        text = text.replace(fault, str(instead))
        shapes = {name: len(blobs) for name, blobs in p2t.load(text=text).params.items()}
        given = {name: blobs[: shapes.get(name, 0)] for name, blobs in given.items()}
        given = adapted(text, given)
    else:
        fault(given)
    found = verify(run(text, given), against=stored)
    assert found.difference is not None
    assert found.difference.layer == layer


def adapted(text: str, given: Weights) -> Weights:
    """The weights, for layers behind the fault cut or filled up to the shapes that they have now."""
    net = p2t.load(text=text)
    return {
        name: [np.resize(array, blob.shape) for array, blob in zip(given[name], blobs, strict=True)]
        for name, blobs in net.params.items()
    }


def test_the_right_net_agrees(stored: dict[str, np.ndarray]) -> None:
    found = verify(run(NET, weights()), against=stored)
    assert found.agrees and found.difference is None
    assert {c.blob for c in found.compared} == set(stored)
    assert max(c.relative for c in found.compared) < 1e-6


def test_how_much_and_where(stored: dict[str, np.ndarray], tmp_path: Path) -> None:
    changed = dict(stored)
    changed["pool2"] = stored["pool2"].copy()
    changed["pool2"][1, 2, 0, 1] += 3
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    net = p2t.load(str(path))
    net.load_weights(weights())
    found = verify(net, against=changed).difference
    assert found is not None
    assert (found.layer, found.blob, found.index) == ("pool2", "pool2", (1, 2, 0, 1))
    assert found.largest == pytest.approx(3, abs=1e-5)
    assert found.stored - found.ours == pytest.approx(3, abs=1e-5)
    assert found.relative == pytest.approx(3 / np.linalg.norm(changed["pool2"]), rel=1e-5)
    line = next(i for i, text in enumerate(NET.splitlines(), 1) if '"pool2" type' in text)
    assert found.where.line == line and found.where.file == str(path)
    assert f"layer 'pool2' (Pooling), {path}:{line}: blob 'pool2' differs\n" in str(found)
    assert "largest 3 at [1, 2, 0, 1]" in str(found)


def test_layers_between_stored_blobs_are_all_named(stored: dict[str, np.ndarray]) -> None:
    given = weights()
    given["conv2"][0] = given["conv2"][0][::-1].copy()
    found = verify(
        run(NET, given), against={name: stored[name] for name in ("data", "norm1", "pool2", "prob")}
    ).difference
    assert found is not None and found.blob == "pool2" and found.layer == "pool2"
    assert found.candidates == ("conv2", "bn2", "scale2", "sum", "relu2", "pool2")


@pytest.mark.parametrize(
    "change, hint",
    [
        (lambda x: x[:, ::-1], "the same values in another order"),
        (lambda x: x * 2, "stored is 2 times ours throughout"),
        (lambda x: x.reshape(2, -1), "the same number of values in another shape"),
    ],
)
def test_hints(change: Any, hint: str, stored: dict[str, np.ndarray]) -> None:
    found = verify(run(NET, weights()), against=stored | {"pool1": change(stored["pool1"])}).difference
    assert found is not None and found.layer == "pool1"
    assert found.hint is not None and found.hint.startswith(hint)


def test_values_that_are_not_finite_differ(stored: dict[str, np.ndarray]) -> None:
    given = weights()
    given["conv2"][1] = given["conv2"][1] * np.float32(np.nan)
    found = verify(run(NET, given), against=stored).difference
    assert found is not None and found.layer == "conv2" and found.relative == float("inf")
    assert found.hint == "ours has values that are not finite"


def test_files_and_the_command(stored: dict[str, np.ndarray], tmp_path: Path) -> None:
    net, model = tmp_path / "net.prototxt", tmp_path / "w.caffemodel"
    net.write_text(NET)
    run(NET, weights()).save(str(model))
    np.savez(tmp_path / "blobs.npz", **stored)
    with h5py.File(tmp_path / "blobs.h5", "w") as file:
        for name, array in stored.items():
            file[name] = array
    for name in ("blobs.npz", "blobs.h5"):
        assert {k: v.shape for k, v in read(str(tmp_path / name)).items()} == {k: v.shape for k, v in stored.items()}
        result = CliRunner().invoke(main, ["verify", str(net), str(model), "--against", str(tmp_path / name)])
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith(f"all {len(stored)} blobs agree; the largest difference: ")
    np.savez(tmp_path / "other.npz", **(stored | {"norm1": stored["norm1"] + 1, "strange": stored["a"]}))
    result = CliRunner().invoke(
        main, ["verify", str(net), str(model), "--against", str(tmp_path / "other.npz"), "--all"]
    )
    assert result.exit_code == 1
    assert "layer 'norm1' (LRN)" in result.stdout and "no blobs of the net: strange" in result.stderr
    result = CliRunner().invoke(
        main, ["verify", str(net), str(model), "--against", str(tmp_path / "other.npz"), "--json"]
    )
    assert json.loads(result.stdout)["difference"]["layer"] == "norm1"


def test_what_cannot_be(stored: dict[str, np.ndarray], tmp_path: Path) -> None:
    net = run(NET, weights())
    with pytest.raises(DataError, match="it has no value for the input 'data'"):
        verify(net, against={"conv1": stored["conv1"]})
    with pytest.raises(DataError, match="none of the net's blobs beside its inputs"):
        verify(net, against={"data": stored["data"], "x": stored["a"]})
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(DataError, match=r"expected a .npz or .h5 of arrays by blob name"):
        read(str(tmp_path / "bad.npz"))
    with pytest.raises(DataError, match="no such file"):
        read(str(tmp_path / "gone.npz"))


@pytest.mark.parametrize("case", sorted((GOLDEN / "nets").glob("*.npz"))[::9], ids=lambda p: p.stem)
def test_caffes_own_activations_agree(case: Path) -> None:
    with np.load(case) as file:
        golden = dict(file)
    path = case.with_suffix(".prototxt")
    given: dict[str, list[np.ndarray]] = {}
    for key in sorted(k for k in golden if k.startswith("w_")):
        given.setdefault(key[2:].rpartition("|")[0], []).append(golden[key])
    net = p2t.load(
        str(path), phase=str(golden["phase"]), level=int(golden["level"]), stages=json.loads(str(golden["stages"]))
    )
    net.load_weights(given)
    blobs = {k[5:]: v for k, v in golden.items() if k.startswith("blob_")}
    inputs = {k[3:]: v for k, v in golden.items() if k.startswith("in_")}
    assert read_net(str(path)).layers
    found = verify(net, against=blobs | inputs)
    assert found.agrees, str(found.difference)
