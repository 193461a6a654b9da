"""What lowering says of a layer's fields that are a fork's, and of messages that Caffe never reads."""

from __future__ import annotations

from typing import Any

import pytest

from proto2torch.errors import Problems, UnsupportedError
from proto2torch.ir.graph import Net
from proto2torch.ir.lower import lower
from proto2torch.layers import REGISTRY
from proto2torch.layers.pooling import Pooling
from proto2torch.prototxt import filters, splits, text, upgrade

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
LABEL = 'layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
DATA = (
    'layer { name: "d" type: "Data" top: "x" transform_param { scale: 2 } data_param { source: "db" batch_size: 2 } }\n'
)


def graph(source: str, registry: Any = REGISTRY, phase: str = "TRAIN") -> Net:
    net = upgrade.net(text.parse(source, "NetParameter", "net.prototxt"))
    selected = splits.insert(filters.select(net, phase), net)
    return lower(selected, phase, registry, lambda definition, phase: [(2, 3, 8, 8)])


def layer(type: str, fields: str = "", name: str = "t", bottoms: str = 'bottom: "x"') -> str:
    return f'layer {{ name: "{name}" type: "{type}" {bottoms} top: "{name}"\n{fields} }}\n'


def test_a_field_of_a_fork_is_refused_with_the_layer_and_its_line() -> None:
    with pytest.raises(UnsupportedError) as raised:
        graph(INPUT + layer("Pooling", "pooling_param { kernel_size: 2 pad_t: 1 }", "p"))
    assert str(raised.value) == (
        "layer 'p' (Pooling), net.prototxt:3:32: field 'pad_t' of PoolingParameter is not Caffe's but of its fork "
        "synopsys: not supported\n"
        "  3 | pooling_param { kernel_size: 2 pad_t: 1 } }\n"
        "    |                                ^"
    )


def test_it_is_collected_with_the_other_problems() -> None:
    source = INPUT + layer("Dropout", "dropout_param { sqrt_scale: true }", "a")
    source += layer("ReLU", "relu_param { engine: MKLDNN } debug: true", "b") + layer("Convolutoin", "", "c")
    with pytest.raises(Problems) as raised:
        graph(source)
    assert [(p.layer, p.line, p.message.split(" is ")[0]) for p in raised.value.problems] == [
        ("a", 3, "field 'sqrt_scale' of DropoutParameter"),
        ("b", 5, "value MKLDNN of ReLUParameter.engine"),
        ("b", 5, "field 'debug' of LayerParameter"),
        ("c", 6, "layer type 'Convolutoin'"),
    ]


@pytest.mark.parametrize("fields", ["transform_param { crop_h: 3 }", "convolution_param { dilation_h: 1 }"])
def test_it_is_refused_in_a_message_that_caffe_ignores_too(fields: str) -> None:
    with pytest.raises(UnsupportedError, match="is not Caffe's but of its fork"):
        graph(INPUT + layer("ReLU", fields))


def test_a_layer_that_the_phase_leaves_out_may_have_it() -> None:
    left_out = layer("ReLU", "include { phase: TEST } relu_param { fuse: true }")
    assert [node.name for node in graph(INPUT + left_out).nodes] == ["in"]
    with pytest.raises(UnsupportedError, match="field 'fuse' of ReLUParameter"):
        graph(INPUT + left_out, phase="TEST")


class Understanding(Pooling):
    """A pooling that knows what a fork means."""

    fork_fields = frozenset(("pooling_param.ceil_mode", "pooling_param.pool=DEF_ALL"))

    def check(self) -> None:
        assert self.p.pool == self.p.DEF_ALL and not self.p.ceil_mode
        self.p.ClearField("pool")


def test_a_layer_may_understand_what_a_fork_added() -> None:
    registry = {**REGISTRY, "Pooling": Understanding}
    fields = "pooling_param { kernel_size: 2 stride: 2 ceil_mode: false pool: DEF_ALL %s }"
    assert graph(INPUT + layer("Pooling", fields % ""), registry).outputs[0].shape == (2, 3, 4, 4)
    with pytest.raises(UnsupportedError, match="field 'pad_t' of PoolingParameter"):
        graph(INPUT + layer("Pooling", fields % "pad_t: 1"), registry)


class Norm(REGISTRY["ReLU"]):  # type: ignore[misc]
    """A layer whose own message only forks have."""

    param = "norm_param"
    fork_fields = frozenset(("norm_param.across_spatial",))


def test_a_layer_understands_its_own_message_but_not_all_that_is_in_it() -> None:
    registry = {**REGISTRY, "Normalize": Norm}
    with pytest.raises(UnsupportedError, match="field 'channel_shared' of NormalizeParameter"):
        graph(INPUT + layer("Normalize", "norm_param { across_spatial: false channel_shared: true }"), registry)
    with pytest.raises(UnsupportedError, match="field 'norm_param' of LayerParameter"):
        graph(INPUT + layer("ReLU", "norm_param { across_spatial: false }"), registry)


@pytest.mark.parametrize(
    ("source", "note"),
    [
        (
            INPUT + layer("ReLU", "convolution_param { num_output: 3 }"),
            "layer 't' (ReLU), net.prototxt:3:1: Caffe ignores 'convolution_param' of a layer of this type",
        ),
        (
            INPUT + layer("ReLU", "transform_param { scale: 3 }"),
            "layer 't' (ReLU), net.prototxt:3:1: Caffe ignores 'transform_param' of a layer of this type",
        ),
        (
            INPUT.replace("input_param", "transform_param { scale: 3 } input_param"),
            "layer 'in' (Input), net.prototxt:1:43: Caffe ignores 'transform_param' of a layer of this type",
        ),
        (
            INPUT
            + LABEL
            + layer("HingeLoss", "loss_param { normalize: false }", bottoms='bottom: "x" bottom: "label"'),
            "layer 't' (HingeLoss), net.prototxt:4:1: Caffe ignores 'loss_param' of a layer of this type",
        ),
    ],
)
def test_a_message_that_caffe_ignores_is_noted(source: str, note: str) -> None:
    assert graph(source).notes == (note,)


@pytest.mark.parametrize(
    "source",
    [
        DATA + layer("Pooling", "pooling_param { kernel_size: 2 }"),
        INPUT + layer("Im2col", "convolution_param { kernel_size: 2 }"),
        INPUT + layer("Deconvolution", "convolution_param { num_output: 1 kernel_size: 2 }"),
        *(
            INPUT.replace("dim: 8 dim: 8", "") + LABEL + layer(type, fields, bottoms=f'bottom: "x" bottom: "{label}"')
            for type, fields, label in (
                ("SoftmaxWithLoss", "loss_param { normalization: FULL } softmax_param { axis: 1 }", "label"),
                ("InfogainLoss", 'loss_param { normalization: FULL } infogain_loss_param { source: "h" }', "label"),
                ("SigmoidCrossEntropyLoss", "loss_param { ignore_label: 1 }", "x"),
            )
        ),
    ],
)
def test_messages_that_a_layer_reads_are_not_noted(source: str) -> None:
    assert graph(source).notes == ()


def test_the_notes_of_the_file_come_first() -> None:
    source = "input_dim: 3\n" + INPUT + layer("ReLU", "tanh_param { }")
    assert [note.split(": ", 1)[1] for note in graph(source).notes] == [
        "Caffe ignores 'input_dim' without 'input'",
        "Caffe ignores 'tanh_param' of a layer of this type",
    ]
