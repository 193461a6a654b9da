"""The cross-entropy of sigmoids: each value a yes or no of its own."""

from __future__ import annotations

from typing import ClassVar

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, unless
from proto2torch.layers.loss import Loss
from proto2torch.prototxt.document import LayerDefinition


class SigmoidCrossEntropyLoss(Loss, type="SigmoidCrossEntropyLoss"):
    """loss = -sum (t log s + (1 - t) log(1 - s)) / Z, s the sigmoid of the scores.

    Z by loss_param.normalization: BATCH_SIZE (the default) the items, FULL every value, VALID those whose target is
    not ignore_label, NONE 1; never less than 1. A target counts as ignore_label when its whole part is that number.
    """

    differs = (
        "The ignored target is compared as a whole number, and the mean is over items by default, not over values. "
        "HED's loss of this name, which balances edges and the rest, is meant with --fork hed alone."
    )

    messages: ClassVar[tuple[str, ...]] = ("loss_param",)
    variants: ClassVar[tuple[type[Layer], ...]] = ()
    """Caffe's own, and HED's that balances both sides."""

    @classmethod
    def chosen(cls, definition: LayerDefinition, fork: str) -> type[Layer]:
        return HEDSigmoidLoss if fork == "hed" else cls

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_targets(*x)
        return [()]

    def code(self, node: Node) -> Code:
        ignore, mode = self.ignore_label, self.normalization("BATCH_SIZE")
        scores, targets = (value.shape for value in node.inputs)
        target = "{1}" if scores == targets else "{1}.reshape({0}.shape)"
        if ignore is not None:
            options = arguments(ignore_label=ignore, normalization=unless("BATCH_SIZE", mode))
            return Code(f"weighed_sigmoid_loss({{0}}, {target}{options})")
        if mode in ("FULL", "VALID"):
            return Code(f"F.binary_cross_entropy_with_logits({{0}}, {target})")
        total = f'F.binary_cross_entropy_with_logits({{0}}, {target}, reduction="sum")'
        return Code(total if mode == "NONE" else f"{total} / {{0}}.shape[0]")


class HEDSigmoidLoss(SigmoidCrossEntropyLoss):
    """HED: loss = sum over items of (sum of e over edges times the share of the rest, and the reverse) / N.

    e is the sigmoid cross-entropy; edges have target 1, the rest 0, and any other target counts for nothing. Shares are
    those of each item.
    """

    differs = "As its authors' paper weighs the two sides; it was not compared with their code."
    messages: ClassVar[tuple[str, ...]] = ()
    forks = ("hed",)

    def code(self, node: Node) -> Code:
        return Code("edge_loss({0}, {1})")


SigmoidCrossEntropyLoss.variants = (SigmoidCrossEntropyLoss, HEDSigmoidLoss)
