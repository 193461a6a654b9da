"""The Python interface: load, call, features, params, weights, sizes other than the declared."""

from __future__ import annotations

import copy
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import proto2torch as p2t
from proto2torch.codegen.export import export
from proto2torch.prototxt.read import read_net
from proto2torch.weights import fillers

NET = """
name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { type: "constant" value: 1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "scale" }
layer { name: "pool" type: "Pooling" bottom: "scale" top: "pool" pooling_param { pool: AVE global_pooling: true } }
"""
CLASSIFIER = (
    NET + 'layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 4 } }'
)
X = torch.linspace(-1, 1, 2 * 2 * 8 * 8).reshape(2, 2, 8, 8)


def weights() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    shapes = {"conv": [(3, 2, 3, 3), (3,)], "bn": [(3,), (3,), (1,)], "scale": [(3,), (3,)]}
    drawn = {name: [rng.random(shape, np.float32) + 0.5 for shape in each] for name, each in shapes.items()}
    drawn["bn"][2][:] = 4
    return drawn


def by_hand(w: dict[str, list[np.ndarray]], x: torch.Tensor) -> dict[str, torch.Tensor]:
    conv = F.conv2d(x, *map(torch.from_numpy, w["conv"]))
    mean, var = torch.from_numpy(w["bn"][0]) / 4, torch.from_numpy(w["bn"][1]) / 4
    bn = (conv - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    scale = bn * torch.from_numpy(w["scale"][0])[:, None, None] + torch.from_numpy(w["scale"][1])[:, None, None]
    return {"conv": conv, "bn": bn, "scale": scale.relu(), "pool": scale.relu().mean((2, 3), keepdim=True)}


@pytest.fixture
def net() -> Any:
    net = p2t.load(text=NET)
    net.load_weights(weights())
    return net


def test_names_and_shapes(net: Any) -> None:
    assert net.inputs == {"data": (1, 2, 8, 8)} and net.outputs == ("pool",) and net.name == "small"
    assert [(layer.name, layer.type) for layer in net.layers][:3] == [
        ("in", "Input"),
        ("conv", "Convolution"),
        ("bn", "BatchNorm"),
    ]
    assert net.layers[1].bottoms == ("data",) and net.layers[1].tops == ("conv",)
    assert "nn.BatchNorm2d(3)" in net.source


@pytest.mark.parametrize("give", [lambda n: n(X), lambda n: n(data=X), lambda n: n(data=X.numpy())])
def test_calling_it(net: Any, give: Any) -> None:
    torch.testing.assert_close(give(net)["pool"], by_hand(weights(), X)["pool"])


def test_features_are_every_blob_with_its_last_value(net: Any) -> None:
    expected = by_hand(weights(), X)
    for name, value in net.features(*expected, data=X).items():
        torch.testing.assert_close(value, expected[name])


def test_other_sizes_are_laid_out_anew(net: Any) -> None:
    x = torch.rand(3, 2, 11, 6)
    torch.testing.assert_close(net(x)["pool"], by_hand(weights(), x)["pool"])
    torch.testing.assert_close(net(X)["pool"], by_hand(weights(), X)["pool"])


def test_a_size_that_the_weights_cannot_take_is_an_error() -> None:
    with pytest.raises(p2t.Proto2TorchError, match=r"'fc' \(InnerProduct\).*\(4, 108\).*\(4, 147\)"):
        p2t.load(text=CLASSIFIER)(torch.rand(1, 2, 9, 9))


def test_params_are_views_in_caffes_shape(net: Any) -> None:
    net.params["conv"][1].data[:] = 7
    assert net.module.conv.bias.tolist() == [7, 7, 7]
    assert net.params["conv"][0].shape == (3, 2, 3, 3) and net.params["conv"][0].grad is None
    net(X)["pool"].sum().backward()
    assert net.params["conv"][0].grad.shape == (3, 2, 3, 3)


def test_writing_into_the_statistics_counts(net: Any) -> None:
    changed = weights()
    net.params["bn"][0].data[:] = 9
    changed["bn"][0][:] = 9
    torch.testing.assert_close(net(X)["pool"], by_hand(changed, X)["pool"])


def test_statistics_that_were_never_trained_count_as_zero() -> None:
    net = p2t.load(text=NET)
    conv = net.features("conv", data=X)["conv"]
    torch.testing.assert_close(net.features("bn", data=X)["bn"], conv / np.sqrt(np.float32(1e-5)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ending", [".caffemodel", ".caffemodel.h5", ".safetensors"])
def test_saved_weights_come_back(net: Any, tmp_path: Path, ending: str) -> None:
    path = str(tmp_path / f"w{ending}")
    net.save(path)
    other = p2t.load(text=NET)
    other.load_weights(path)
    assert torch.equal(other(X)["pool"], net(X)["pool"])
    if ending != ".safetensors":
        for name, blobs in weights().items():
            for ours, theirs in zip(other.params[name], blobs, strict=True):
                assert np.array_equal(ours.data.numpy(), theirs)


def test_train_uses_and_moves_the_batch_statistics() -> None:
    net = p2t.load(text=NET, phase="TRAIN")
    conv = net.features("conv", data=X)["conv"].detach()
    net(X)
    torch.testing.assert_close(net.params["bn"][0].data, conv.mean((0, 2, 3)))
    assert net.params["bn"][2].data.item() == 1
    net(X)
    assert net.params["bn"][2].data.item() == pytest.approx(1.999)


def test_share_follows_the_other_net() -> None:
    train, test = p2t.load(text=NET, phase="TRAIN"), p2t.load(text=NET)
    test.share(train)
    train.load_weights(weights())
    torch.testing.assert_close(test(X)["pool"], by_hand(weights(), X)["pool"])


def test_a_copy_stands_alone(net: Any) -> None:
    other = copy.deepcopy(net)
    other.params["conv"][0].data.zero_()
    torch.testing.assert_close(net(X)["pool"], by_hand(weights(), X)["pool"])
    zeroed = weights()
    zeroed["conv"][0][:] = 0
    torch.testing.assert_close(other(X)["pool"], by_hand(zeroed, X)["pool"])


def test_a_net_that_is_dropped_frees_its_tensors_at_once() -> None:
    net = p2t.load(text=NET)
    tensor = weakref.ref(net.params["conv"][0].tensor)
    gc.disable()
    try:
        del net
        assert tensor() is None
    finally:
        gc.enable()


def test_double_precision(net: Any) -> None:
    double = net.double()
    assert double(X.double())["pool"].dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: n(), "Missing: data"),
        (lambda n: n(dat=X), "did you mean 'data'"),
        (lambda n: n(X, X), "takes 1 inputs, data. Received: 2"),
        (lambda n: n.features("pol", data=X), "did you mean 'pool'"),
        (lambda n: n(torch.rand(2, 3, 8, 8)), "blob 0 has shape"),
    ],
)
def test_wrong_calls(net: Any, call: Any, message: str) -> None:
    with pytest.raises(p2t.Proto2TorchError) as caught:
        call(net)
    assert message in str(caught.value)


def test_an_unknown_bottom_says_which_layer_the_rules_left_out() -> None:
    text = NET + 'layer { name: "a" type: "ReLU" bottom: "pool" top: "a" include { phase: TRAIN } }\n'
    text += 'layer { name: "b" type: "ReLU" bottom: "a" top: "b" }'
    for load in (p2t.load, lambda text: export(read_net(text=text), lambda layer, phase: [])):
        with pytest.raises(p2t.Proto2TorchError, match=r"layer 'a' \(line 10\) makes it, and its include and exclude"):
            load(text=text)


LOSS = (
    CLASSIFIER
    + 'layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 1 } } }'
    + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }'
)


def test_a_label_out_of_range_names_the_line_and_the_label() -> None:
    net = p2t.load(text=LOSS, phase="TRAIN")
    with pytest.raises(
        p2t.Proto2TorchError, match=r"at `loss = softmax_loss\(self.fc.*, label\)`: Target 7 is out of bounds"
    ):
        net(data=X, label=[0, 7])


def test_batches_that_differ_are_an_error() -> None:
    with pytest.raises(p2t.Proto2TorchError, match=r"the same first extent\. Received: \(2, 4\) and \(3,\)"):
        p2t.load(text=LOSS, phase="TRAIN")(data=X, label=[0, 1, 2])


PAIR = """
layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "%s" type: "%s" bottom: "a" bottom: "b" top: "y" }
"""


@pytest.mark.parametrize("kind", ["Eltwise", "EuclideanLoss", "Concat"])
def test_batches_that_disagree_are_refused_and_not_broadcast(kind: str) -> None:
    net = p2t.load(text=PAIR % (kind, kind))
    assert "y" in net(a=torch.rand(5, 3), b=torch.rand(5, 3))
    with pytest.raises(p2t.Proto2TorchError, match=r"\(1, 3\)"):
        net(a=torch.rand(3, 3), b=torch.rand(1, 3))


def test_labels_of_another_batch_are_refused() -> None:
    text = PAIR.replace("shape { dim: 2 dim: 3 }", "shape { dim: 2 dim: 3 } shape { dim: 2 }") % ("acc", "Accuracy")
    with pytest.raises(p2t.Proto2TorchError, match="one label for each of 3 positions"):
        p2t.load(text=text)(a=torch.rand(3, 3), b=torch.zeros(1))


def test_a_net_may_be_called_what_its_source_calls_torch() -> None:
    text = NET.replace('name: "small"', 'name: "F"')
    assert p2t.load(text=text)(X)["pool"].shape == (2, 3, 1, 1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "takes a path or a text. Received: neither"),
        ({"path": "net.prototxt", "text": NET}, "Received: both"),
        ({"text": NET, "phase": "train"}, "'TRAIN' or 'TEST'. Received: 'train'"),
        ({"text": NET, "stages": "a,b"}, "a sequence of names. Received: 'a,b'"),
        ({"text": NET, "device": "gpu"}, "the device 'gpu' cannot be used"),
        ({"text": NET, "device": "cuda:7"}, "the device 'cuda:7' cannot be used"),
    ],
)
def test_wrong_loads(how: dict[str, Any], message: str) -> None:
    if "cuda" in how.get("device", "") and torch.cuda.device_count() > 7:
        how = {**how, "device": "cuda:99"}
    with pytest.raises(p2t.Proto2TorchError) as caught:
        p2t.load(**how)
    assert message in str(caught.value)


@pytest.mark.parametrize("give", [lambda x: x[::-1].copy()[::-1], lambda x: x.astype(">f4"), lambda x: x.tolist()])
def test_arrays_of_any_layout(net: Any, give: Any) -> None:
    torch.testing.assert_close(net(give(X.numpy()))["pool"], by_hand(weights(), X)["pool"])


@pytest.mark.parametrize("value", ["x", None, [["a"]]])
def test_inputs_that_are_no_numbers(net: Any, value: Any) -> None:
    with pytest.raises(p2t.Proto2TorchError, match="input 'data' must be numbers"):
        net(data=value)


def test_an_input_given_twice(net: Any) -> None:
    with pytest.raises(p2t.Proto2TorchError, match="Received twice: data"):
        net(X, data=X)


def test_paths_are_paths(net: Any, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    net.save(tmp_path / "w.caffemodel")
    again = p2t.load(tmp_path / "net.prototxt", tmp_path / "w.caffemodel")
    assert torch.equal(again(X)["pool"], net(X)["pool"])


def test_layers_that_count_run_for_every_size_of_the_input() -> None:
    net = p2t.load(
        text="""layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 1 dim: 3 dim: 3 } } }
        layer { name: "bn" type: "BatchNorm" bottom: "x" top: "bn" }
        layer { name: "quiet" type: "Silence" bottom: "bn" }
        layer { name: "out" type: "AbsVal" bottom: "x" top: "out" }""",
        phase="TRAIN",
    )
    for size, sums in ((3, (2.0, 1.0)), (5, (2 * 0.999 + 2, 1.999))):
        net(x=torch.full((2, 1, size, size), 2.0))
        mean, _, count = (blob.data for blob in net.params["bn"])
        assert (float(mean), float(count)) == pytest.approx(sums)


def test_weights_that_a_file_brings_are_not_drawn_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }
    layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
      inner_product_param { num_output: 2 weight_filler { type: "gaussian" } bias_filler { type: "uniform" } } }
    layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
      inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 1 } } }
    """
    (tmp_path / "net.prototxt").write_text(text)
    net = p2t.load(text=text)
    net.load_weights({"a": [np.full((2, 3), 2.0), np.full(2, 3.0)]})
    net.save(tmp_path / "w.caffemodel")
    saved = {"a": p2t.read_weights(str(tmp_path / "w.caffemodel"))["a"]}
    drawn: list[str] = []
    real = fillers.fill
    monkeypatch.setattr(fillers, "fill", lambda filler, *rest: drawn.append(filler.type) or real(filler, *rest))
    half = p2t.load(text=text)
    half.load_weights(saved)
    assert drawn == ["gaussian", "uniform", "gaussian"]
    drawn.clear()
    whole = p2t.load(tmp_path / "net.prototxt", tmp_path / "w.caffemodel")
    assert drawn == []
    assert whole.params["a"][0].data.tolist() == [[2.0] * 3] * 2
    assert torch.equal(whole.params["b"][0].data, net.params["b"][0].data)


def test_an_input_that_is_asked_for_beside_what_reads_it() -> None:
    conv = 'convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "constant" value: 1 } }'
    text = (
        'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }'
        + "".join(
            f'layer {{ name: "{name}" type: "Convolution" bottom: "data" top: "{name}" {conv} }}' for name in "ab"
        )
    )
    x = torch.arange(48.0).reshape(1, 3, 4, 4)
    found = p2t.load(text=text).features("a", "data", "b", data=x)
    assert torch.equal(found["data"], x)
    assert torch.equal(found["a"], x.sum(1, keepdim=True).expand(1, 2, 4, 4))
    assert torch.equal(found["b"], found["a"])
