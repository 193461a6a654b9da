"""The losses of face recognition: CenterLoss, TripletLoss, and MarginInnerProduct with its margin on angles."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call, number, unless
from proto2torch.layers.loss import Loss
from proto2torch.layers.variants import Variants, fields_given, understood


class _Labelled(Layer):
    """Items of K values, everything from `axis` on, a label each, and a learned vector of K for each of num_output."""

    def check(self) -> None:
        if not self.p.num_output:
            raise self.error("needs num_output greater than zero", "num_output")

    def width(self, x: Shape) -> int:
        """K."""
        return prod(x[self.axis(self.p.axis, x) :])

    def items(self, *x: Shape) -> Shape:
        """The axes of the items, for each of which there must be a label."""
        items = x[0][: self.axis(self.p.axis, x[0])]
        if prod(x[1]) != prod(items):
            raise self.error(f"needs one label for each of {prod(items)} items. Received: {x[1]}", "bottom[1]")
        return items

    def fixes_extent(self) -> bool:
        return True


class FaceCenterLoss(_Labelled, Loss, param="center_loss_param"):
    """loss = sum |x_i - c_label|^2 / (2 N), the distance to the learned centre of the label's class.

    Blob: the centres (num_output, K), K everything from `axis` on. A centre's gradient is -sum d_i / (1 + n) over its n
    items, neither divided by N nor multiplied by the loss's weight: lr_mult is the centres' whole rate.
    """

    differs = "The centres' gradient is a rule of its own, and not the derivative."
    forks: ClassVar[tuple[str, ...]] = ("face", "sphereface")
    fork_fields = understood("center_loss_param", "num_output", "center_filler", "axis")

    def shapes(self, *x: Shape) -> list[Shape]:
        self.items(*x)
        return [()]

    def blobs(self, *x: Shape) -> list[Blob]:
        return [Blob("weight", (self.p.num_output, self.width(x[0])), self.p.center_filler)]

    def code(self, node: Node) -> Code:
        return Code("{me}({0}, {1})", call("CenterLoss", self.p.num_output, self.width(node.inputs[0].shape)))


class WindowsCenterLoss(FaceCenterLoss, param="center_loss_param"):
    """The same with distance_type L1, sum |d| / N, or L2; the centres' gradient is n times as large."""

    forks = ("windows",)
    fork_fields = FaceCenterLoss.fork_fields | understood("center_loss_param", "distance_type")

    @classmethod
    def evidence(cls, message: Any) -> str:
        return fields_given(message, "center_loss_param", "distance_type")

    def check(self) -> None:
        super().check()
        if self.p.distance_type not in ("L1", "L2"):
            raise self.error(f"distance_type is L2 or L1. Received: {self.p.distance_type!r}", "distance_type")

    def code(self, node: Node) -> Code:
        width, power = self.width(node.inputs[0].shape), 1 if self.p.distance_type == "L1" else None
        return Code("{me}({0}, {1})", call("CenterLoss", self.p.num_output, width, power=power, repeated=True))


class CenterLoss(Variants, type="CenterLoss", variants=(FaceCenterLoss, WindowsCenterLoss)):
    """The distance of features to a learned centre of their class; caffe-windows' where distance_type is given."""

    differs = FaceCenterLoss.differs
    otherwise = FaceCenterLoss


class TripletLoss(Loss, type="TripletLoss", param="triplet_loss_param"):
    """loss = sum max(margin + |a - p|^2 - |a - n|^2, 0) / (2 N), of bottoms a, p and n."""

    forks = ("windows",)
    fork_fields = understood("triplet_loss_param", "margin")
    bottoms = (3, 3)
    labels = ()

    def shapes(self, *x: Shape) -> list[Shape]:
        for i, shape in enumerate(x):
            if shape != x[0] or not shape:
                raise self.error(f"needs three bottoms of one shape, {x[0]}. Received: {shape}", f"bottom[{i}]")
        return [()]

    def code(self, node: Node) -> Code:
        margin = f", margin={number(self.p.margin)}" if self.p.margin != 1 else ""
        return Code(f"triplet_loss({{0}}, {{1}}, {{2}}{margin})")


class MarginInnerProduct(_Labelled, type="MarginInnerProduct", param="margin_inner_product_param"):
    """SphereFace: scores W x, the label's |x| psi(cos) in place of |x| cos, mixed with lambda times the plain scores.

    `type` is the multiple m of the angle, SINGLE to QUADRUPLE. Every forward, in TEST too, first sets each row of the
    stored W to unit length and counts on from `iteration`; lambda = max(base (1 + gamma it)^-power, lambda_min), which
    is top 1, of shape (1). Blob: W (num_output, K), K everything from `axis` on.
    """

    differs = (
        "Its gradient is a rule of its own: W's is that of a plain product, and the label's direction has unit length. "
        "Forwards change W; their count is in no snapshot."
    )
    forks = ("sphereface", "windows")
    fork_fields = understood(
        "margin_inner_product_param",
        *("num_output", "type", "weight_filler", "axis", "base", "gamma", "power", "iteration", "lambda_min"),
    )
    bottoms = (2, 2)
    tops_allowed = (2, 2)
    labels = (1,)

    def shapes(self, *x: Shape) -> list[Shape]:
        return [(*self.items(*x), self.p.num_output), (1,)]

    def blobs(self, *x: Shape) -> list[Blob]:
        return [Blob("weight", (self.p.num_output, self.width(x[0])), self.p.weight_filler)]

    def multiply_adds(self, *x: Shape) -> int:
        """Every score sums K products."""
        return prod(self.shapes(*x)[0]) * self.width(x[0])

    def code(self, node: Node) -> Code:
        p, x = self.p, node.inputs[0].shape
        axis = self.axis(p.axis, x)
        module = call(
            "MarginInnerProduct",
            self.width(x),
            p.num_output,
            multiple=unless(1, p.type + 1),
            base=unless(1, p.base),
            gamma=unless(0, p.gamma),
            power=unless(1, p.power),
            iteration=unless(0, p.iteration),
            least=unless(0, p.lambda_min),
        )
        flat = f".flatten({axis})" if axis < len(x) - 1 else ""
        return Code(f"{{me}}({{0}}{flat}, {{1}})", module, stateful=True)
