"""Reduction and ArgMax: from many values to few."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, number

SUM, ASUM, SUMSQ, MEAN = range(1, 5)

_OPERATIONS = {SUM: "{0}.sum(", ASUM: "{0}.abs().sum(", SUMSQ: "{0}.square().sum(", MEAN: "{0}.mean("}


class Reduction(Layer, type="Reduction", param="reduction_param"):
    """y = coeff times the sum (SUM), the sum of magnitudes (ASUM) or of squares (SUMSQ), or the mean (MEAN), over all
    axes from `axis` on."""

    def shapes(self, *x: Shape) -> list[Shape]:
        return [x[0][: self.axis(self.p.axis, x[0])]]

    def code(self, node: Node) -> Code:
        x, coeff = node.inputs[0].shape, self.p.coeff
        axes = tuple(range(self.axis(self.p.axis, x), len(x)))
        inner = "" if len(axes) == len(x) else str(axes[0]) if len(axes) == 1 else repr(axes)
        text = f"{_OPERATIONS[self.p.operation]}{inner})"
        return Code(text if coeff == 1 else f"{number(coeff)} * {text}")


class ArgMax(Layer, type="ArgMax", param="argmax_param"):
    """The indices of the `top_k` largest values, in descending order; of equal values the larger index comes first.

    With `axis`: along it, and with out_max_val the values in place of the indices. Without: over everything behind the
    first axis, top (N, 1, top_k), or (N, 2, top_k) with the values behind the indices where out_max_val; a bottom of
    more than 3 axes gets a top of as many.
    """

    differs = (
        "Of equal values the larger index comes first, so the values are sorted backwards; torch.topk leaves the "
        "order of ties open."
    )

    differentiable = False

    def shapes(self, *x: Shape) -> list[Shape]:
        has_axis = self.p.HasField("axis")
        axis = self.axis(self.p.axis, x[0]) if has_axis else 0
        if not x[0]:
            raise self.error("needs a bottom of at least one axis", "bottom")
        count = x[0][axis] if has_axis else prod(x[0][1:])
        if not 1 <= self.p.top_k <= count:
            text = f"top_k must lie in [1, {count}] for a bottom of shape {x[0]}. Received: {self.p.top_k}"
            raise self.error(text, "top_k")
        if has_axis:
            return [(*x[0][:axis], self.p.top_k, *x[0][axis + 1 :])]
        return [(x[0][0], 1 + self.p.out_max_val, self.p.top_k, *(1,) * (len(x[0]) - 3))]

    def code(self, node: Node) -> Code:
        x, k, values = node.inputs[0].shape, self.p.top_k, self.p.out_max_val
        if self.p.HasField("axis"):
            axis = self.axis(self.p.axis, x)
            if values:
                return Code(f"{{0}}.amax({axis}, keepdim=True)" if k == 1 else f"{{0}}.topk({k}, {axis}).values")
            return Code(f"top_indices({{0}}, {k}, {axis})")
        flat = "{0}[:, None]" if len(x) == 1 else "{0}" if len(x) == 2 else "{0}.flatten(1)"
        behind = ", None" * (len(x) - 3)
        if not values:
            return Code(f"top_indices({flat}, {k}, 1)[:, None{', :' if behind else ''}{behind}]")
        pair = f"torch.stack([top_indices({flat}, {k}, 1), {flat}.topk({k}, 1).values], 1)"
        return Code(f"{pair}[...{behind}]" if behind else pair)
