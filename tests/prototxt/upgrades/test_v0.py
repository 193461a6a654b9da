from __future__ import annotations

import numpy as np
import pytest

from proto2torch.errors import NetError
from proto2torch.prototxt.upgrades import v0
from tests.prototxt.nets import GOLDEN, layers, messages, problems, upgraded


def old(kind: str, fields: str = "", around: str = 'bottom: "x" top: "y"') -> str:
    return f'layers {{ layer {{ name: "a" type: "{kind}" {fields} }} {around} }}'


def new(kind: str, fields: str = "") -> str:
    return f'layer {{ name: "a" type: "{kind}" bottom: "x" top: "y" {fields} }}'


TYPES = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}


@pytest.mark.parametrize(("kind", "type"), TYPES.items())
def test_each_type_gets_its_name_of_today(kind: str, type: str) -> None:
    net = upgraded(old(kind))
    assert messages(net) == layers(new(type))
    assert net.notes == ()


def test_no_type_is_missing() -> None:
    assert set(TYPES) == set(v0.TYPES)


FIELDS = [
    ("conv", 'blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0 num_output: 7 biasterm: false group: 3',
     "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 } "
     "convolution_param { num_output: 7 bias_term: false group: 3 }"),
    ("conv", 'pad: 2 kernelsize: 5 stride: 3 weight_filler { type: "xavier" } bias_filler { value: 2 }',
     'convolution_param { pad: 2 kernel_size: 5 stride: 3 weight_filler { type: "xavier" } bias_filler { value: 2 } }'),
    ("innerproduct", 'num_output: 7 biasterm: true weight_filler { type: "xavier" } bias_filler { value: 2 }',
     'inner_product_param { num_output: 7 bias_term: true weight_filler { type: "xavier" } bias_filler { value: 2 } }'),
    ("innerproduct", "blobs { num: 1 channels: 1 height: 1 width: 2 data: 3 data: 4 }",
     "blobs { num: 1 channels: 1 height: 1 width: 2 data: 3 data: 4 }"),
    ("pool", "pool: AVE pad: 1 kernelsize: 3 stride: 2",
     "pooling_param { pool: AVE pad: 1 kernel_size: 3 stride: 2 }"),
    ("pool", "pool: STOCHASTIC", "pooling_param { pool: STOCHASTIC }"),
    ("dropout", "dropout_ratio: 0.25", "dropout_param { dropout_ratio: 0.25 }"),
    ("lrn", "local_size: 3 alpha: 0.5 beta: 0.25 k: 2", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 k: 2 }"),
    ("concat", "concat_dim: 0", "concat_param { concat_dim: 0 }"),
    ("infogain_loss", 'source: "h"', 'infogain_loss_param { source: "h" }'),
    ("hdf5_output", 'hdf5_output_param { file_name: "o" }', 'hdf5_output_param { file_name: "o" }'),
    ("hdf5_data", 'source: "s" batchsize: 4', 'hdf5_data_param { source: "s" batch_size: 4 }'),
    ("data", 'source: "s" batchsize: 4 rand_skip: 5 scale: 0.5 meanfile: "m" cropsize: 9 mirror: true',
     'transform_param { scale: 0.5 mean_file: "m" crop_size: 9 mirror: true } '
     'data_param { source: "s" batch_size: 4 rand_skip: 5 }'),
    ("images", 'source: "s" batchsize: 4 rand_skip: 5 shuffle_images: true new_height: 6 new_width: 7 cropsize: 3',
     'transform_param { crop_size: 3 } image_data_param '
     '{ source: "s" batch_size: 4 rand_skip: 5 shuffle: true new_height: 6 new_width: 7 }'),
    ("window_data", 'source: "s" batchsize: 4 det_fg_threshold: 0.6 det_bg_threshold: 0.4 det_fg_fraction: 0.3 '
     'det_context_pad: 16 det_crop_mode: "square"',
     'window_data_param { source: "s" batch_size: 4 fg_threshold: 0.6 bg_threshold: 0.4 fg_fraction: 0.3 '
     'context_pad: 16 crop_mode: "square" }'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "expected"), FIELDS)
def test_each_field_goes_to_the_message_of_its_type(kind: str, given: str, expected: str) -> None:
    net = upgraded(old(kind, given))
    assert messages(net) == layers(new(TYPES[kind], expected))
    assert net.notes == ()


DROPPED = [
    ("relu", "num_output: 3", "'num_output' of a 'relu' layer: it belongs to 'conv' and 'innerproduct'"),
    ("innerproduct", "kernelsize: 3", "'kernelsize' of a 'innerproduct' layer: it belongs to 'conv' and 'pool'"),
    ("pool", "group: 2", "'group' of a 'pool' layer: it belongs to 'conv'"),
    ("data", "shuffle_images: true", "'shuffle_images' of a 'data' layer: it belongs to 'images'"),
    ("conv", "new_num: 3", "'new_num' of a 'conv' layer"),
]


@pytest.mark.parametrize(("kind", "field", "note"), DROPPED)
def test_a_field_of_another_type_is_dropped_with_a_note(kind: str, field: str, note: str) -> None:
    net = upgraded("\n" + old(kind, f"\n {field}"))
    assert messages(net) == layers(new(TYPES[kind]))
    assert net.notes == (f"layer 'a' ({kind}), net.prototxt:3:2: Caffe drops {note}",)


def test_a_transform_goes_along_for_any_type_and_the_note_says_that_it_has_no_use() -> None:
    net = upgraded(old("relu", "mirror: true"))
    assert messages(net) == layers(new("ReLU", "transform_param { mirror: true }"))
    assert [note.split(": ", 1)[1] for note in net.notes] == ["a layer of type 'relu' has no use for 'mirror'"]


def test_what_stands_around_a_layer_is_dropped_with_a_note() -> None:
    net = upgraded(old("relu", around='bottom: "x" top: "y" include { phase: TEST } loss_weight: 2'))
    assert messages(net) == layers(new("ReLU"))
    assert sorted(note.split(": ", 1)[1] for note in net.notes) == [
        "Caffe drops 'include' beside a V0 layer",
        "Caffe drops 'loss_weight' beside a V0 layer",
    ]


def test_a_net_keeps_its_name_its_inputs_and_force_backward() -> None:
    net = upgraded('name: "n" force_backward: true debug_info: true state { stage: "s" } ' + old("relu"))
    assert (net.name, net.force_backward, net.debug_info, net.state) == ("n", True, False, None)
    assert sorted(note.split(": ", 1)[1] for note in net.notes) == [
        "Caffe drops 'debug_info' of a net of V0 layers",
        "Caffe drops 'state' of a net of V0 layers",
    ]


def test_padding_becomes_the_pad_of_its_reader() -> None:
    source = """
        layers { layer { name: "p" type: "padding" pad: 2 } bottom: "x" top: "wide" }
        layers { layer { name: "c" type: "conv" kernelsize: 3 } bottom: "wide" top: "c" }
        layers { layer { name: "m" type: "pool" kernelsize: 3 } bottom: "wide" top: "m" }
    """
    net = upgraded(source)
    assert messages(net) == layers(
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { pad: 2 kernel_size: 3 } }'
        'layer { name: "m" type: "Pooling" bottom: "x" top: "m" pooling_param { pad: 2 kernel_size: 3 } }'
    )
    assert net.notes == ()


def test_padding_beats_the_readers_own_pad() -> None:
    source = """
        layers { layer { name: "p" type: "padding" pad: 2 } bottom: "x" top: "wide" }
        layers { layer { name: "c" type: "conv" pad: 1 } bottom: "wide" top: "c" }
    """
    net = upgraded(source)
    assert list(messages(net)[0].convolution_param.pad) == [2]
    assert net.notes == ("layer 'c' (conv), net.prototxt:3:49: pad 1 gives way to pad 2 of padding layer 'p'",)
    assert net.layers[0].where("convolution_param.pad").line == 2


def test_padding_that_nothing_reads_is_noted() -> None:
    net = upgraded('layers { layer { name: "p" type: "padding" pad: 2 } bottom: "x" top: "w" }' + old("relu"))
    assert [layer.name for layer in net.layers] == ["a"]
    assert "no layer reads this padding layer" in net.notes[0]


PAD = 'layers { layer { name: "p" type: "padding" pad: 2 } bottom: "x" top: "w" }\n'
ABORTS = [
    (old("Convolution"), "the V0 format has no layer type 'Convolution'"),
    (PAD + 'layers { layer { name: "r" type: "relu" } bottom: "w" top: "r" }', "feeds conv and pool layers only"),
    (PAD + 'layers { layer { name: "q" type: "padding" } bottom: "w" top: "r" }', "feeds conv and pool layers only"),
    (PAD + 'layers { layer { name: "c" type: "conv" } bottom: "w" bottom: "x" top: "c" }', "takes one bottom"),
    (PAD.replace('top: "w"', 'top: "w" top: "v"') + 'layers { layer { name: "c" type: "conv" } bottom: "w" top: "c" }',
     "Received: 1 bottoms, 2 tops"),
    (old("relu") + 'layers { name: "b" type: RELU bottom: "y" top: "y" }', "a V1 layer among V0 layers"),
    ('layers { layer { name: "a" } bottom: "x" top: "y" }', "the layer has no type"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "message"), ABORTS)
def test_where_caffe_aborts(source: str, message: str) -> None:
    (problem,) = problems(upgraded, source)
    assert message in str(problem)
    assert problem.file == "net.prototxt" and problem.line is not None


def test_the_nearest_type_is_named_and_all_problems_come_at_once() -> None:
    first, second = problems(upgraded, old("innerproducts") + "\n" + old("rellu"))
    assert isinstance(first, NetError)
    assert (first.line, first.hint) == (1, "did you mean 'innerproduct'?")
    assert (second.line, second.hint) == (2, "did you mean 'relu'?")


def test_marks_lead_to_the_old_fields() -> None:
    net = upgraded('layers {\n layer {\n name: "a"\n type: "conv"\n kernelsize: 3\n blobs_lr: 1\n blobs_lr: 2 }\n'
                   ' bottom: "x"\n top: "y" }')  # fmt: skip
    layer = net.layers[0]
    lines = {
        "": 1, "name": 3, "type": 4, "convolution_param.kernel_size": 5, "convolution_param.pad": 5,
        "param[0].lr_mult": 6, "param[1].lr_mult": 7, "bottom[0]": 8, "top[0]": 9,
    }  # fmt: skip
    assert {path: layer.where(path).line for path in lines} == lines


@pytest.mark.parametrize("case", range(3))
def test_the_golden_padding_nets_have_caffes_shapes(case: int) -> None:
    path = GOLDEN / f"v0-padding-{case}.prototxt"
    expected = np.load(path.with_suffix(".npz"))
    net = upgraded(path.read_text(), str(path))
    types = ["Input", "Convolution", "ReLU", "Pooling", "InnerProduct", "SoftmaxWithLoss"]
    assert [layer.type for layer in net.layers] == types
    data, convolution, _, _, full, _ = messages(net)
    assert tuple(data.input_param.shape[0].dim) == expected["in_data"].shape
    assert tuple(data.input_param.shape[1].dim) == expected["in_label"].shape
    p = convolution.convolution_param
    assert expected["w_c1|0"].shape == (p.num_output, expected["in_data"].shape[1], p.kernel_size[0], p.kernel_size[0])
    height = (expected["in_data"].shape[2] + 2 * p.pad[0] - p.kernel_size[0]) // p.stride[0] + 1
    assert expected["blob_c1"].shape[2] == height
    assert expected["w_ip|0"].shape[0] == full.inner_product_param.num_output
