"""Softmax, and the multinomial logistic loss on it."""

from __future__ import annotations

from typing import ClassVar

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, literal, unless
from proto2torch.layers.loss import Loss, check_labels
from proto2torch.layers.variants import fields_given, understood
from proto2torch.prototxt.document import LayerDefinition

_WEIGHTED = ("weight_by_label_freqs", "class_weighting")


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

    variants: ClassVar[tuple[type[Layer], ...]] = ()
    """Caffe's own, and SegNet's with weights for classes."""

    @classmethod
    def chosen(cls, definition: LayerDefinition, fork: str) -> type[Layer]:
        given = fields_given(definition.message, "loss_param", *_WEIGHTED)
        return SegNetSoftmaxWithLoss if given or fork == "segnet" else cls

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


class SegNetSoftmaxWithLoss(SoftmaxWithLoss, param="softmax_param"):
    """SegNet: with weight_by_label_freqs each position's loss, and its gradient, times class_weighting of its label.

    Z is the number of positions that count, not the sum of their weights, and 0 where none does; without `normalize`
    it is the items. There is no `normalization`.
    """

    forks = ("segnet",)
    fork_fields = understood("loss_param", *_WEIGHTED)

    @property
    def _weights(self) -> list[float] | None:
        loss = self.definition.message.loss_param
        return list(loss.class_weighting) if loss.weight_by_label_freqs else None

    def check(self) -> None:
        loss = self.definition.message.loss_param
        if loss.HasField("normalization"):
            raise self.error("has no normalization beside class weights: give normalize", "loss_param.normalization")

    def shapes(self, *x: Shape) -> list[Shape]:
        classes = x[0][self.axis(self.p.axis, x[0])]
        if self._weights is not None and len(self._weights) != classes:
            text = f"class_weighting must be given for each of {classes} classes. Received: {len(self._weights)} times"
            raise self.error(text, "loss_param.class_weighting")
        return super().shapes(*x)

    def code(self, node: Node) -> Code:
        loss = self.definition.message.loss_param
        options = arguments(
            axis=unless(1, self.axis(self.p.axis, node.inputs[0].shape)),
            ignore_label=self.ignore_label,
            normalize=False if loss.HasField("normalize") and not loss.normalize else None,
        )
        return Code(f"weighed_by_class({{0}}, {{1}}, {literal(self._weights)}{options})")


SoftmaxWithLoss.variants = (SoftmaxWithLoss, SegNetSoftmaxWithLoss)
