"""Embed: a learned vector for each index."""

from __future__ import annotations

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call


class Embed(Layer, type="Embed", param="embed_param"):
    """y = weight[int(x)] (+ bias), one more axis than the bottom, of num_output; the index is cut toward zero.

    Blobs: weight (input_dim, num_output), bias (num_output). The bottom gets no gradient.
    """

    differs = "The index is cut toward zero. Its bottom gets no gradient: Caffe aborts on one."

    indices = (0,)

    def check(self) -> None:
        for field in ("num_output", "input_dim"):
            if not getattr(self.p, field):
                raise self.error(f"needs {field} greater than zero", field)

    def shapes(self, *x: Shape) -> list[Shape]:
        return [(*x[0], self.p.num_output)]

    def blobs(self, *x: Shape) -> list[Blob]:
        weight = Blob("weight", (self.p.input_dim, self.p.num_output), self.p.weight_filler)
        return [weight, Blob("bias", (self.p.num_output,), self.p.bias_filler)][: 1 + self.p.bias_term]

    def code(self, node: Node) -> Code:
        function = "BiasedEmbedding" if self.p.bias_term else "nn.Embedding"
        return Code("{me}({0}.long())", call(function, self.p.input_dim, self.p.num_output))
