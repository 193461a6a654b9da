"""Parameter: a learned blob as a top."""

from __future__ import annotations

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, Raw, call


class Parameter(Layer, type="Parameter", param="parameter_param"):
    """Its top is its blob, of the shape given, which starts at zero.

    Every backward overwrites the blob's gradient in place of adding to it, so that of several passes before an update
    (iter_size) the last counts alone.
    """

    differs = (
        "Its gradient is overwritten in each backward, as in Caffe, so that of iter_size passes the last one counts."
    )

    bottoms = (0, 0)

    def shapes(self, *x: Shape) -> list[Shape]:
        return [tuple(self.p.shape.dim)]

    def blobs(self, *x: Shape) -> list[Blob]:
        return [Blob("weight", tuple(self.p.shape.dim))]

    def code(self, node: Node) -> Code:
        return Code("{me}()", call("LearnedTop", Raw(repr(tuple(self.p.shape.dim)))))
