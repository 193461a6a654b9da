"""MVN: mean and variance normalisation."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, Raw, call, unless
from proto2torch.layers.in_place import refuse_gradient_in_place


class MVN(Layer, type="MVN", param="mvn_param"):
    """y = (x - mean) / (sqrt(biased variance) + eps) over each plane, or over each item with across_channels.

    Without normalize_variance y = x - mean. The gradient is (dy - mean(dy) - y mean(dy y)) / (sqrt(variance) + eps),
    which leaves eps out of the derivative. The top has 4 axes, those that the bottom lacks being 1.
    """

    differs = (
        "eps is added to the deviation, behind the root, and is left out of the derivative, which F.layer_norm does"
        " otherwise. The top has 4 axes. Training in place is refused."
    )

    allows_inplace = True
    backward_reads = frozenset({"top"})

    def shapes(self, *x: Shape) -> list[Shape]:
        if len(x[0]) > 4:
            raise self.error(f"needs a bottom of 4 axes at most. Received: {x[0]}", "bottom")
        if self.inplace and len(x[0]) < 4:
            raise self.error(f"in place it needs a bottom of 4 axes. Received: {x[0]}", "bottom")
        return [(*x[0], *(1,) * (4 - len(x[0])))]

    def code(self, node: Node) -> Code:
        missing = 4 - len(node.inputs[0].shape)
        place = f"{{0}}[...{', None' * missing}]" if missing else "{0}"
        axes = (1, 2, 3) if self.p.across_channels else (2, 3)
        if not self.p.normalize_variance:
            return Code(f"{place} - {place}.mean({axes}, keepdim=True)")
        refuse_gradient_in_place(self, node)
        eps = unless(1e-9, self.p.eps)
        arguments = call("", Raw(place), axes=axes if self.p.across_channels else None, eps=eps)
        return Code(f"mean_variance_normalized{arguments}")
