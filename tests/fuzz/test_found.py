"""Nets on which proto2torch and the reference once disagreed, each as small as it was when found."""

from __future__ import annotations

import pytest

import proto2torch as p2t
from proto2torch.errors import UnsupportedError

from .agreement import check
from .nets import Case
from .values import Kind


def layer(kind: str, name: str, bottoms: str = "", tops: str = "", rest: str = "") -> str:
    """A layer's line; bottoms and tops are separated by spaces, and the top is the name unless given."""
    blobs = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in (tops or name).split()]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(blobs)} {rest} }}'


def silence(bottom: str) -> str:
    return f'layer {{ name: "silence {bottom}" type: "Silence" bottom: "{bottom}" }}'


def data(*shape: int, name: str = "x") -> str:
    dims = " ".join(f"dim: {d}" for d in shape)
    return layer("Input", name, rest=f"input_param {{ shape {{ {dims} }} }}")


FOUND = {
    "two losses without a top": [
        data(3, 2),
        data(3, 2, name="y"),
        'layer { name: "a" type: "EuclideanLoss" bottom: "x" bottom: "y" }',
        'layer { name: "b" type: "EuclideanLoss" bottom: "y" bottom: "x" loss_weight: 3 }',
        layer("Power", "c", "y", "(automatic)", "power_param { scale: 2 }"),
    ],
    "BatchNorm whose top is silenced counts its batches": [
        data(3, 2),
        layer("BatchNorm", "bn", "x"),
        silence("bn"),
        layer("ReLU", "r", "x"),
    ],
    "a transposed blob that only a silenced layer reads": [
        data(3, 2),
        layer("InnerProduct", "ip", "x", rest="inner_product_param { num_output: 5 transpose: true }"),
        silence("ip"),
        layer("ReLU", "r", "x"),
    ],
    "a silenced layer lends a blob": [
        data(3, 2),
        layer("Scale", "lends", "x", rest='param { name: "w" } scale_param { bias_term: true }'),
        silence("lends"),
        layer("Scale", "takes", "x", rest='param { } param { name: "w" } scale_param { bias_term: true }'),
        data(3, 2, name="y"),
        layer("EuclideanLoss", "loss", "takes y"),
    ],
    "a square blob is shared with a layer that reads it transposed": [
        data(3, 2),
        layer("InnerProduct", "a", "x", rest='param { name: "w" } inner_product_param { num_output: 2 }'),
        layer(
            "InnerProduct", "b", "a", rest='param { name: "w" } inner_product_param { num_output: 2 transpose: true }'
        ),
    ],
    "a blob of three axes is shared with a transposed one": [
        layer("Parameter", "p", rest='param { name: "w" } parameter_param { shape { dim: 2 dim: 1 dim: 2 } }'),
        layer(
            "InnerProduct",
            "ip",
            "p",
            rest='param { name: "w" share_mode: PERMISSIVE } inner_product_param { num_output: 2 transpose: true }',
        ),
    ],
    "what an in-place layer overwrites shares its name with a blob that is asked for": [
        data(3, 4, 2, 2),
        layer("Slice", "s", "x", "a b"),
        layer("BatchNorm", "bn", "a", "a"),
        layer("Scale", "scale", "a"),
        layer("AbsVal", "abs", "scale"),
    ],
}


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("lines", FOUND.values(), ids=FOUND)
def test_they_agree(lines: list[str], phase: str) -> None:
    assert check(Case("\n".join(lines), phase, 1, {"x": Kind(), "y": Kind()}, len(lines))).loaded


OVERWRITTEN = [
    data(3, 2),
    layer("InnerProduct", "ip", "x", rest="inner_product_param { num_output: 2 }"),
    layer("Softmax", "p", "ip"),
    layer("Sigmoid", "s", "p", "p"),
    data(3, 2, name="y"),
    layer("EuclideanLoss", "loss", "p y"),
]


def test_a_test_net_runs_where_only_its_gradient_is_nobodys() -> None:
    assert check(Case("\n".join(OVERWRITTEN), "TEST", 1, {"x": Kind(), "y": Kind()}, 6)).loaded
    with pytest.raises(UnsupportedError, match="works in place on 'p', which the backward of this Softmax reads"):
        p2t.load(text="\n".join(OVERWRITTEN), phase="TRAIN")


def test_in_place_on_a_loss_that_weighs_is_refused() -> None:
    lines = [
        data(3, 2),
        data(3, 2, name="y"),
        layer("EuclideanLoss", "loss", "x y"),
        layer("ReLU", "r", "loss", "loss"),
    ]
    with pytest.raises(UnsupportedError, match="ReLU works in place on 'loss', which has a weight in the objective"):
        p2t.load(text="\n".join(lines))
