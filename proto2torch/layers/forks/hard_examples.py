"""Online hard example mining (R-FCN): a softmax loss that tells every item's own, and the choice of the hardest."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, unless
from proto2torch.layers.forks.normalizer import FORK_FIELDS, loss_divisor_options
from proto2torch.layers.loss import Loss, check_labels
from proto2torch.layers.variants import understood


class SoftmaxWithLossOHEM(Loss, type="SoftmaxWithLossOHEM", param="softmax_param"):
    """SoftmaxWithLoss, whose further tops are the probabilities and each position's own loss, 0 where it is ignored.

    loss_param.normalization may also be PRE_FIXED, which divides by pre_fixed_normalizer, or 1 if that is less.
    """

    differs = "As SoftmaxWithLoss; its further tops take no gradient."
    messages = ("loss_param",)
    forks = ("rfcn", "bottom-up", "intel")
    fork_fields = FORK_FIELDS
    tops_allowed = (1, 3)

    def check(self) -> None:
        if self.tops > 1 and len(self.definition.message.loss_weight) != self.tops:
            hint = "loss_weight: 1" + " loss_weight: 0" * (self.tops - 1)
            raise self.error(f"with {self.tops} tops loss_weight must be given for each", "loss_weight", hint)

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_items(*x)
        check_labels(self, self.axis(self.p.axis, x[0]), x[0], x[1])
        return [(), x[0], x[1]][: max(1, self.tops)]

    def code(self, node: Node) -> Code:
        axis = self.axis(self.p.axis, node.inputs[0].shape)
        options = {"axis": unless(1, axis), "ignore_label": self.ignore_label, **loss_divisor_options(self)}
        return Code(f"softmax_loss_ohem({{0}}, {{1}}{arguments(**options, tops=unless(1, max(1, self.tops)))})")


class BoxAnnotatorOHEM(Layer, type="BoxAnnotatorOHEM", param="box_annotator_ohem_param"):
    """Labels and box weights of the regions that an image trains on: its roi_per_img of the highest loss.

    Bottoms: regions (R, 5), the image's number in front; loss, labels, R each; weights (R, K). Tops: labels
    (R, 1, 1, 1), ignore_label for the other regions; weights (R, K, 1, 1), 0 for them. Of equal losses the first wins.
    """

    differs = "Of equal losses the first wins, where the forks' order is any."
    forks = ("rfcn", "bottom-up", "intel")
    fork_fields = understood("box_annotator_ohem_param", "roi_per_img", "ignore_label")
    bottoms = (4, 4)
    tops_allowed = (2, 2)
    differentiable = False

    def check(self) -> None:
        if not self.p.roi_per_img:
            raise self.error("needs roi_per_img greater than zero. Received: 0", "roi_per_img")

    def shapes(self, *x: Shape) -> list[Shape]:
        rois = x[0]
        if not rois or prod(rois[1:]) != 5:
            raise self.error(f"regions have 5 numbers each. Received: a bottom of shape {rois}", "bottom[0]")
        for i in (1, 2):
            if prod(x[i]) != rois[0]:
                raise self.error(f"needs a number for each of {rois[0]} regions. Received: {x[i]}", f"bottom[{i}]")
        if x[3][:1] != rois[:1]:
            raise self.error(f"needs weights for each of {rois[0]} regions. Received: {x[3]}", "bottom[3]")
        return [(rois[0], 1, 1, 1), (*x[3], 1, 1)[:4]]

    def code(self, node: Node) -> Code:
        ignore = arguments(ignore_label=unless(-1, self.p.ignore_label))
        return Code(f"hardest({{0}}, {{1}}, {{2}}, {{3}}, {self.p.roi_per_img}{ignore})")
