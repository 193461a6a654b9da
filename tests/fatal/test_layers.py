"""Caffe's checks of single layers: their fields, and the shapes of their bottoms."""

from __future__ import annotations

import pytest
import torch

import proto2torch as p2t

from .rows import Row, X, check, data, layer, learned, one, table


def conv(what: str, says: str, fields: str, *dims: str, kind: str = "Convolution", tops: str = "y") -> Row:
    return one(what, says, kind, f"convolution_param {{ {fields} }}", *(dims or (X,)), tops=tops)


def pool(what: str, says: str, fields: str, dims: str = X, tops: str = "y") -> Row:
    return one(what, says, "Pooling", f"pooling_param {{ {fields} }}", dims, tops=tops)


@table(
    conv("no num_output", "num_output", "kernel_size: 3"),
    conv("num_output 0", "num_output", "num_output: 0 kernel_size: 3"),
    conv("no kernel", "kernel", "num_output: 2"),
    conv("kernel 0", "kernel", "num_output: 2 kernel_size: 0"),
    conv("kernel_h alone", "greater than zero. Received: (3, 0)", "num_output: 2 kernel_h: 3"),
    conv("kernel_h and kernel_size", "kernel_size", "num_output: 2 kernel_h: 3 kernel_w: 3 kernel_size: 3"),
    conv("stride_h and stride", "stride", "num_output: 2 kernel_size: 3 stride: 1 stride_h: 1 stride_w: 1"),
    conv("pad_h and pad", "pad", "num_output: 2 kernel_size: 3 pad: 1 pad_h: 1 pad_w: 1"),
    conv("kernel_h of three spatial axes", "kernel_h", "num_output: 2 kernel_h: 3 kernel_w: 3", "2 3 4 5 6"),
    conv(
        "three kernel sizes for two axes", "kernel_size", "num_output: 2 kernel_size: 3 kernel_size: 3 kernel_size: 3"
    ),
    conv("three pads for two axes", "pad", "num_output: 2 kernel_size: 3 pad: 1 pad: 1 pad: 1"),
    conv("three strides for two axes", "stride", "num_output: 2 kernel_size: 3 stride: 1 stride: 1 stride: 1"),
    conv(
        "three dilations for two axes", "dilation", "num_output: 2 kernel_size: 3 dilation: 1 dilation: 1 dilation: 1"
    ),
    conv("stride 0", "stride", "num_output: 2 kernel_size: 3 stride: 0"),
    conv("channels in groups", "group", "num_output: 2 kernel_size: 3 group: 2"),
    conv("outputs in groups", "group", "num_output: 2 kernel_size: 3 group: 3"),
    conv("bottoms of two shapes", "shape", "num_output: 2 kernel_size: 3", X, "2 3 4 6", tops="y z"),
    conv("two bottoms, one top", "top", "num_output: 2 kernel_size: 3", X, X),
    conv("a kernel larger than the bottom", "kernel", "num_output: 2 kernel_size: 9"),
    conv("an axis that is not there", "axis", "num_output: 2 kernel_size: 3 axis: 4"),
    conv("no num_output", "num_output", "kernel_size: 3", kind="Deconvolution"),
    conv("channels in groups", "group", "num_output: 2 kernel_size: 3 group: 2", kind="Deconvolution"),
    conv("no kernel", "kernel", "", kind="Im2col"),
)
def test_convolutions(row: Row) -> None:
    check(row)


@table(
    pool("no kernel", "kernel", ""),
    pool("kernel_size and kernel_h", "kernel_size", "kernel_size: 3 kernel_h: 3 kernel_w: 3"),
    pool("kernel_h alone", "kernel", "kernel_h: 3"),
    pool("pad and pad_h", "pad", "kernel_size: 3 pad: 1 pad_h: 1 pad_w: 1"),
    pool("pad_h alone", "pad", "kernel_size: 3 pad_h: 1"),
    pool("stride and stride_h", "stride", "kernel_size: 3 stride: 1 stride_h: 1 stride_w: 1"),
    pool("stride_h alone", "stride", "kernel_size: 3 stride_h: 1"),
    pool("global with a kernel", "global_pooling", "global_pooling: true kernel_size: 3"),
    pool("global with a pad", "global_pooling", "global_pooling: true pad: 1"),
    pool("global with a stride", "global_pooling", "global_pooling: true stride: 2"),
    pool("a pad as large as the kernel", "pad", "kernel_size: 2 pad: 2"),
    pool("stochastic with a pad", "pad", "pool: STOCHASTIC kernel_size: 3 pad: 1"),
    pool("three axes", "(2, 3, 4)", "kernel_size: 2", "2 3 4"),
    pool("a mask of means", "MAX", "pool: AVE kernel_size: 2", tops="y z"),
    one("no pyramid", "pyramid_height", "SPP", "", X),
    one("a pyramid too high", "pyramid", "SPP", "spp_param { pyramid_height: 4 }", X),
    one("an even size", "local_size", "LRN", "lrn_param { local_size: 4 }", X),
    one("three axes", "(2, 3, 4)", "LRN", "", "2 3 4"),
    one("an offset beyond the bottom", "offset", "Crop", "crop_param { offset: 1 }", X, X),
    one("two offsets for three axes", "offset", "Crop", "crop_param { axis: 1 offset: 0 offset: 0 }", X, X),
    one("a larger reference", "9 from offset 0 on lie beyond axis 2", "Crop", "", X, "2 3 9 9"),
)
def test_windows(row: Row) -> None:
    check(row)


@table(
    one("num_output 0", "num_output", "InnerProduct", "", X),
    one("an axis that is not there", "axis", "InnerProduct", "inner_product_param { num_output: 2 axis: 4 }", X),
    one("num_output 0", "num_output", "Embed", "embed_param { input_dim: 3 }", "2"),
    one("input_dim 0", "input_dim", "Embed", "embed_param { num_output: 3 }", "2"),
    learned(
        "a bottom that learns",
        "cannot back-propagate to bottom 0",
        "Embed",
        "loss_weight: 1 embed_param { num_output: 3 input_dim: 3 }",
        0,
        "2",
    ),
    one("one axis", "(2,)", "BatchNorm", "", "2"),
    one("an axis that is not there", "axis", "Scale", "scale_param { axis: 4 }", X),
    one("too many axes", "num_axes", "Scale", "scale_param { num_axes: 4 }", X),
    one("num_axes -2", "num_axes", "Scale", "scale_param { num_axes: -2 }", X),
    one("operands of two shapes", "(4,)", "Scale", "", X, "4"),
    one("an operand with too many axes", "bottom 1", "Scale", "", X, "3 4 5 6"),
    one("operands of two shapes", "(4,)", "Bias", "", X, "4"),
    one("too many axes", "num_axes", "Bias", "bias_param { num_axes: 4 }", X),
    one("one axis", "(2,)", "PReLU", "", "2"),
    one("five axes", "(1, 2, 3, 4, 5)", "MVN", "", "1 2 3 4 5"),
    one("base 0", "base", "Exp", "exp_param { base: 0 }", X),
    one("a negative base", "base", "Exp", "exp_param { base: -2 }", X),
    one("base 0", "base", "Log", "log_param { base: 0 }", X),
    one("no max", "max", "Clip", "clip_param { min: 0 }", X),
    one("no min", "min", "Clip", "clip_param { max: 0 }", X),
    one("ratio 1", "dropout_ratio", "Dropout", "dropout_param { dropout_ratio: 1 }", X, phase="TRAIN"),
)
def test_elementwise(row: Row) -> None:
    check(row)


@table(
    one("end before start", "end_axis", "Flatten", "flatten_param { axis: 2 end_axis: 1 }", X),
    one("two dims -1", "-1", "Reshape", "reshape_param { shape { dim: -1 dim: -1 } }", X),
    one("a dim -2", "-1", "Reshape", "reshape_param { shape { dim: -2 } }", X),
    one("another count", "elements", "Reshape", "reshape_param { shape { dim: 7 } }", X),
    one("a -1 that does not divide", "-1", "Reshape", "reshape_param { shape { dim: 7 dim: -1 } }", X),
    one(
        "a copied axis that is not there",
        "copies",
        "Reshape",
        "reshape_param { shape { dim: -1 dim: 1 dim: 1 dim: 1 dim: 0 } }",
        X,
    ),
    one("num_axes beyond the bottom", "num_axes", "Reshape", "reshape_param { axis: 2 num_axes: 3 }", X),
    one("an axis that is not there", "axis", "Reshape", "reshape_param { axis: 5 }", X),
    one("axis and concat_dim", "concat_dim", "Concat", "concat_param { axis: 1 concat_dim: 1 }", X, X),
    one("other extents", "(2, 3, 4, 6)", "Concat", "", X, "2 3 4 6"),
    one("other axes", "(2, 3, 4)", "Concat", "", X, "2 3 4"),
    one("axis and slice_dim", "slice_dim", "Slice", "slice_param { axis: 1 slice_dim: 1 }", X, tops="y z"),
    one("a point too many", "slice_point", "Slice", "slice_param { slice_point: 1 slice_point: 2 }", X, tops="y z"),
    one(
        "points that do not rise",
        "slice_point",
        "Slice",
        "slice_param { slice_point: 2 slice_point: 1 }",
        X,
        tops="x y z",
    ),
    one("a point beyond the axis", "slice_point", "Slice", "slice_param { slice_point: 4 }", X, tops="y z"),
    one("parts that are not equal", "2 tops must divide axis 1", "Slice", "", X, tops="y z"),
    one("no tiles", "tiles", "Tile", "", X),
    one("coefficients of a product", "coeff", "Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 1 }", X, X),
    one("one coefficient for two", "coeff", "Eltwise", "eltwise_param { coeff: 1 }", X, X),
    one("two shapes", "(2, 3, 4, 6)", "Eltwise", "", X, "2 3 4 6"),
    one("one bottom", "bottom", "Eltwise", "", X),
    one("an axis that is not there", "axis", "Reduction", "reduction_param { axis: 4 }", X),
    one("top_k 0", "top_k", "ArgMax", "argmax_param { top_k: 0 }", X),
    one("top_k beyond the item", "top_k", "ArgMax", "argmax_param { top_k: 61 }", X),
    one("top_k beyond the axis", "top_k", "ArgMax", "argmax_param { axis: 1 top_k: 4 }", X),
    one("top_k beyond the scores", "top_k", "Accuracy", "accuracy_param { top_k: 4 }", "2 3", "2"),
    one("labels that are too many", "label", "Accuracy", "", "2 3", "3"),
    one("an index of two axes", "(2, 1)", "BatchReindex", "", X, "2 1"),
    learned("an index that learns", "cannot back-propagate to bottom 1", "BatchReindex", "loss_weight: 1", 1, X, "2"),
    one("a selector of another extent", "needs 3 items, as the selector has", "Filter", "", X, "3"),
    one("a selector of two axes", "(2, 2)", "Filter", "", X, "2 2"),
    one("a top too many", "top", "Filter", "", X, "2", tops="y z"),
    learned("a selector that learns", "cannot back-propagate to bottom 1", "Filter", "loss_weight: 1", 1, X, "2"),
    one(
        "two shapes for three tops", "shape", "Input", "input_param { shape { dim: 1 } shape { dim: 1 } }", tops="x y z"
    ),
)
def test_routing(row: Row) -> None:
    check(row)


LOSSES = ("SoftmaxWithLoss", "SigmoidCrossEntropyLoss", "EuclideanLoss", "HingeLoss", "MultinomialLogisticLoss")


@table(
    *(one("another number of items", "(3, 4)", kind, "", "2 4", "3 4") for kind in LOSSES),
    one("labels that are too many", "label", "SoftmaxWithLoss", "", "2 4", "2 2"),
    one("labels that are too many", "label", "HingeLoss", "", "2 4", "2 2"),
    one("labels that are too many", "label", "MultinomialLogisticLoss", "", "2 4", "2 2"),
    one("targets of another count", "(2, 3)", "SigmoidCrossEntropyLoss", "", "2 4", "2 3"),
    one("items of another size", "(2, 3)", "EuclideanLoss", "", "2 4", "2 3"),
    one("a second top", "cannot be built in Caffe either", "SoftmaxWithLoss", "", "2 4", "2", tops="y z"),
    one(
        "a second top with two weights",
        "top",
        "SoftmaxWithLoss",
        "loss_weight: 1 loss_weight: 0",
        "2 4",
        "2",
        tops="y z",
    ),
    one("a second top with one weight", "loss_weight", "InfogainLoss", "", "2 4", "2", "4 4", tops="y z"),
    one("normalize", "normalize", "InfogainLoss", "loss_param { normalize: true }", "2 4", "2", "4 4"),
    one("no matrix", "matrix", "InfogainLoss", "", "2 4", "2"),
    one("a matrix of other classes", "(3, 3)", "InfogainLoss", "", "2 4", "2", "3 3"),
    one("labels that are too many", "label", "InfogainLoss", "", "2 4", "2 2", "4 4"),
    one("pairs of two sizes", "(2, 3)", "ContrastiveLoss", "", "2 4", "2 3", "2"),
    one("similarities of two axes", "(2, 2)", "ContrastiveLoss", "", "2 4", "2 4", "2 2"),
    one("items with extent", "(2, 4, 2, 2)", "ContrastiveLoss", "", "2 4 2 2", "2 4 2 2", "2"),
    one("another number of similarities", "(3,)", "ContrastiveLoss", "", "2 4", "2 4", "3"),
)
def test_losses(row: Row) -> None:
    check(row)


RECURRENT = "recurrent_param { num_output: 4 }"
EXPOSED = "recurrent_param { num_output: 4 expose_hidden: true }"


@table(
    one("num_output 0", "num_output", "LSTM", "", "3 2 5", "3 2"),
    one("cont of other steps", "(2, 2)", "LSTM", RECURRENT, "3 2 5", "2 2"),
    one("cont of one axis", "(3,)", "RNN", RECURRENT, "3 2 5", "3"),
    one("two axes", "(3, 2)", "LSTM", RECURRENT, "3 2", "3 2"),
    one("a static bottom of other items", "(3, 5)", "LSTM", RECURRENT, "3 2 5", "3 2", "3 5"),
    one("no states to begin with", "bottom", "LSTM", EXPOSED, "3 2 5", "3 2", tops="y h c"),
    one("no states at the end", "top", "LSTM", EXPOSED, "3 2 5", "3 2", "1 2 4", "1 2 4"),
    one("states of another size", "(1, 2, 5)", "LSTM", EXPOSED, "3 2 5", "3 2", "1 2 5", "1 2 4", tops="y h c"),
    learned(
        "cont that learns",
        "cannot back-propagate to bottom 1",
        "LSTM",
        "loss_weight: 1 " + RECURRENT,
        1,
        "3 2 5",
        "3 2",
    ),
    one("two steps", "(2, 2, 4)", "LSTMUnit", "", "2 2 4", "2 2 16", "2 2", tops="y h"),
    one("gates of another size", "(1, 2, 12)", "LSTMUnit", "", "1 2 4", "1 2 12", "1 2", tops="y h"),
    one("a gate too many", "(1, 3)", "LSTMUnit", "", "1 2 4", "1 2 16", "1 3", tops="y h"),
)
def test_recurrent(row: Row) -> None:
    check(row)


def filled(what: str, says: str, filler: str, more: str = "") -> Row:
    return one(
        f"filler: {what}",
        says,
        "InnerProduct",
        f"inner_product_param {{ num_output: 2 {more} weight_filler {{ {filler} }} }}",
        X,
    )


@table(
    filled("an unknown type", "'gausian'", 'type: "gausian"'),
    filled("std 0", "std", 'type: "gaussian" std: 0'),
    filled("a negative std", "std", 'type: "gaussian" std: -1'),
    filled("sparse", "sparse", 'type: "xavier" sparse: 3'),
    filled("sparse of a constant", "sparse", "sparse: 3"),
    filled("min above max", "min", 'type: "uniform" min: 1 max: 0'),
    filled("bilinear of two axes", "bilinear", 'type: "bilinear"'),
    one(
        "filler: bilinear that is not square",
        "square",
        "Deconvolution",
        'convolution_param { num_output: 3 kernel_h: 3 kernel_w: 4 weight_filler { type: "bilinear" } }',
        X,
    ),
)
def test_fillers(row: Row) -> None:
    check(row)


def test_a_bottom_of_another_size_behind_fixed_weights() -> None:
    net = p2t.load(text=data("x", X) + layer("InnerProduct", "inner_product_param { num_output: 2 }"))
    with pytest.raises(p2t.Proto2TorchError, match=r"blob 0 has shape \(2, 60\), but an input of this size needs") as e:
        net(x=torch.zeros(2, 3, 5, 5))
    assert (e.value.layer, e.value.line) == ("l", 2)
