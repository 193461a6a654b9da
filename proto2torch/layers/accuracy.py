"""Accuracy: how often the label is among the highest scores."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, unless
from proto2torch.layers.loss import check_labels


class Accuracy(Layer, type="Accuracy", param="accuracy_param"):
    """The share of positions whose label's score is among the `top_k` highest along `axis`.

    A score equal to the label's counts against it. Positions labelled ignore_label do not count; where none counts it
    is 0. A second top holds the accuracy of each class, 0 for a class that does not occur.
    """

    differs = (
        "A tie counts against the label, and NaN scores for it, as Caffe counts those that are not below the label's."
    )

    bottoms = (2, 2)
    tops_allowed = (1, 2)
    labels = (1,)
    differentiable = False

    def shapes(self, *x: Shape) -> list[Shape]:
        axis = self.axis(self.p.axis, x[0])
        check_labels(self, axis, x[0], x[1])
        if prod(x[0]) and self.p.top_k > x[0][axis]:
            raise self.error(f"top_k is larger than the {x[0][axis]} classes. Received: {self.p.top_k}", "top_k")
        return [(), (x[0][axis],)][: max(1, self.tops)]

    def code(self, node: Node) -> Code:
        axis = self.axis(self.p.axis, node.inputs[0].shape)
        ignore = self.p.ignore_label if self.p.HasField("ignore_label") else None
        options = {"top_k": unless(1, self.p.top_k), "axis": unless(1, axis)}
        if ignore is None and self.tops == 1:
            return Code(f"top_k_accuracy({{0}}, {{1}}{arguments(**options)})")
        options |= {"ignore_label": ignore, "by_class": True if self.tops == 2 else None}
        return Code(f"weighed_accuracy({{0}}, {{1}}{arguments(**options)})")
