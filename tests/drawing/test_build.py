"""The diagram of a net, beside its graph."""

from __future__ import annotations

from collections import Counter

import pytest

from proto2torch.cost import rows
from proto2torch.cost.reading import graph
from proto2torch.drawing import Diagram, build
from proto2torch.drawing.diagram import folded, kind_of
from proto2torch.errors import NetError
from proto2torch.layers import REGISTRY
from proto2torch.prototxt.read import read_net

from .nets import INPUT, MNIST, NO_ZOO, ZOO

LENET = str(MNIST / "lenet_train_test.prototxt")
SHAPES = {"data": (64, 1, 28, 28)}


def names(diagram: Diagram) -> list[list[str]]:
    return [[layer.name for layer in box.layers] for box in diagram.boxes]


def arrows(diagram: Diagram) -> list[tuple[str, str, str, tuple[int, ...] | None]]:
    first = [box.layers[0].name for box in diagram.boxes]
    return [(first[a.source], first[a.target], a.blob, a.shape) for a in diagram.arrows]


def test_lenet_in_its_training() -> None:
    diagram = build(read_net(LENET), "TRAIN", shapes=SHAPES)
    assert names(diagram) == [
        ["mnist"],
        ["conv1"],
        ["pool1"],
        ["conv2"],
        ["pool2"],
        ["ip1", "relu1"],
        ["ip2"],
        ["loss"],
    ]
    assert arrows(diagram) == [
        ("mnist", "conv1", "data", (64, 1, 28, 28)),
        ("conv1", "pool1", "conv1", (64, 20, 24, 24)),
        ("pool1", "conv2", "pool1", (64, 20, 12, 12)),
        ("conv2", "pool2", "conv2", (64, 50, 8, 8)),
        ("pool2", "ip1", "pool2", (64, 50, 4, 4)),
        ("ip1", "ip2", "ip1", (64, 500)),
        ("ip2", "loss", "ip2", (64, 10)),
        ("mnist", "loss", "label", (64,)),
    ]
    assert diagram.notes == ()
    assert diagram.phases == ("TRAIN",)


def test_both_phases_in_one_picture() -> None:
    """As draw_net draws them: both data layers feed conv1, and only the TEST net has an accuracy."""
    diagram = build(read_net(LENET), shapes=SHAPES)
    assert names(diagram)[:3] == [["mnist"], ["mnist"], ["conv1"]]
    assert [box.layers[0].phases for box in diagram.boxes[:3]] == [("TRAIN",), ("TEST",), ("TRAIN", "TEST")]
    into = [(a.source, a.phases) for a in diagram.arrows if a.target == 2]
    assert into == [(0, ("TRAIN",)), (1, ("TEST",))]
    accuracy = names(diagram).index(["accuracy"])
    assert diagram.boxes[accuracy].layers[0].phases == ("TEST",)
    assert {a.phases for a in diagram.arrows if a.target == accuracy} == {("TEST",)}


def test_a_net_without_rules_has_one_phase() -> None:
    diagram = build(read_net(str(MNIST / "lenet.prototxt")))
    assert diagram.phases == ("TEST",)
    assert {layer.phases for box in diagram.boxes for layer in box.layers} == {("TEST",)}


def test_what_is_said_of_a_layer() -> None:
    diagram = build(read_net(str(MNIST / "lenet.prototxt")))
    conv2 = diagram.boxes[3].layers[0]
    text = (MNIST / "lenet.prototxt").read_text().splitlines()
    assert 'name: "conv2"' in "\n".join(text[(conv2.line or 0) - 1 : (conv2.line or 0) + 2])
    assert (conv2.parameters, conv2.multiply_adds) == (50 * 20 * 25 + 50, 50 * 20 * 25 * 64)
    assert conv2.summary == "50 x 5\N{MULTIPLICATION SIGN}5"
    assert conv2.torch == "self.conv2 = nn.Conv2d(20, 50, 5)\nconv2 = self.conv2(pool1)"
    assert read_net(text=conv2.prototxt).layers[0].message == read_net(str(MNIST / "lenet.prototxt")).layers[3].message


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ('type: "Convolution" convolution_param { num_output: 4 kernel_h: 3 kernel_w: 1 stride: 2 pad: 1 group: 2 }', "4 x 3*1, stride 2, pad 1, group 2"),
        ('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 kernel_size: 5 dilation: 2 }', "4 x 3*5, dilation 2"),
        ('type: "Pooling" pooling_param { pool: AVE global_pooling: true }', "AVE global"),
        ('type: "Pooling" pooling_param { kernel_size: 3 stride_h: 2 stride_w: 1 }', "MAX 3*3, stride 2*1"),
        ('type: "InnerProduct" inner_product_param { num_output: 9 }', "9"),
        ('type: "LRN" lrn_param { local_size: 3 }', "n 3"),
        ('type: "Eltwise"', "SUM"),
        ('type: "Dropout"', "0.5"),
        ('type: "ReLU"', ""),
    ],
)  # fmt: skip
def test_fields_in_a_few_words(layer: str, expected: str) -> None:
    from proto2torch.drawing.details import summary

    message = read_net(text=f'layer {{ name: "x" {layer} }}').layers[0].message
    assert summary(message) == expected.replace("*", "\N{MULTIPLICATION SIGN}")


@pytest.mark.skipif(not ZOO.is_dir(), reason=NO_ZOO)
@pytest.mark.parametrize(
    "path",
    [
        "BVLC+caffe/models/bvlc_googlenet/train_val.prototxt",
        "KaimingHe+deep-residual-networks/prototxt/ResNet-50-deploy.prototxt",
        "BVLC+caffe/examples/siamese/mnist_siamese.prototxt",
        "soeaver+caffe-model/cls/inception/deploy_inception-v2.prototxt",
    ],
)
def test_the_diagram_is_the_graph(path: str) -> None:
    """Every layer once with its cost, and an arrow for every bottom, of the shape that the graph says."""
    definition = read_net(str(ZOO / path))
    net, diagram = graph(definition, "TEST"), build(definition, "TEST")
    layers = [layer for box in diagram.boxes for layer in box.layers]
    expected = rows(net)
    found = sorted((x.line, x.name, x.type, x.parameters, x.multiply_adds, x.tops) for x in layers)
    assert found == sorted((r.line, r.name, r.type, r.parameters, r.multiply_adds, r.tops) for r in expected)
    inside = {layer.name: i for i, box in enumerate(diagram.boxes) for layer in box.layers}
    tops = {blob: shape for row in expected for blob, shape in row.tops}
    read = Counter((blob, inside[row.name]) for row in expected for blob in row.bottoms)
    drawn = Counter((a.blob, a.target) for a in diagram.arrows)
    hosted = {
        (blob, inside[row.name]) for row in expected for blob in row.bottoms if (blob,) == tuple(b for b, _ in row.tops)
    }
    assert set(read) - hosted == set(drawn) - hosted
    assert all(a.shape == tops[a.blob] for a in diagram.arrows)
    assert all(layer.torch for layer in layers if layer.type not in ("Silence",))


@pytest.mark.skipif(not ZOO.is_dir(), reason=NO_ZOO)
def test_blocks_are_what_the_paper_has() -> None:
    google = build(read_net(str(ZOO / "BVLC+caffe/models/bvlc_googlenet/deploy.prototxt")))
    assert [block.title for block in google.blocks] == [
        f"inception_{n}" for n in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    ]
    assert {block.about for block in google.blocks} == {"Inception"}
    assert Counter(box.block for box in google.boxes if box.block is not None) == dict.fromkeys(range(9), 8)
    resnet = build(read_net(str(ZOO / "KaimingHe+deep-residual-networks/prototxt/ResNet-152-deploy.prototxt")))
    stages = [block for block in resnet.blocks if block.parent is None]
    assert [(s.title, s.about) for s in stages] == [
        ("res2", "3 blocks"),
        ("res3", "8 blocks"),
        ("res4", "36 blocks"),
        ("res5", "3 blocks"),
    ]
    outer = folded(resnet)
    assert len(outer.boxes) == 10
    assert arrows(outer)[3:6] == [
        ("res2", "res3", "res2c", (1, 256, 56, 56)),
        ("res3", "res4", "res3b7", (1, 512, 28, 28)),
        ("res4", "res5", "res4b35", (1, 1024, 14, 14)),
    ]


def test_labels_do_not_keep_blocks_together() -> None:
    """A label is alive through the whole of a train_val net, which would else have no place where one value is."""
    if not ZOO.is_dir():
        pytest.skip(NO_ZOO)
    google = build(read_net(str(ZOO / "BVLC+caffe/models/bvlc_googlenet/train_val.prototxt")))
    assert [block.about for block in google.blocks].count("Inception") == 9


def test_without_its_database_the_net_is_drawn_without_shapes() -> None:
    diagram = build(read_net(LENET), "TRAIN")
    assert names(diagram) == names(build(read_net(LENET), "TRAIN", shapes=SHAPES))
    assert {a.shape for a in diagram.arrows} == {None}
    assert "drawn without shapes: layer 'mnist' (Data)" in diagram.notes[0]
    assert "--shape" in diagram.notes[0]


def test_a_layer_that_is_not_supported_is_drawn() -> None:
    text = INPUT + 'layer { name: "odd" type: "NoSuchLayer" bottom: "data" top: "y" }'
    diagram = build(read_net(text=text))
    assert names(diagram) == [["in"], ["odd"]]
    assert diagram.boxes[1].layers[0].kind == "other"
    assert "layer type 'NoSuchLayer' is not supported" in diagram.notes[0]


def test_what_is_wrong_with_a_net_is_an_error() -> None:
    text = (
        INPUT
        + 'layer { name: "conv" type: "Convolution" bottom: "dta" top: "y" convolution_param { num_output: 1 kernel_size: 1 } }'
    )
    with pytest.raises(NetError, match="unknown bottom blob 'dta'"):
        build(read_net(text=text))


def test_a_phase_that_is_no_net_is_left_out_of_both() -> None:
    """Many nets have data for one phase alone."""
    text = INPUT.replace('top: "data"', 'top: "data" include { phase: TRAIN }') + (
        'layer { name: "p" type: "Power" bottom: "data" top: "p" }'
    )
    diagram = build(read_net(text=text))
    assert (diagram.phases, names(diagram)) == (("TRAIN",), [["in"], ["p"]])
    assert "phase TEST is left out: layer 'p' (Power)" in diagram.notes[0]
    with pytest.raises(NetError, match="unknown bottom blob 'data'"):
        build(read_net(text=text), "TEST")


def test_layers_in_place_in_one_phase_stay_in_their_box() -> None:
    text = (
        INPUT
        + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }'
        + 'layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" include { phase: TRAIN } }'
        + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }'
    )
    diagram = build(read_net(text=text))
    assert names(diagram) == [["in"], ["ip", "drop"], ["prob"]]
    assert [layer.phases for layer in diagram.boxes[1].layers] == [("TRAIN", "TEST"), ("TRAIN",)]
    assert [(a.source, a.target, a.phases) for a in diagram.arrows][1:] == [(1, 2, ("TRAIN", "TEST"))]


def test_every_type_has_a_kind() -> None:
    caffes = {name for name, layer in REGISTRY.items() if ".forks" not in layer.__module__}
    assert {name for name in caffes if kind_of(name) == "other"} == {"HDF5Output", "Parameter", "Python", "Silence"}
