"""Leaving out what only training and testing need."""

from __future__ import annotations

from proto2torch.ir.deploy import without_labels
from proto2torch.ir.graph import Net
from proto2torch.ir.lower import lower
from proto2torch.layers import REGISTRY
from proto2torch.prototxt import filters, splits
from proto2torch.prototxt.read import read_net

DATA = (
    'layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "x" batch_size: 2 backend: LMDB } }\n'
)
IP = 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }\n'
ACCURACY = 'layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" }\n'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'


def graph(text: str) -> Net:
    selected = filters.select(read_net(text=text), "TEST", 0, ())
    return lower(splits.insert(selected), "TEST", REGISTRY, lambda d, p: [(2, 3), (2,)])


def test_scores_are_what_is_left() -> None:
    net = without_labels(graph(DATA + IP + ACCURACY + LOSS))
    assert [v.blob for v in net.inputs] == ["data"]
    assert [v.blob for v in net.outputs] == ["ip"]
    assert not {"acc", "loss"} & {n.name for n in net.nodes}


def test_a_label_that_is_also_data_stays() -> None:
    net = graph(DATA + IP + LOSS + 'layer { name: "r" type: "ReLU" bottom: "label" top: "r" }')
    assert [v.blob for v in without_labels(net).outputs] == ["loss", "r"]


def test_a_net_without_labels_is_left_alone() -> None:
    net = graph(DATA + IP)
    assert without_labels(net) is net


def test_labels_that_the_caller_gives_stay() -> None:
    given = (
        'layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
    )
    net = graph(given + IP + LOSS)
    assert without_labels(net) is net
