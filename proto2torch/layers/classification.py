"""Losses of a classifier beside the softmax's own: HingeLoss, MultinomialLogisticLoss, InfogainLoss."""

from __future__ import annotations

from math import prod

from proto2torch.files import resolve
from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Constant, arguments, call, unless
from proto2torch.layers.loss import Loss, check_labels

_L1, _L2 = 1, 2


class _LabelledItems(Loss):
    """Scores (N, …), and one label for each item."""

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_items(*x)
        if prod(x[1]) != x[0][0]:
            raise self.error(f"needs one label for each of {x[0][0]} items. Received: {x[1]}", "bottom[1]")
        return [()]


class HingeLoss(_LabelledItems, type="HingeLoss", param="hinge_loss_param"):
    """loss = sum m / N (L1) or sum m^2 / N (L2), m = max(0, 1 - x) at the label and max(0, 1 + x) elsewhere."""

    differs = "Each class against the rest, over the items; torch's multi-margin loss is another function."

    def code(self, node: Node) -> Code:
        return Code(f"hinge_loss({{0}}, {{1}}{arguments(squared=True if self.p.norm == _L2 else None)})")


class MultinomialLogisticLoss(_LabelledItems, type="MultinomialLogisticLoss"):
    """loss = -sum log(max(p_label, 1e-20)) / N of probabilities p; the gradient is -1 / (N max(p_label, 1e-20))."""

    differs = "The probability stops at 1e-20, and so does the gradient."

    def code(self, node: Node) -> Code:
        return Code("multinomial_loss({0}, {1})")


class InfogainLoss(Loss, type="InfogainLoss", param="infogain_loss_param"):
    """loss = -sum over positions and classes k of H[label, k] log(max(p_k, 1e-20)) / Z, p the softmax along `axis`.

    H is bottom 2, or the BlobProto file `source`. Z as SoftmaxWithLoss; the gradient is that of the unclamped
    logarithm. A second top holds p, and takes no gradient.
    """

    differs = "Written out: its softmax is inside, the logarithm stops at 1e-20 and the gradient does not."

    messages = ("loss_param",)
    bottoms = (2, 3)
    tops_allowed = (1, 2)
    indices = (2,)

    def check(self) -> None:
        if self.definition.message.loss_param.HasField("normalize"):
            raise self.error("does not take normalize: give normalization", "loss_param.normalize")
        if len(self.definition.message.bottom) == 2 and not self.p.source:
            raise self.error("needs its matrix: a third bottom, or infogain_loss_param.source", "source")
        if self.tops == 2 and len(self.definition.message.loss_weight) != 2:
            hint = "loss_weight: 1 loss_weight: 0"
            raise self.error("with two tops loss_weight must be given for both", "loss_weight", hint)

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_items(*x)
        axis = self.axis(self.p.axis, x[0])
        check_labels(self, axis, x[0], x[1])
        classes = x[0][axis]
        if len(x) == 3 and prod(x[2]) != classes * classes:
            raise self.error(f"needs a matrix of {classes} by {classes} classes. Received: {x[2]}", "bottom[2]")
        return [(), x[0]][: max(1, self.tops)]

    def code(self, node: Node) -> Code:
        x = node.inputs[0].shape
        axis = self.axis(self.p.axis, x)
        mode = unless("VALID", self.normalization("VALID"))
        options = {"axis": unless(1, axis), "ignore_label": self.ignore_label, "normalization": mode}
        probabilities = f", F.softmax({{0}}, {axis}).detach()" if self.tops == 2 else ""
        if len(node.inputs) == 3:
            return Code(f"infogain_loss({{0}}, {{1}}, {{2}}{arguments(**options)}){probabilities}")
        path = resolve(self.p.source, self.definition.where().file)
        matrix = Constant("matrix", path, self.definition.where(f"{self.param}.source"))
        module = call("InfogainLoss", x[axis], **options)
        return Code(f"{{me}}({{0}}, {{1}}){probabilities}", module, constants=(matrix,))
