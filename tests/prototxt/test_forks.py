"""What is refused of Caffe's forks: fields and enum values, wherever in a message they stand."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import pytest

from proto2torch.errors import UnsupportedError
from proto2torch.prototxt import forks, schema, text, upgrade
from tests.prototxt.nets import document, problems, upgraded


def refused(fields: str, understood: Collection[str] = (), skip: Collection[str] = ()) -> list[UnsupportedError]:
    """What is refused of a layer whose fields stand on the second line."""
    (layer,) = upgraded(f'layer {{ type: "T"\n{fields} }}').layers
    return forks.refused(layer.message, layer.where, understood, skip)


@pytest.mark.parametrize(
    ("fields", "column", "message"),
    [
        (
            "pooling_param { ceil_mode: false }",
            17,
            "field 'ceil_mode' of PoolingParameter is not Caffe's but of its fork synopsys: not supported",
        ),
        (
            "dropout_param { scale_train: false }",
            17,
            "field 'scale_train' of DropoutParameter is not Caffe's but of its forks fast-rcnn, rfcn, synopsys: "
            "not supported",
        ),
        (
            "convolution_param { tf_pad: SAME }",
            21,
            "field 'tf_pad' of ConvolutionParameter is not Caffe's but of its fork mobilenet-ssd: not supported",
        ),
        (
            "loss_param { class_weighting: 1 class_weighting: 2 }",
            14,
            "field 'class_weighting' of LossParameter is not Caffe's but of its forks segnet, synopsys: not supported",
        ),
        (
            "transform_param { scale: 2 resize_param { prob: 1 } }",
            28,
            "field 'resize_param' of TransformationParameter is not Caffe's but of its forks ssd, refinedet, yolo, "
            "nvidia, intel, synopsys: not supported",
        ),
        (
            'convolution_param { weight_filler { type: "xavier" diag_val: 1 } }',
            52,
            "field 'diag_val' of FillerParameter is not Caffe's but of its forks flownet2, synopsys: not supported",
        ),
        (
            "dummy_data_param { data_filler { } data_filler { alpha: 1 } }",
            50,
            "field 'alpha' of FillerParameter is not Caffe's but of its fork windows: not supported",
        ),
        ("debug: true", 1, "field 'debug' of LayerParameter is not Caffe's but of its fork nvidia: not supported"),
        (
            "norm_param { }",
            1,
            "field 'norm_param' of LayerParameter is not Caffe's but of its forks ssd, refinedet, yolo, nvidia, intel, "
            "synopsys: not supported",
        ),
        (
            "pooling_param { pool: DEF }",
            17,
            "value DEF of PoolingParameter.pool is not Caffe's but of its fork windows: not supported",
        ),
        (
            "loss_param { normalization: PRE_FIXED }",
            14,
            "value PRE_FIXED of LossParameter.normalization is not Caffe's but of its forks bottom-up, intel: "
            "not supported",
        ),
        (
            "relu_param { engine: MKL2017 }",
            14,
            "value MKL2017 of ReLUParameter.engine is not Caffe's but of its fork intel: not supported",
        ),
    ],
)
def test_what_a_fork_added_is_refused_at_its_place(fields: str, column: int, message: str) -> None:
    (error,) = refused(fields)
    assert error.message == message
    assert (error.file, error.line, error.where.column) == ("net.prototxt", 2, column)


def test_all_of_a_layer_is_refused_at_once() -> None:
    found = refused("pooling_param { pool: LOWRES ceil_mode: true pad_l: 1 } loss_param { label_smoothing: 1 }")
    assert sorted(error.where.text[error.where.column - 1 :].split(":")[0] for error in found if error.where.text) == [
        "ceil_mode",
        "label_smoothing",
        "pad_l",
        "pool",
    ]


CAFFES = """
  name: "n" bottom: "a" top: "b" phase: TEST loss_weight: 1 propagate_down: true include { phase: TRAIN stage: "s" }
  param { name: "w" lr_mult: 0 share_mode: PERMISSIVE } blobs { shape { dim: 1 } data: 1 }
  transform_param { scale: 2 mean_value: 1 mean_value: 2 crop_size: 3 } loss_param { normalization: NONE }
  convolution_param { num_output: 1 kernel_size: 3 pad: 1 engine: CUDNN weight_filler { type: "msra" std: 1 } }
  pooling_param { pool: STOCHASTIC round_mode: FLOOR } eltwise_param { operation: MAX coeff: 1 }
"""


def test_what_caffe_has_is_not_refused() -> None:
    assert refused(CAFFES) == []


def test_what_is_understood_is_not_refused() -> None:
    fields = "pooling_param { ceil_mode: false pad_l: 1 pool: AVE_TF } norm_param { across_spatial: true }"
    assert len(refused(fields)) == 4
    understood = {"pooling_param.ceil_mode", "pooling_param.pool=AVE_EXC_PAD", "norm_param"}
    assert [error.message.split()[1] for error in refused(fields, understood)] == ["'pad_l'", "'across_spatial'"]
    understood |= {"pooling_param.pad_l", "norm_param.across_spatial"}
    assert refused(fields, understood) == []


def test_paths_of_what_is_understood_have_no_indices() -> None:
    fields = "dummy_data_param { data_filler { alpha: 1 } data_filler { alpha: 1 } }"
    assert len(refused(fields)) == 2
    assert refused(fields, {"dummy_data_param.data_filler.alpha"}) == []


def test_skipped_fields_are_not_looked_into() -> None:
    assert refused("pooling_param { ceil_mode: false }", skip={"pooling_param"}) == []


def test_every_message_of_the_schema_can_be_looked_at() -> None:
    """A message within itself would have no end."""
    for name in ("SolverParameter", "NetParameter", "SolverState", "Datum", "BlobProto"):
        assert forks.refused(schema.new(name), lambda path: pytest.fail(path)) == []
    file = schema.message_class("NetParameter").DESCRIPTOR.file
    for name in file.message_types_by_name:
        assert forks.refused(schema.new(name), lambda path: pytest.fail(path)) == []


def test_a_thousand_layers_cost_little() -> None:
    fields = 'bottom: "a" top: "b" param { lr_mult: 1 } param { lr_mult: 2 } include { phase: TRAIN }'
    filled = 'num_output: 3 kernel_size: 3 weight_filler { type: "msra" } bias_filler { value: 1 }'
    net = upgraded(f'layer {{ type: "Convolution" {fields} convolution_param {{ {filled} }} }}\n' * 1000)
    assert _seconds(net) < 0.06  # 12 ms on two busy cores


def _seconds(net: Any) -> float:
    """The least processor time of some rounds over all layers."""
    rounds = []
    for _ in range(5):
        start = time.process_time()
        found = [forks.refused(layer.message, layer.where) for layer in net.layers]
        rounds.append(time.process_time() - start)
        assert not any(found)
    return min(rounds)


def test_fields_of_a_net() -> None:
    found = problems(upgraded, 'engine: "MKLDNN"\ndefault_forward_type: FLOAT16\nlayer { type: "ReLU" debug: true }')
    assert [(error.message, error.line) for error in found] == [
        ("field 'engine' of NetParameter is not Caffe's but of its fork intel: not supported", 1),
        ("field 'default_forward_type' of NetParameter is not Caffe's but of its fork nvidia: not supported", 2),
    ]
    assert all(isinstance(error, UnsupportedError) for error in found)


def test_a_value_in_a_layer_of_the_oldest_format() -> None:
    source = 'layers { layer { name: "p" type: "pool" pool: AVE_TF kernelsize: 2 } bottom: "x" top: "y" }'
    (error,) = problems(upgraded, source)
    expected = "value AVE_EXC_PAD of V0LayerParameter.pool is not Caffe's but of its fork synopsys: not supported"
    assert (error.message, error.layer, error.where.column) == (expected, "p", 41)


def test_fields_within_a_layer_of_the_older_format_are_kept_for_the_layer_to_refuse() -> None:
    source = 'layers { name: "p" type: POOLING bottom: "x" top: "y"\npooling_param { ceil_mode: true } }'
    (layer,) = upgrade.net(document(source)).layers
    (error,) = forks.refused(layer.message, layer.where)
    assert (error.message.split()[1], error.line, error.layer) == ("'ceil_mode'", 2, "p")


def test_a_solver_type_of_a_fork_is_kept_for_the_solver_to_refuse() -> None:
    given = upgrade.solver(text.parse("base_lr: 1\nsolver_type: SAG", "SolverParameter", "solver.prototxt"))
    (error,) = forks.refused(given.message, given.where)
    expected = "value SAG of SolverParameter.solver_type is not Caffe's but of its fork nvidia: not supported"
    assert (error.message, error.line) == (expected, 2)
