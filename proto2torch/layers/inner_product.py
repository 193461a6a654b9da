"""InnerProduct: a fully connected layer."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless


class InnerProduct(Layer, type="InnerProduct", param="inner_product_param"):
    """y = W x + b over everything from `axis` on, flattened.

    Top: the dims before `axis`, then num_output. Blobs: weight (num_output, K), or (K, num_output) with `transpose`,
    where K is the product of the dims from `axis`; bias (num_output).
    """

    starts_statement = True

    def check(self) -> None:
        if not self.p.num_output:
            raise self.error("needs num_output greater than zero", "num_output")

    def shapes(self, *x: Shape) -> list[Shape]:
        return [(*x[0][: self.axis(self.p.axis, x[0])], self.p.num_output)]

    def blobs(self, *x: Shape) -> list[Blob]:
        width = prod(x[0][self.axis(self.p.axis, x[0]) :])
        shape = (width, self.p.num_output) if self.p.transpose else (self.p.num_output, width)
        weight = Blob("weight", shape, self.p.weight_filler, transposed=self.p.transpose)
        return [weight, Blob("bias", (self.p.num_output,), self.p.bias_filler)][: 1 + self.p.bias_term]

    def multiply_adds(self, *x: Shape) -> int:
        """Every value of the top sums K products."""
        return prod(self.shapes(*x)[0]) * prod(x[0][self.axis(self.p.axis, x[0]) :])

    def fixes_extent(self) -> bool:
        return True

    def code(self, node: Node) -> Code:
        x = node.inputs[0].shape
        axis = self.axis(self.p.axis, x)
        flat = f".flatten({axis})" if axis < len(x) - 1 else ""
        module = call("nn.Linear", prod(x[axis:]), self.p.num_output, bias=unless(True, self.p.bias_term))
        return Code(f"{{me}}({{0}}{flat})", module)
