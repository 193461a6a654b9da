from __future__ import annotations

import numpy as np
import pytest

from proto2torch.prototxt import schema
from proto2torch.prototxt.upgrades import v1
from proto2torch.prototxt.upgrades.report import Report, enum_names
from tests.prototxt.nets import GOLDEN, layers, messages, problems, upgraded

TYPES = """
    ABSVAL AbsVal, ACCURACY Accuracy, ARGMAX ArgMax, BNLL BNLL, CONCAT Concat, CONTRASTIVE_LOSS ContrastiveLoss,
    CONVOLUTION Convolution, DATA Data, DECONVOLUTION Deconvolution, DROPOUT Dropout, DUMMY_DATA DummyData,
    ELTWISE Eltwise, EUCLIDEAN_LOSS EuclideanLoss, EXP Exp, FLATTEN Flatten, HDF5_DATA HDF5Data,
    HDF5_OUTPUT HDF5Output, HINGE_LOSS HingeLoss, IM2COL Im2col, IMAGE_DATA ImageData, INFOGAIN_LOSS InfogainLoss,
    INNER_PRODUCT InnerProduct, LRN LRN, MEMORY_DATA MemoryData, MULTINOMIAL_LOGISTIC_LOSS MultinomialLogisticLoss,
    MVN MVN, POOLING Pooling, POWER Power, RELU ReLU, SIGMOID Sigmoid,
    SIGMOID_CROSS_ENTROPY_LOSS SigmoidCrossEntropyLoss, SILENCE Silence, SLICE Slice, SOFTMAX Softmax,
    SOFTMAX_LOSS SoftmaxWithLoss, SPLIT Split, TANH TanH, THRESHOLD Threshold, WINDOW_DATA WindowData
"""
PAIRS = [tuple(pair.split()) for pair in TYPES.split(",")]


@pytest.mark.parametrize(("kind", "type"), PAIRS)
def test_each_type_gets_its_name_of_today(kind: str, type: str) -> None:
    net = upgraded(f'layers {{ name: "a" type: {kind} bottom: "x" top: "y" }}')
    assert messages(net) == layers(f'layer {{ name: "a" type: "{type}" bottom: "x" top: "y" }}')
    assert net.notes == ()


def test_no_type_is_missing() -> None:
    assert len(PAIRS) == 39
    assert {kind for kind, _ in PAIRS} == set(v1.TYPES) - {"NONE"}


@pytest.mark.parametrize("type", ["", "type: NONE"])
def test_a_layer_without_a_type_is_refused(type: str) -> None:
    (problem,) = problems(upgraded, f'\nlayers {{ name: "a" {type} bottom: "x" top: "y" }}')
    assert "the layer has no type" in str(problem)
    assert (problem.line, problem.layer) == (2, "a")


def test_a_type_of_a_fork_is_refused() -> None:
    layer = v1.Draft(schema.new("V1LayerParameter"))
    report = Report(None)
    assert v1.upgrade([layer], report)[0].type == ""
    names = enum_names(layer.message, "type") | {0: "CROP"}
    assert not v1._known(layer, names, report)
    assert "the type CROP is not one of Caffe's own" in str(report.problems[0])


def test_lists_of_names_modes_and_rates_become_params() -> None:
    net = upgraded(
        'layers { name: "a" type: CONVOLUTION param: "w" blob_share_mode: PERMISSIVE blob_share_mode: STRICT '
        "blobs_lr: 1 blobs_lr: 2 blobs_lr: 3 weight_decay: 0.5 weight_decay: 0 }"
    )
    assert messages(net) == layers(
        'layer { name: "a" type: "Convolution" '
        'param { name: "w" share_mode: PERMISSIVE lr_mult: 1 decay_mult: 0.5 } '
        "param { share_mode: STRICT lr_mult: 2 decay_mult: 0 } param { lr_mult: 3 } }"
    )
    assert not messages(net)[0].param[2].HasField("decay_mult")


NAMES = """
    accuracy argmax concat contrastive_loss convolution data dropout dummy_data eltwise exp hdf5_data hdf5_output
    hinge_loss image_data infogain_loss inner_product lrn memory_data mvn pooling power relu sigmoid softmax slice tanh
    threshold window_data transform loss
"""
PARAMS = NAMES.split()


def test_every_message_of_a_layer_is_kept() -> None:
    given = " ".join(f"{name}_param {{ }}" for name in PARAMS)
    around = 'include { phase: TEST stage: "s" } exclude { not_stage: "t" } loss_weight: 0.5 blobs { data: 1 }'
    net = upgraded(f'layers {{ name: "a" type: RELU bottom: "x" bottom: "y" top: "z" {around} {given} }}')
    expected = f'layer {{ name: "a" type: "ReLU" bottom: "x" bottom: "y" top: "z" {around} {given} }}'
    assert messages(net) == layers(expected)
    assert all(messages(net)[0].HasField(f"{name}_param") for name in PARAMS)


HOLDERS = [("DATA", "Data", "data_param"), ("IMAGE_DATA", "ImageData", "image_data_param")]


@pytest.mark.parametrize(("kind", "type", "holder"), HOLDERS)
def test_transforms_move_to_transform_param(kind: str, type: str, holder: str) -> None:
    fields = 'scale: 0.5 mean_file: "m" crop_size: 9 mirror: true'
    net = upgraded(
        f'layers {{ name: "a" type: {kind} top: "x" transform_param {{ mean_value: 3 }} '
        f'\n {holder} {{ source: "s" {fields} }} }}'
    )
    assert messages(net) == layers(
        f'layer {{ name: "a" type: "{type}" top: "x" transform_param {{ {fields} mean_value: 3 }} '
        f'{holder} {{ source: "s" }} }}'
    )
    assert net.notes == ()
    assert net.layers[0].where("transform_param.scale").line == 2
    assert net.layers[0].where("transform_param.mean_value").line == 1


def test_a_moved_transform_beats_the_one_that_is_there() -> None:
    net = upgraded(
        'layers { name: "a" type: DATA top: "x" transform_param { crop_size: 8 }\n data_param { crop_size: 9 } }'
    )
    assert messages(net)[0].transform_param.crop_size == 9
    (note,) = net.notes
    assert note.endswith("crop_size 8 gives way to 9 of data_param")
    assert "net.prototxt:1:" in note


def test_window_data_loses_its_scale_and_the_user_reads_so() -> None:
    net = upgraded('layers { name: "a" type: WINDOW_DATA top: "x" top: "y"\n window_data_param { scale: 0.5 } }')
    message = messages(net)[0]
    assert message.transform_param.scale == 0.5 and not message.window_data_param.HasField("scale")
    assert net.notes == (
        "layer 'a' (WindowData), net.prototxt:2:22: Caffe ignores 'scale' of transform_param: "
        "it reads window_data_param.scale",
    )


def test_other_layers_keep_their_data_param_as_it_is() -> None:
    net = upgraded('layers { name: "a" type: RELU bottom: "x" top: "x" data_param { scale: 0.5 } }')
    assert messages(net)[0].data_param.scale == 0.5 and not messages(net)[0].HasField("transform_param")


def test_marks_lead_to_the_old_fields() -> None:
    net = upgraded(
        'layers {\n name: "a"\n type: CONVOLUTION\n bottom: "x"\n top: "y"\n blobs_lr: 1\n blobs_lr: 2\n'
        " weight_decay: 0\n convolution_param {\n kernel_size: 3 } }"
    )
    lines = {
        "name": 2, "type": 3, "bottom[0]": 4, "top[0]": 5, "param[0].lr_mult": 6, "param[1].lr_mult": 7,
        "param[1]": 7, "param[0].decay_mult": 8, "convolution_param": 9, "convolution_param.kernel_size": 10,
    }  # fmt: skip
    assert {path: net.layers[0].where(path).line for path in lines} == lines


@pytest.mark.parametrize("case", range(3))
def test_the_golden_nets_have_caffes_shapes(case: int) -> None:
    path = GOLDEN / f"v1-{case}.prototxt"
    expected = np.load(path.with_suffix(".npz"))
    net = upgraded(path.read_text(), str(path))
    types = ["Input", "Convolution", "ReLU", "Pooling", "LRN", "InnerProduct", "SoftmaxWithLoss"]
    assert [layer.type for layer in net.layers] == types
    assert net.force_backward
    data, convolution, full = messages(net)[0], messages(net)[1], messages(net)[5]
    assert tuple(data.input_param.shape[0].dim) == expected["in_data"].shape
    p = convolution.convolution_param
    assert expected["w_c1|0"].shape == (p.num_output, expected["in_data"].shape[1], p.kernel_size[0], p.kernel_size[0])
    assert expected["blob_c1"].shape[2] == expected["in_data"].shape[2] + 2 * p.pad[0] - p.kernel_size[0] + 1
    assert expected["w_ip|0"].shape[0] == full.inner_product_param.num_output
    assert [(param.lr_mult, param.decay_mult) for param in convolution.param] == [(1, 1), (2, 0)]
