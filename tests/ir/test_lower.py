"""Lowering: shapes, versions of in-place blobs, outputs, sharing, and every problem of a net in one run."""

from __future__ import annotations

import time
from typing import Any

import pytest

import proto2torch as p2t
from proto2torch.errors import NetError, Problems, Proto2TorchError, UnsupportedError
from proto2torch.ir.graph import Net
from proto2torch.ir.lower import lower
from proto2torch.layers import REGISTRY
from proto2torch.prototxt import filters, splits
from proto2torch.prototxt.read import read_net

INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'


def no_data(definition: Any, phase: str) -> Any:
    raise AssertionError(f"{definition.name} is no data layer")


def graph(text: str, phase: str = "TRAIN") -> Net:
    selected = filters.select(read_net(text=text), phase, 0, ())
    return lower(splits.insert(selected), phase, REGISTRY, no_data)


def ip(name: str, bottom: str, extra: str = "", outputs: int = 4) -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {extra} '
        f"inner_product_param {{ num_output: {outputs} }} }}\n"
    )


LABEL = 'layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
SCALED = 'layer { name: "l2" type: "Scale" bottom: "label" top: "l2" scale_param { axis: 0 } }\n'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "%s" bottom: "label" top: "loss" }\n'


def test_an_inplace_layer_makes_the_next_version() -> None:
    net = graph(INPUT + ip("a", "data") + 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }')
    assert [(v.blob, v.version) for n in net.nodes for v in n.outputs] == [("data", 0), ("a", 0), ("a", 1)]
    assert [(v.blob, v.version) for v in net.outputs] == [("a", 1)]


def test_outputs_are_what_nobody_reads_in_byte_order() -> None:
    relus = "".join(f'layer {{ name: "{n}" type: "ReLU" bottom: "data" top: "{n}" }}\n' for n in ("b", "B", "a", "_"))
    assert [v.blob for v in graph(INPUT + relus).outputs] == ["B", "_", "a", "b"]


def test_multipliers_default_to_one_and_the_explicit_one_counts_for_all_users() -> None:
    text = INPUT + ip("a", "data", 'param { name: "w" }', 192)
    text += 'layer { name: "rs" type: "Reshape" bottom: "a" top: "rs" reshape_param { shape { dim: 0 dim: 3 dim: 8 dim: 8 } } }'
    text += ip("b", "rs", 'param { name: "w" lr_mult: 0.5 } param { decay_mult: 0 }', 192)
    owners = list(graph(text).owners)
    assert [(p.lr_mult, p.decay_mult) for p in owners] == [(0.5, 1.0), (1.0, 1.0), (1.0, 0.0)]
    assert [n.params[0].owner for n in graph(text).nodes if n.params] == [None, (1, 0)]


def test_lr_mult_zero_takes_no_gradient_and_force_backward_takes_all() -> None:
    text = INPUT + LABEL + ip("a", "data", "param { lr_mult: 0 }") + LOSS % "a"
    assert [p.requires_grad for p in graph(text).owners] == [False, True]


def test_what_back_propagates() -> None:
    text = (
        INPUT
        + LABEL
        + ip("frozen", "data", "param { lr_mult: 0 } param { lr_mult: 0 }")
        + ip("b", "frozen")
        + LOSS % "b"
    )
    nodes = {n.name: n for n in graph(text).nodes}
    assert [nodes[n].needs_backward for n in ("frozen", "b", "loss")] == [False, True, True]
    assert nodes["b"].propagate == (False,)
    assert nodes["loss"].propagate == (True, False)


def test_a_loss_that_another_layer_reads_without_explicit_weight_stops_the_gradient() -> None:
    text = INPUT + LABEL + ip("a", "data") + LOSS % "a" + 'layer { name: "s" type: "Silence" bottom: "loss" }'
    assert not any(n.needs_backward for n in graph(text).nodes)


def test_loss_weights() -> None:
    net = graph(INPUT + LABEL + ip("a", "data", "loss_weight: 0.5") + LOSS.replace("top:", "loss_weight: 2 top:") % "a")
    assert [(t.value.blob, t.weight) for t in net.objective] == [("a_a_0_split_0", 0.5), ("loss", 2.0)]


def test_pinned_is_what_lies_before_an_inner_product() -> None:
    pool = 'layer {{ name: "{0}" type: "Pooling" bottom: "{1}" top: "{0}" pooling_param {{ kernel_size: 2 stride: 2 }} }}\n'
    nodes = {n.name: n for n in graph(INPUT + pool.format("p", "data") + ip("a", "p") + pool.format("q", "data")).nodes}
    assert (nodes["p"].pinned, nodes["q"].pinned) == (True, False)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (INPUT + 'layer { name: "x" type: "Convolutoin" bottom: "data" top: "x" }', UnsupportedError, "'Convolutoin'"),
        (
            INPUT + ip("a", "data", 'param { name: "w" }') + ip("b", "data", 'param { name: "w" }', 5),
            NetError,
            "(4, 192)",
        ),
        (INPUT + 'layer { name: "r" type: "ReLU" bottom: "data" bottom: "data" top: "x" }', NetError, "1 bottom"),
        (INPUT + ip("a", "data", "param {} param {} param {}"), NetError, "2 learnable blobs"),
        (INPUT + ip("a", "data", "loss_weight: 1 loss_weight: 1"), NetError, "loss_weight"),
        (INPUT + ip("a", "data", "propagate_down: true propagate_down: true"), NetError, "propagate_down"),
        (INPUT + 'layer { name: "f" type: "Flatten" bottom: "data" top: "data" }', NetError, "in place"),
        (INPUT + LABEL + ip("a", "data") + SCALED + LOSS.replace('"label"', '"l2"') % "a", NetError, "learnable"),
        (
            INPUT
            + ip("a", "data", 'param { name: "w" lr_mult: 1 }')
            + ip("b", "data", 'param { name: "w" lr_mult: 2 }'),
            NetError,
            "mismatched lr_mult. Expected: 1, as first given. Received: 2",
        ),
        ('layer { name: "in" type: "Input" top: "x" input_param { shape { dim: -1 } } }', NetError, "(-1,)"),
        (
            'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 65536 dim: 65536 } } }',
            NetError,
            "2^31 - 1",
        ),
    ],
)
def test_refused(text: str, kind: type[Proto2TorchError], message: str) -> None:
    with pytest.raises(kind) as caught:
        graph(text)
    assert message in str(caught.value)
    assert caught.value.line is not None


def test_a_net_of_500_layers_shows_all_its_errors_within_a_second() -> None:
    text = INPUT + "".join(
        f'layer {{ name: "c{i}" type: "Convolution" bottom: "data" top: "c{i}"\n'
        f"  convolution_param {{ num_output: {i % 2} kernel_size: 3 }} }}\n"
        for i in range(500)
    )
    start = time.process_time()
    with pytest.raises(Problems) as caught:
        graph(text)
    assert time.process_time() - start < 1
    assert len(caught.value.problems) == 250
    assert [p.line for p in caught.value.problems[:3]] == [3, 7, 11]


def test_wiring_and_layers_are_found_wrong_in_one_run() -> None:
    conv = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { kernel_size: 3 } }\n'
    with pytest.raises(Problems) as caught:
        p2t.load(text=INPUT.replace("dim: 8 }", "dim: -1 }") + conv + ip("a", "nowhere"))
    assert [p.line for p in caught.value.problems] == [1, 2, 3]


def test_what_reads_a_failed_layer_says_nothing_more() -> None:
    conv = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 1 kernel_size: 99 } }\n'
    with pytest.raises(NetError, match="kernel"):
        graph(INPUT + conv + ip("a", "c") + ip("b", "a"))
