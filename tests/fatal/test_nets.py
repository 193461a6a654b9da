"""Caffe's checks of a whole net: its text, rules, names, gradients, shared parameters, and upgrades."""

from __future__ import annotations

from .rows import Row, X, check, data, ip, layer, table

INPUT = data("x", X)
LABEL = data("label", "2")
RELU = layer("ReLU")
LOSS = layer("SoftmaxWithLoss", "", "y label", "loss", "loss")
SHARED = 'param { name: "w" }'
V1 = 'layers { name: "l" type: RELU bottom: "x" top: "y" }\n'


@table(
    Row("unknown type", "layer type 'Relu' is not supported", INPUT + layer("Relu")),
    Row("unknown field", "LayerParameter has no field 'bottoms'", INPUT + layer("ReLU", 'bottoms: "x"')),
    Row("a singular field twice", "'name'", 'name: "a" name: "b"\n' + INPUT, None),
    Row("a value of another type", "num_output", INPUT + layer("Convolution", 'convolution_param { num_output: "a" }')),
    Row("an unknown enum value", "'AVG'", INPUT + layer("Pooling", "pooling_param { pool: AVG }")),
    Row("a syntax error", "the file ends inside layer { opened at line 2", INPUT + "layer { name: ", None),
    Row("V1 and V2 layers", "'layers'", INPUT + V1, None),
    Row("an axis that is not there", "axis must lie in [-4, 4)", INPUT + layer("Softmax", "softmax_param { axis: 4 }")),
    Row(
        "a negative axis that is not there",
        "axis must lie in [-4, 4)",
        INPUT + layer("Softmax", "softmax_param { axis: -5 }"),
    ),
    Row("33 axes", "32 axes", data("x", "1 " * 33), "x"),
    Row("2^31 elements", "2^31 - 1", data("x", "65536 65536"), "x"),
    Row("a negative extent", "an extent cannot be negative", data("x", "-1"), "x"),
    Row(
        "include and exclude",
        "include rules or exclude rules. Received: both",
        INPUT + layer("ReLU", "include { } exclude { }"),
    ),
    Row("an unknown bottom", "'z'", INPUT + layer("ReLU", "", "z")),
    Row("a bottom made later", "'y'", layer("ReLU", "", "y", "z") + layer("ReLU", "", "x", "y", "m")),
    Row("a top made twice", "'y'", INPUT + layer("Silence", "", "x", "", "s") + RELU + layer("ReLU", name="m"), "m"),
    Row("a reader before an in-place layer", "in place", INPUT + RELU + layer("ReLU", "", "x", "x", "m"), "m"),
    Row("AbsVal in place", "cannot work in place", INPUT + layer("AbsVal", "", "x", "x")),
    Row("Flatten in place", "cannot work in place", INPUT + layer("Flatten", "", "x", "x")),
    Row(
        "Reshape in place",
        "cannot work in place",
        INPUT + layer("Reshape", "reshape_param { shape { dim: -1 } }", "x", "x"),
    ),
    Row("Split in place", "in place", INPUT + layer("Split", "", "x", "x z")),
    Row(
        "a loss_weight too many",
        "loss_weight must be given once for each top",
        INPUT + layer("ReLU", "loss_weight: 1 loss_weight: 1"),
    ),
    Row(
        "propagate_down",
        "propagate_down must be given for every bottom",
        INPUT + layer("ReLU", "propagate_down: true propagate_down: true"),
    ),
    Row("too few bottoms", "SoftmaxWithLoss takes 2 bottoms. Received: 1", INPUT + layer("SoftmaxWithLoss")),
    Row("too many bottoms", "ReLU takes 1 bottom. Received: 2", INPUT + LABEL + layer("ReLU", "", "x label")),
    Row("too many tops", "ReLU takes 1 top. Received: 2", INPUT + layer("ReLU", "", "x", "y z")),
    Row("too few tops", "ReLU takes 1 top. Received: 0", INPUT + layer("ReLU", "", "x", "")),
    Row("more params than blobs", "param", INPUT + ip("l", fields="param { } param { } param { }")),
)
def test_nets(row: Row) -> None:
    check(row)


@table(
    Row(
        "a label that learns",
        "cannot back-propagate to bottom 1",
        INPUT
        + data("x2", "2 4")
        + ip("y")
        + LABEL
        + layer("Bias", "bias_param { axis: 0 }", "label", "m", "m")
        + layer("SoftmaxWithLoss", "", "y m", "loss", "loss"),
        "loss",
        "TRAIN",
    ),
    Row(
        "a BatchNorm above the label",
        "cannot back-propagate to bottom 1",
        INPUT
        + ip("y")
        + data("label", "2 1")
        + layer("BatchNorm", "", "label", "m", "m")
        + layer("SoftmaxWithLoss", "", "y m", "loss", "loss"),
        "loss",
        "TRAIN",
    ),
    *(
        Row(
            f"{kind} behind which the objective lies",
            f"{kind} has no backward",
            INPUT + LABEL + ip("y") + layer(kind, "loss_weight: 1", bottoms, "z"),
            phase="TRAIN",
        )
        for kind, bottoms in (("Accuracy", "y label"), ("ArgMax", "y"), ("Threshold", "y"))
    ),
    *(
        Row(
            f"{kind} under force_backward",
            "force_backward",
            "force_backward: true\n" + INPUT + LABEL + ip("y") + layer(kind, "", bottoms, "z") + LOSS,
            phase="TRAIN",
        )
        for kind, bottoms in (("Accuracy", "y label"), ("ArgMax", "y"), ("Threshold", "y"))
    ),
    Row(
        "a matrix of InfogainLoss under force_backward",
        "force_backward",
        "force_backward: true\n"
        + INPUT
        + LABEL
        + data("h", "4 4")
        + ip("y")
        + layer("InfogainLoss", "", "y label h", "loss"),
        phase="TRAIN",
    ),
)
def test_gradients(row: Row) -> None:
    check(row)


@table(
    Row("shapes", "(3, 60)", INPUT + ip("a", fields=SHARED) + ip("l", fields=SHARED, outputs=3)),
    Row(
        "counts",
        "count mismatch",
        INPUT + ip("a", fields=SHARED) + ip("l", fields='param { name: "w" share_mode: PERMISSIVE }', outputs=3),
    ),
    Row(
        "lr_mult",
        "mismatched lr_mult",
        INPUT + ip("a", fields='param { name: "w" lr_mult: 1 }') + ip("l", fields='param { name: "w" lr_mult: 2 }'),
    ),
    Row(
        "decay_mult",
        "mismatched decay_mult",
        INPUT
        + ip("a", fields='param { name: "w" decay_mult: 1 }')
        + ip("l", fields='param { name: "w" decay_mult: 2 }'),
    ),
)
def test_shared_parameters(row: Row) -> None:
    check(row)


V0_HEAD = 'name: "n"\ninput: "x"\ninput_dim: 2\ninput_dim: 3\ninput_dim: 4\ninput_dim: 5\n'


@table(
    Row(
        "an unknown V0 type", "'absval'", V0_HEAD + 'layers { layer { name: "l" type: "absval" } bottom: "x" top: "y" }'
    ),
    Row(
        "a V0 padding that no convolution reads",
        "pad",
        V0_HEAD
        + 'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }\n'
        + 'layers { layer { name: "l" type: "relu" } bottom: "p" top: "y" }',
    ),
    Row("a BatchNorm that learns", "lr_mult", INPUT + layer("BatchNorm", "param { lr_mult: 1 }")),
    Row("a mismatched number of input_dim", "input_dim", 'input: "x"\ninput_dim: 2\n' + RELU, None),
    Row(
        "a mismatched number of input_shape",
        "input_shape",
        'input: "x"\ninput: "z"\ninput_shape { dim: 2 }\n' + RELU,
        None,
    ),
    Row("blobs that are too few", "blobs", INPUT + ip("l", fields="blobs { shape { dim: 4 dim: 60 } data: 0 }")),
    Row(
        "blobs of another shape",
        "(4, 60)",
        INPUT + ip("l", fields="blobs { shape { dim: 1 } data: 0 } blobs { shape { dim: 4 } data: [1, 2, 3, 4] }"),
    ),
)
def test_upgrades_and_given_blobs(row: Row) -> None:
    check(row)
