"""LRN: local response normalisation."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless
from proto2torch.layers.in_place import refuse_gradient_in_place

_ACROSS = 0


class LRN(Layer, type="LRN", param="lrn_param"):
    """Divides each value by what its neighbours' energy says.

    ACROSS_CHANNELS: y = x (k + alpha / n * sum of x² over n channels around it) ^ -beta.
    WITHIN_CHANNEL: y = x (1 + alpha / n² * sum of x² over the n x n window around it) ^ -beta; Caffe ignores k there.
    """

    differs = (
        "Across channels the formula is torch's, computed several times faster. Within a channel a function of its "
        "own divides by the window's size everywhere and ignores k, as Caffe does. Training in place is refused: "
        "Caffe reads what it has overwritten."
    )

    allows_inplace = True
    backward_reads = frozenset({"bottom", "top"})

    def check(self) -> None:
        if self.p.local_size % 2 == 0:
            raise self.error(f"local_size must be odd. Received: {self.p.local_size}", "local_size")

    def shapes(self, *x: Shape) -> list[Shape]:
        if len(x[0]) != 4:
            raise self.error(f"needs a bottom of 4 axes. Received: {x[0]}", "bottom")
        return [x[0]]

    def code(self, node: Node) -> Code:
        refuse_gradient_in_place(self, node)
        p = self.p
        if p.norm_region == _ACROSS:
            values = call("", p.local_size, alpha=p.alpha, beta=unless(0.75, p.beta), k=unless(1, p.k))
            if node.plain or p.alpha < 0 or p.k <= 0:  # ours takes a logarithm of what then may not be positive
                return Code("{me}({0})", f"nn.LocalResponseNorm{values}")
            return Code(f"across_channels_lrn({{0}}, {values[1:-1]})")
        size = f"{p.local_size}, {call('', p.alpha, p.beta)[1:-1]}"
        return Code(f"within_channel_lrn({{0}}, {size})")
