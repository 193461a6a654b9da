"""Losses on the distance between two blobs."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, arguments, unless
from proto2torch.layers.loss import Loss


class EuclideanLoss(Loss, type="EuclideanLoss"):
    """loss = sum (a - b)^2 / (2 N). Both bottoms take a gradient."""

    differs = "Divides by twice the items, not by the values as F.mse_loss does."

    labels = ()

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_items(*x)
        if prod(x[0]) != prod(x[1]):
            raise self.error(f"both bottoms must have as many values. Received: {x[0]} and {x[1]}", "bottom[1]")
        return [()]

    def code(self, node: Node) -> Code:
        a, b = (value.shape for value in node.inputs)
        other = "{1}" if a == b else "{1}.reshape({0}.shape)"
        return Code(f'F.mse_loss({{0}}, {other}, reduction="sum") / (2 * {{0}}.shape[0])')


class ContrastiveLoss(Loss, type="ContrastiveLoss", param="contrastive_loss_param"):
    """loss = sum l / (2 N), d the distance of a and b: l = d^2 of a similar pair, whose label is not 0.

    Of another pair l = max(margin - d, 0)^2, its gradient with d + 1e-4 in the denominator; with legacy_version
    l = max(margin - d^2, 0).
    """

    differs = (
        "Written out: Caffe adds 1e-4 to the distance in the gradient alone, and measures no distance of dissimilar"
        " pairs in its legacy version."
    )

    bottoms = (3, 3)
    labels = (2,)

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_items(*x)
        if x[0][1:2] != x[1][1:2] or prod(x[0][2:]) != 1 or prod(x[1][2:]) != 1:
            raise self.error(f"needs bottoms of shape (N, C) or (N, C, 1, 1). Received: {x[0]} and {x[1]}", "bottom")
        if x[2][:1] != x[0][:1] or prod(x[2][1:]) != 1:
            raise self.error(f"needs one label for each of {x[0][0]} pairs. Received: {x[2]}", "bottom[2]")
        return [()]

    def code(self, node: Node) -> Code:
        options = arguments(margin=unless(1.0, self.p.margin), legacy=unless(False, self.p.legacy_version))
        return Code(f"contrastive_loss({{0}}, {{1}}, {{2}}{options})")
