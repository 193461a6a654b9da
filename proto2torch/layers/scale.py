"""Scale: a learned factor, and an offset if asked for."""

from __future__ import annotations

from typing import Any

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless


class Scale(Layer, type="Scale", param="scale_param"):
    """y = x * scale (+ bias), broadcast over the axes before and behind those that scale covers.

    One bottom: scale is a blob over the `num_axes` axes from `axis` on (-1 to the end, 0 a scalar), filled with 1
    where no filler is given. Two bottoms: scale is the second, matched from `axis` on. With bias_term an offset of the
    same shape, filled with 0. Blobs: [scale, with one bottom], [bias].
    """

    bottoms = (1, 2)
    allows_inplace = True

    def is_per_channel(self, x: Shape) -> bool:
        """Whether it covers axis 1 alone, as torch's BatchNorm does."""
        return len(x) > 1 and self._span(x) == (1, 2)

    def _span(self, x: Shape, other: Shape | None = None) -> tuple[int, int]:
        """First axis that scale covers, and the one behind its last."""
        axis = self.axis(self.p.axis, x) if x else 0
        if other is not None:
            return (0, 0) if not other else (axis, axis + len(other))
        count = self.p.num_axes
        if count < -1 or axis + count > len(x):
            raise self.error(f"num_axes must be -1, or fit from axis {axis} of a bottom of shape {x}. Received: {count}", "num_axes")
        return axis, len(x) if count == -1 else axis + count

    def shapes(self, *x: Shape) -> list[Shape]:
        start, end = self._span(*x[:2])
        if len(x) == 2 and x[0][start:end] != x[1]:
            raise self.error(
                f"bottom 1 must match the dims of bottom 0, {x[0]}, from axis {start} on. Received: {x[1]}", "bottom[1]"
            )
        return [x[0]]

    def blobs(self, *x: Shape) -> list[Blob]:
        start, end = self._span(*x[:2])
        shape = x[0][start:end]
        scale = [] if len(x) == 2 else [Blob("weight", shape, self._filler())]
        return scale + ([Blob("bias", shape, self.p.bias_filler)] if self.p.bias_term else [])

    def _filler(self) -> Any:
        filler = self.p.filler
        return filler if self.p.HasField("filler") else type(filler)(type="constant", value=1)

    def code(self, node: Node) -> Code:
        x = [v.shape for v in node.inputs]
        start, end = self._span(*x)
        behind = len(x[0]) - end
        if len(x) == 1:
            module = call("Scale", x[0][start:end], behind, bias=unless(False, self.p.bias_term))
            return Code("{me}({0})", module.replace("Scale(", "Scale(", 1))
        factor = "{1}" if not behind or start == end else "{1}[(...," + " None," * behind + ")]"
        product = f"{{0}} * {factor}"
        if not self.p.bias_term:
            return Code(product)
        return Code(f"{{me}}({product})", call("Bias", x[0][start:end], behind))
