"""Deploy nets: what stays of a training net, what goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proto2torch.errors import NetError
from proto2torch.predict import deploy
from proto2torch.prototxt.read import read_net

ZOO = Path(__file__).parents[3] / "shared/zoo"


def made(text: str, **state: Any) -> list[tuple[str, str, list[str], list[str]]]:
    net = deploy.deploy(read_net(text=text), lambda layer: [(8, 3, 4, 4)] * len(layer.message.top), **state)
    return [(m.name, m.type, list(m.bottom), list(m.top)) for m in (layer.message for layer in net.layers)]


DATA = 'layer { name: "d" type: "DummyData" top: "data" top: "label" } '


def test_labels_and_what_reads_them_go_and_the_loss_becomes_its_probabilities() -> None:
    found = made(
        DATA
        + """layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
        layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
        layer { name: "quiet" type: "Silence" bottom: "acc" }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }"""
    )
    assert found == [
        ("data", "Input", [], ["data"]),
        ("ip", "InnerProduct", ["data"], ["ip"]),
        ("prob", "Softmax", ["ip"], ["prob"]),
    ]


def test_regression_keeps_what_it_predicts() -> None:
    found = made(
        DATA
        + """layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" }"""
    )
    assert [name for name, *_ in found] == ["data", "ip"]


def test_sigmoid_and_axis() -> None:
    net = deploy.deploy(
        read_net(
            text=DATA
            + 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "data" bottom: "label" top: "l" softmax_param { axis: 2 } }'
        ),
        lambda _: [(1, 3, 4, 4)] * 2,
    )
    assert net.layers[-1].message.softmax_param.axis == 2
    found = made(DATA + 'layer { name: "l" type: "SigmoidCrossEntropyLoss" bottom: "data" bottom: "label" top: "l" }')
    assert found[-1] == ("prob", "Sigmoid", ["data"], ["prob"])


def test_training_fields_go_and_shared_names_stay() -> None:
    net = deploy.deploy(
        read_net(
            text=DATA
            + """layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { name: "w" lr_mult: 3 } param { lr_mult: 2 }
        loss_weight: 0 include { phase: TEST } convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } bias_term: true } }"""
        ),
        lambda _: [(1, 3, 4, 4)] * 2,
    )
    message = net.layers[-1].message
    assert message.param[0].name == "w" and not message.param[0].HasField("lr_mult")
    assert not message.include and not message.loss_weight
    assert not message.convolution_param.HasField("weight_filler") and message.convolution_param.bias_term


def test_a_deploy_net_stays_as_it_is() -> None:
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } } layer { name: "r" type: "ReLU" bottom: "x" top: "x" }'
    assert made(text) == [("x", "Input", [], ["x"]), ("r", "ReLU", ["x"], ["x"])]


def test_nothing_left_is_refused() -> None:
    with pytest.raises(NetError, match="nothing would be left"):
        made(DATA + 'layer { name: "loss" type: "EuclideanLoss" bottom: "data" bottom: "label" }')


@pytest.mark.skipif(
    not ZOO.exists(), reason="the collection of published nets lies beside the repository, and is not there"
)
@pytest.mark.parametrize(
    "folder",
    [
        "BVLC+caffe/models/bvlc_googlenet",
        "BVLC+caffe/models/bvlc_alexnet",
        "BVLC+caffe/models/bvlc_reference_caffenet",
        "jimgoo+caffe-oxford102/AlexNet",
    ],
)
def test_published_training_nets_become_what_their_authors_published(folder: str) -> None:
    extent = read_net(str(ZOO / folder / "deploy.prototxt"))
    wanted = {layer.name: layer for layer in extent.layers if layer.type not in ("Input", "Split")}
    net = deploy.deploy(read_net(str(ZOO / folder / "train_val.prototxt")), lambda _: [(1, 3, 224, 224), (1,)])
    found = {layer.name: layer for layer in net.layers if layer.type != "Input"}
    assert list(found) == list(wanted)
    for name, layer in found.items():
        ours, theirs = layer.message, wanted[name].message
        assert (ours.type, list(ours.bottom), list(ours.top)) == (theirs.type, list(theirs.bottom), list(theirs.top))
