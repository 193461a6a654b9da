"""Losses and measures of labels for each position: FocalLoss, NormalizedSigmoidCrossEntropyLoss, SegAccuracy."""

from __future__ import annotations

from math import prod
from typing import Any

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, call, number, unless
from proto2torch.layers.geometry import check_planes
from proto2torch.layers.loss import Loss, check_labels
from proto2torch.layers.variants import Variants, understood

_ONEADDP = 2


class FocalLoss(Loss, type="FocalLoss", param="focal_loss_param"):
    """loss = -sum (1 - p)^gamma log(p) / Z, p the softmax of the label's score; with type ONEADDP (1 + p)^gamma.

    Z as SoftmaxWithLoss. In the fork alpha takes the place of the 1, in the value and in parts of the gradient.
    """

    differs = "An alpha other than 1 is refused: the fork's gradient mixes it with 1. beta does nothing."
    messages = ("loss_param", "softmax_param")
    forks = ("windows",)
    fork_fields = understood("focal_loss_param", "type", "gamma", "alpha", "beta")

    def check(self) -> None:
        if self.p.alpha != 1:
            text = (
                f"alpha takes the place of 1 in the value, and is mixed with 1 in the gradient: {number(self.p.alpha)}"
            )
            raise self.refuse(f"{text} is not supported", "alpha", "alpha is no factor of the loss: loss_weight is")
        if self.p.gamma < 0:
            raise self.error(f"gamma must not be negative. Received: {number(self.p.gamma)}", "gamma")

    def _axis(self, x: Shape) -> int:
        return self.axis(self.definition.message.softmax_param.axis, x)

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_items(*x)
        check_labels(self, self._axis(x[0]), x[0], x[1])
        return [()]

    def code(self, node: Node) -> Code:
        options = arguments(
            gamma=unless(2, self.p.gamma),
            sign=1 if self.p.type == _ONEADDP else None,
            axis=unless(1, self._axis(node.inputs[0].shape)),
            ignore_label=self.ignore_label,
            normalization=unless("VALID", self.normalization("VALID")),
        )
        return Code(f"focal_loss({{0}}, {{1}}{options})")


class _SigmoidLoss(Loss):
    """Scores, and a target for each of them."""

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_targets(*x)
        return [()]


class IndicatedSigmoidLoss(_SigmoidLoss):
    """Hexiang-Hu: loss = sum of indicator[n, c] times the sigmoid cross-entropy, over everything and not divided."""

    forks = ("hexiang-hu",)
    bottoms = (3, 3)
    indices = (2,)

    @classmethod
    def evidence(cls, message: Any) -> str:
        return "three bottoms" if len(message.bottom) == 3 else ""

    def shapes(self, *x: Shape) -> list[Shape]:
        if prod(x[2]) != prod(x[0][:2]) or len(x[0]) < 2:
            raise self.error(f"needs an indicator for each item and channel of {x[0]}. Received: {x[2]}", "bottom[2]")
        return super().shapes(*x)

    def code(self, node: Node) -> Code:
        return Code("indicated_sigmoid_loss({0}, {1}, {2})")


class BalancedSigmoidLoss(_SigmoidLoss):
    """feiyunzhang: at each place of an item, positives (targets above 1/2) weigh 1/2 in all, and negatives too.

    loss = sum e / (2 n), e the sigmoid cross-entropy, n how many items of the batch have the same sign at that place.
    """

    forks = ("feiyunzhang",)

    @classmethod
    def evidence(cls, message: Any) -> str:
        return "two bottoms" if len(message.bottom) == 2 else ""

    def code(self, node: Node) -> Code:
        return Code("balanced_sigmoid_loss({0}, {1})")


class NormalizedSigmoidCrossEntropyLoss(
    Variants, type="NormalizedSigmoidCrossEntropyLoss", variants=(IndicatedSigmoidLoss, BalancedSigmoidLoss)
):
    """The cross-entropy of sigmoids: with three bottoms weighed by an indicator, with two balanced over the batch."""


class SegAccuracy(Layer, type="SegAccuracy", param="seg_accuracy_param"):
    """Of scores (N, C, H, W) and labels (N, 1, H, W): the share of right pixels, the mean recall over the classes that
    occur, and the mean IoU over all classes, where one that neither occurs nor is found counts as 1. Top (1, 1, 1, 3).

    Labels in ignore_label do not count. With `reset: false` counts run on over forwards. Of equal scores the larger
    class wins; `metric` does nothing.
    """

    forks = ("deeplab", "pspnet", "synopsys")
    fork_fields = understood("seg_accuracy_param", "metric", "ignore_label", "reset")
    bottoms = (2, 2)
    labels = (1,)
    differentiable = False

    def shapes(self, *x: Shape) -> list[Shape]:
        check_planes(self, x[0])
        check_labels(self, 1, x[0], x[1])
        return [(1, 1, 1, 3)]

    def code(self, node: Node) -> Code:
        module = call(
            "SegAccuracy",
            node.inputs[0].shape[1],
            ignored=unless([], list(self.p.ignore_label)),
            reset=unless(True, self.p.reset),
        )
        return Code("{me}({0}, {1})", module, stateful=not self.p.reset)
