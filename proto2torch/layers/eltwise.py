"""Eltwise: sum, product or maximum of equal shapes."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, number

PROD, SUM, MAX = range(3)


class Eltwise(Layer, type="Eltwise", param="eltwise_param"):
    """SUM: sum of coeff_i x_i. PROD: the product. MAX: the maximum, the gradient to the winner alone.

    Of the first two bottoms the second wins a tie; a later one wins only when it is strictly larger.
    With stable_prod_grad false the gradient of PROD is dy y / x_i, which is NaN where x_i is 0.
    """

    differs = (
        "Of MAX's first two bottoms the second wins a tie, and the gradient goes to the winner alone; torch.maximum"
        " shares it. An unstable PROD has Caffe's quotient as gradient. SUM in place, which Caffe computes wrongly,"
        " is refused."
    )

    bottoms = (2, None)

    def check(self) -> None:
        coeff = self.p.coeff
        count = len(self.definition.message.bottom)
        if coeff and len(coeff) != count:
            text = f"coeff must be given for every bottom or for none: {count} times. Received: {len(coeff)}"
            raise self.error(text, "coeff")
        if coeff and self.p.operation == PROD:
            raise self.error("coeff holds for SUM, not for PROD", "coeff")

    @property
    def backward_reads(self) -> frozenset[str]:  # type: ignore[override]
        """The quotient of the unstable product reads the top."""
        unstable = self.p.operation == PROD and not self.p.stable_prod_grad
        return frozenset({"top"}) if unstable else frozenset()

    def shapes(self, *x: Shape) -> list[Shape]:
        for i, other in enumerate(x):
            if other != x[0]:
                text = f"every bottom must have the shape of the first, {x[0]}. Received: {other}"
                raise self.error(text, f"bottom[{i}]")
        return [x[0]]

    def code(self, node: Node) -> Code:
        places = [f"{{{i}}}" for i in range(len(node.inputs))]
        if self.p.operation == PROD:
            if not self.p.stable_prod_grad:
                return Code(f"unstable_product({', '.join(places)})")
            return Code(" * ".join(places))
        if self.p.operation == MAX:
            return Code(f"winner_takes_all({', '.join(places)})")
        return Code(_sum(places, list(self.p.coeff) or [1.0] * len(places)))


def _sum(places: list[str], coeffs: list[float]) -> str:
    text = ""
    for place, coeff in zip(places, coeffs, strict=True):
        term = place if abs(coeff) == 1 else f"{number(abs(coeff))} * {place}"
        negative = coeff < 0
        if not text:
            text = f"-{term}" if negative else term
        else:
            text += f" {'-' if negative else '+'} {term}"
    return text
