"""Softmax, and the multinomial logistic loss on it."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, unless
from proto2torch.layers.loss import Loss, check_labels


class Softmax(Layer, type="Softmax", param="softmax_param"):
    """y = exp(x) / sum exp(x) along `axis`."""

    differs = "F.softmax."

    allows_inplace = True
    backward_reads = frozenset({"top"})

    def shapes(self, *x: Shape) -> list[Shape]:
        self.axis(self.p.axis, x[0])
        return [x[0]]

    def code(self, node: Node) -> Code:
        return Code(f"F.softmax({{0}}, {self.axis(self.p.axis, node.inputs[0].shape)})")


class SoftmaxWithLoss(Loss, type="SoftmaxWithLoss", param="softmax_param"):
    """loss = -sum log(max(p_label, FLT_MIN)) / Z, p the softmax of the scores along `axis`.

    Z by loss_param.normalization: FULL every position, VALID those whose label is not ignore_label, BATCH_SIZE the
    items before `axis`, NONE 1; never less than 1. The gradient is that of the unclamped logarithm.
    """

    differs = (
        "F.cross_entropy for the plain case; its value stops at 87.3365, -log of the smallest float32, and its "
        "gradient does not. Labels are cut to whole numbers. A second top is refused: Caffe cannot build it."
    )

    messages = ("loss_param",)
    tops_allowed = (1, 2)

    def shapes(self, *x: Shape) -> list[Shape]:
        if self.tops > 1:
            raise self.refuse("a second top cannot be built in Caffe either: use a Softmax layer", "top[1]")
        self.check_items(*x)
        check_labels(self, self.axis(self.p.axis, x[0]), x[0], x[1])
        return [()]

    def code(self, node: Node) -> Code:
        axis = self.axis(self.p.axis, node.inputs[0].shape)
        ignore, mode = self.ignore_label, self.normalization("VALID")
        if ignore is None and mode in ("VALID", "FULL"):
            return Code(f"softmax_loss({{0}}, {{1}}{arguments(axis=unless(1, axis))})")
        options = arguments(axis=unless(1, axis), ignore_label=ignore, normalization=unless("VALID", mode))
        return Code(f"weighed_softmax_loss({{0}}, {{1}}{options})")
