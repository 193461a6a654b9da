"""Softmax, and the multinomial logistic loss on it."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless
from proto2torch.layers.loss import Loss


class Softmax(Layer, type="Softmax", param="softmax_param"):
    """y = exp(x) / sum exp(x) along `axis`."""

    allows_inplace = True

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

    def shapes(self, *x: Shape) -> list[Shape]:
        if len(self.definition.message.top) > 1:
            raise self.refuse("a second top, the probabilities, cannot be built in Caffe either: use a Softmax layer", "top[1]")
        axis = self.axis(self.p.axis, x[0])
        positions = prod(x[0][:axis]) * prod(x[0][axis + 1 :])
        if prod(x[1]) != positions:
            raise self.error(
                f"needs one label for each of {positions} positions (bottom 0 is {x[0]}, axis {axis}). "
                f"Received: labels of shape {x[1]}",
                "bottom[1]",
            )
        return [()]

    def code(self, node: Node) -> Code:
        axis = self.axis(self.p.axis, node.inputs[0].shape)
        ignore, mode = self.ignore_label, self.normalization("VALID")
        plain = ignore is None and mode in (None, "FULL")
        arguments = call("", axis=unless(1, axis), ignore_label=ignore, normalization=None if plain else mode)[1:-1]
        function = "softmax_loss" if plain else "weighed_softmax_loss"
        return Code(f"{function}({', '.join(filter(None, ('{0}', '{1}', arguments)))})")
