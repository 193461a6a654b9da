"""The smooth L1 losses of box regression: SSD's and Fast R-CNN's, and R-FCN's that also says which items are hard."""

from __future__ import annotations

from typing import Any, ClassVar

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, arguments, number, unless
from proto2torch.layers.forks.normalizer import FORK_FIELDS, loss_divisor_options
from proto2torch.layers.loss import Loss
from proto2torch.layers.variants import Variants, understood


class _BoxLoss(Loss):
    """Predictions, targets of their shape, and weights of their shape."""

    labels = ()

    def check_shapes(self, *x: Shape) -> None:
        if not x[0]:
            raise self.error("needs a batch axis. Received: a scalar", "bottom[0]")
        for i, shape in enumerate(x):
            if shape != x[0]:
                raise self.error(f"needs the shape of bottom 0, {x[0]}. Received: {shape}", f"bottom[{i}]")


class WeighedSmoothL1Loss(_BoxLoss, param="smooth_l1_loss_param"):
    """Fast R-CNN and SSD: loss = sum wo f(wi (a - b)) / N, of bottoms a, b and optionally wi and wo.

    f(d) = sigma^2 d^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2). The weights take no gradient.
    """

    differs = "F.smooth_l1_loss; the mean is over items, not over values."
    forks = ("fast-rcnn", "ssd", "refinedet", "mobilenet-ssd", "yolo", "bottom-up", "nvidia", "intel", "synopsys")
    fork_fields = understood("smooth_l1_loss_param", "sigma")
    bottoms = (2, 4)

    @classmethod
    def evidence(cls, message: Any) -> str:
        if message.HasField("smooth_l1_loss_param"):
            return "smooth_l1_loss_param"
        return "four bottoms" if len(message.bottom) == 4 else ""

    def check(self) -> None:
        if len(self.definition.message.bottom) == 3:
            raise self.error("takes inside weights together with outside weights: 2 or 4 bottoms", "bottom[2]")
        if self.p.sigma <= 0:
            raise self.error(f"sigma must be greater than zero. Received: {number(self.p.sigma)}", "sigma")

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_shapes(*x)
        return [()]

    def code(self, node: Node) -> Code:
        beta = arguments(beta=unless(1, 1 / self.p.sigma**2))
        if len(node.inputs) == 2:
            return Code(f'F.smooth_l1_loss({{0}}, {{1}}, reduction="sum"{beta}) / {{0}}.shape[0]')
        return Code(f"weighed_smooth_l1_loss({{0}}, {{1}}, {{2}}, {{3}}{beta})")


class TurningSmoothL1Loss(_BoxLoss, param="smoothl1_param"):
    """caffe-windows: loss = sum f(a - b) / N; f(d) = d^2 / 2 where |d| < t = turn_point, else |d| - t + t^2 / 2.

    The derivative is d below t, else sign(d); f itself does not jump.
    """

    differs = "The gradient jumps from t to 1 at turn_point."
    forks = ("windows",)
    fork_fields = understood("smoothl1_param", "turn_point")

    @classmethod
    def evidence(cls, message: Any) -> str:
        return "smoothl1_param" if message.HasField("smoothl1_param") else ""

    def check(self) -> None:
        if not 0 < self.p.turn_point < float("inf"):
            raise self.error(f"turn_point must be positive. Received: {number(self.p.turn_point)}", "turn_point")

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_shapes(*x)
        return [()]

    def code(self, node: Node) -> Code:
        if self.p.turn_point == 1:
            return Code('F.smooth_l1_loss({0}, {1}, reduction="sum") / {0}.shape[0]')
        return Code(f"turning_smooth_l1_loss({{0}}, {{1}}, {number(self.p.turn_point)})")


class SmoothL1LossOHEM(_BoxLoss, type="SmoothL1LossOHEM"):
    """loss = sum f(w (a - b)) / Z, of bottoms a, b and optionally w; f as SmoothL1Loss with sigma 1.

    A second top (N, 1, H, W) holds the sum over channels at each position, and takes no gradient. Z, by
    loss_param.normalization: FULL and VALID (the default) the positions N H W, BATCH_SIZE N, PRE_FIXED
    pre_fixed_normalizer, NONE 1; never less than 1. w is not multiplied into the gradient again.
    """

    differs = "The gradient lacks the factor w of the derivative."
    messages = ("loss_param",)
    forks: ClassVar[tuple[str, ...]] = ("rfcn", "bottom-up", "intel")
    fork_fields = FORK_FIELDS
    bottoms = (2, 3)
    tops_allowed = (1, 2)

    def check(self) -> None:
        if self.tops == 2 and len(self.definition.message.loss_weight) != 2:
            hint = "loss_weight: 1 loss_weight: 0"
            raise self.error("with two tops loss_weight must be given for both", "loss_weight", hint)

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_shapes(*x)
        if len(x[0]) not in (2, 4):
            raise self.error(f"needs bottoms of 2 or 4 axes. Received: {x[0]}", "bottom[0]")
        n, _, h, w = (*x[0], 1, 1)[:4]
        return [(), (n, 1, h, w)][: max(1, self.tops)]

    def code(self, node: Node) -> Code:
        weight = ", {2}" if len(node.inputs) == 3 else ""
        options = arguments(**loss_divisor_options(self), by_position=True if self.tops == 2 else None)
        return Code(f"smooth_l1_loss_ohem({{0}}, {{1}}{weight}{options})")


class RFCNSmoothL1Loss(SmoothL1LossOHEM):
    """R-FCN: SmoothL1LossOHEM under the older name."""

    forks = ("rfcn",)

    @classmethod
    def evidence(cls, message: Any) -> str:
        if len(message.bottom) == 3:
            return "three bottoms"
        return "two tops" if len(message.top) == 2 else "loss_param" * message.HasField("loss_param")


class SmoothL1Loss(
    Variants, type="SmoothL1Loss", variants=(WeighedSmoothL1Loss, RFCNSmoothL1Loss, TurningSmoothL1Loss)
):
    """The smooth L1 distance of bottoms 0 and 1 over the items: Fast R-CNN's and SSD's, R-FCN's, or caffe-windows'."""

    differs = f"{WeighedSmoothL1Loss.differs} @rfcn: {RFCNSmoothL1Loss.differs} @windows: {TurningSmoothL1Loss.differs}"
    otherwise = WeighedSmoothL1Loss
