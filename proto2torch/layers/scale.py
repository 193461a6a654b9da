"""Scale and Bias: a factor, an offset, or both, learned or from another blob."""

from __future__ import annotations

from math import prod
from typing import Any

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, Raw, call, unless


class Broadcast(Layer):
    """What Scale and Bias share: an operand that covers some axes of bottom 0 and is repeated along the others.

    One bottom: the operand is a blob over the `num_axes` axes from `axis` on (-1 to the end, 0 a scalar). Two bottoms:
    it is the second, matched from `axis` on; num_axes counts for nothing then.
    """

    bottoms = (1, 2)
    allows_inplace = True

    def _span(self, x: Shape, other: Shape | None = None) -> tuple[int, int]:
        """First axis that the operand covers, and the one behind its last."""
        if other == ():
            return 0, 0
        axis = self.axis(self.p.axis, x)
        if other is not None:
            return axis, axis + len(other)
        count = self.p.num_axes
        if count < -1 or axis + count > len(x):
            text = f"num_axes must be -1, or fit from axis {axis} of a bottom of shape {x}. Received: {count}"
            raise self.error(text, "num_axes")
        return axis, len(x) if count == -1 else axis + count

    def shapes(self, *x: Shape) -> list[Shape]:
        start, end = self._span(*x)
        if len(x) == 2 and x[0][start:end] != x[1]:
            raise self.error(
                f"bottom 1 must match the dims of bottom 0, {x[0]}, from axis {start} on. Received: {x[1]}", "bottom[1]"
            )
        return [x[0]]

    def _operand(self, *x: Shape) -> tuple[Shape, int]:
        """The operand's shape, and how many axes of bottom 0 lie behind it."""
        start, end = self._span(*x)
        return x[0][start:end], len(x[0]) - end if end > start else 0


class Scale(Broadcast, type="Scale", param="scale_param"):
    """y = x * scale (+ bias).

    A learned scale is filled with 1 where no filler is given; with bias_term an offset of the same shape is learned,
    filled with 0. Blobs: [scale, with one bottom], [bias]. Where the bottom has one item, Caffe overwrites the gradient
    of a learned scale that has more than one element, in place of adding to it.
    """

    differs = (
        "A class of its own; next to a BatchNorm in TEST both are one nn.BatchNorm. Where the extents before `axis`"
        " multiply to 1, or the scale covers the bottom, Caffe overwrites its gradient in place of adding: training"
        " does the same, and is refused where two layers share such a scale."
    )

    def is_per_channel(self, x: Shape) -> bool:
        """Whether it covers axis 1 alone, as torch's BatchNorm does."""
        return len(x) > 1 and self._span(x) == (1, 2)

    def blobs(self, *x: Shape) -> list[Blob]:
        shape, _ = self._operand(*x)
        scale = [] if len(x) == 2 else [Blob("weight", shape, self._filler())]
        return scale + ([Blob("bias", shape, self.p.bias_filler)] if self.p.bias_term else [])

    def _filler(self) -> Any:
        filler = self.p.filler
        return filler if self.p.HasField("filler") else type(filler)(type="constant", value=1)

    def code(self, node: Node) -> Code:
        shape, behind = self._operand(*(v.shape for v in node.inputs))
        if len(node.inputs) == 1:
            self._refuse_shared_overwriting(node, shape, behind)
            return Code("{me}({0})", call("Scale", _literal(shape), behind, bias=unless(False, self.p.bias_term)))
        product = f"{{0}} * {_broadcast('{1}', behind)}"
        return Code(f"{{me}}({product})", call("Bias", _literal(shape), behind)) if self.p.bias_term else Code(product)

    def _refuse_shared_overwriting(self, node: Node, shape: Shape, behind: int) -> None:
        """Of layers that share a scale the first overwrites what the others gave; autograd would add them."""
        x = node.inputs[0].shape
        single = prod(x[: len(x) - behind - len(shape)]) == 1 and (prod(shape) > 1 or prod(x) == 1)
        if single and node.params[0].owner is not None and node.params[0].requires_grad and self.net_phase == "TRAIN":
            raise self.refuse(
                "it shares its scale with another layer, and for a batch of one item Caffe overwrites the gradient of "
                "the one by that of the other",
                "param[0].name",
                "train with more items a batch",
            )


class Bias(Broadcast, type="Bias", param="bias_param"):
    """y = x + bias, filled with 0 where no filler is given. Blobs: [bias, with one bottom]."""

    differs = "An nn.Module: torch has no layer that only adds."

    def blobs(self, *x: Shape) -> list[Blob]:
        return [] if len(x) == 2 else [Blob("bias", self._operand(*x)[0], self.p.filler)]

    def code(self, node: Node) -> Code:
        shape, behind = self._operand(*(v.shape for v in node.inputs))
        if len(node.inputs) == 1:
            return Code("{me}({0})", call("Bias", _literal(shape), behind))
        return Code(f"{{0}} + {_broadcast('{1}', behind)}")


def _broadcast(operand: str, behind: int) -> str:
    """`b[..., None, None]`: an axis of one behind the operand's own for each that lies behind it."""
    return f"{operand}[...{', None' * behind}]" if behind else operand


def _literal(shape: Shape) -> Raw:
    """`(3, 3)` stays a shape: `call` would write 3."""
    return Raw(shape[0] if len(shape) == 1 else repr(shape))
