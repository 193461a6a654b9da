"""Accuracy: how often the label is among the highest scores."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless


class Accuracy(Layer, type="Accuracy", param="accuracy_param"):
    """The share of positions whose label's score is among the `top_k` highest along `axis`.

    A score equal to the label's counts against it. Positions labelled ignore_label do not count; where none counts it
    is 0. A second top holds the accuracy of each class, 0 for a class that does not occur.
    """

    bottoms = (2, 2)
    tops_allowed = (1, 2)
    labels = (1,)
    differentiable = False

    def shapes(self, *x: Shape) -> list[Shape]:
        axis = self.axis(self.p.axis, x[0])
        positions = prod(x[0][:axis]) * prod(x[0][axis + 1 :])
        if prod(x[1]) != positions:
            raise self.error(
                f"needs one label for each of {positions} positions (bottom 0 is {x[0]}, axis {axis}). "
                f"Received: labels of shape {x[1]}",
                "bottom[1]",
            )
        if positions and self.p.top_k > prod(x[0]) // positions:
            raise self.error(f"top_k is larger than the {prod(x[0]) // positions} classes. Received: {self.p.top_k}", "top_k")
        return [(), (x[0][axis],)][: max(1, self.tops)]

    def code(self, node: Node) -> Code:
        axis = self.axis(self.p.axis, node.inputs[0].shape)
        ignore = self.p.ignore_label if self.p.HasField("ignore_label") else None
        by_class = True if self.tops == 2 else None
        arguments = call(
            "", top_k=unless(1, self.p.top_k), axis=unless(1, axis), ignore_label=ignore, by_class=by_class
        )[1:-1]
        function = "top_k_accuracy" if ignore is None and not by_class else "weighed_accuracy"
        return Code(f"{function}({', '.join(filter(None, ('{0}', '{1}', arguments)))})")
