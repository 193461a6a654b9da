"""What Caffe gets wrong where a layer's top is its bottom."""

from __future__ import annotations

from proto2torch.ir.graph import Node
from proto2torch.layers.base import Layer


def refuse_gradient_in_place(layer: Layer, node: Node) -> None:
    """Refuse to train through a layer that in place destroys what its backward reads: Caffe's gradient is nobody's.

    Its forward is right, so that a TEST net may have it.
    """
    if layer.inplace and layer.net_phase == "TRAIN" and node.propagate[0]:
        raise layer.refuse(
            f"{layer.type} computes a wrong gradient in place: Caffe reads its bottom after it has been overwritten",
            "top[0]",
            f"give its top another name than {node.outputs[0].blob!r}, or train without it",
        )
