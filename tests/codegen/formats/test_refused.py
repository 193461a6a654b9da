"""Layers that a format lacks are refused by their names."""

from __future__ import annotations

import pytest

import proto2torch as p2t
from proto2torch.codegen.formats import refused
from proto2torch.errors import UnsupportedError

REGIONS = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 8 dim: 8 } } }
layer { name: "rois" type: "Input" top: "rois" input_param { shape { dim: 3 dim: 5 } } }
layer { name: "pool5" type: "ROIPooling" bottom: "x" bottom: "rois" top: "y"
  roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 1 } }
"""


def test_roi_pooling_in_onnx() -> None:
    graph = p2t.load(text=REGIONS).graph
    refused.check(graph, "pt2")
    with pytest.raises(UnsupportedError) as raised:
        refused.check(graph, "onnx")
    assert raised.value.layer == "pool5"
    assert raised.value.message == "torch's exporter cannot write it. Received: --format onnx"
