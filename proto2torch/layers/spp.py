"""SPP: spatial pyramid pooling."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer
from proto2torch.layers.pooling import MAX, STOCHASTIC, Window


class SPP(Layer, type="SPP", param="spp_param"):
    """Pools its bottom into 1, 2, 4 … windows a side, and lays what each level gives behind one another.

    Of level l, with b = 2^l windows a side: kernel = stride = ceil(extent / b), pad = (b kernel - extent + 1) / 2
    rounded down. Top (N, values), or (N, C, 1, 1) for a single level.
    """

    differs = "Its windows are worked out in the forward, from the bottom's extent."

    def check(self) -> None:
        if self.p.pool == STOCHASTIC:
            raise self.refuse("STOCHASTIC pooling in a pyramid is not supported", "pool")
        if not 0 < self.p.pyramid_height < 31:
            raise self.error(f"pyramid_height must lie in [1, 30]. Received: {self.p.pyramid_height}", "pyramid_height")

    def shapes(self, *x: Shape) -> list[Shape]:
        if len(x[0]) != 4 or 0 in x[0][2:]:
            raise self.error(f"pools the last two of 4 axes. Received: a bottom of shape {x[0]}", "bottom")
        sizes = [self._level(x[0], level) for level in range(self.p.pyramid_height)]
        if len(sizes) == 1:
            return [(*x[0][:2], *sizes[0])]
        return [(x[0][0], x[0][1] * sum(h * w for h, w in sizes))]

    def _level(self, x: Shape, level: int) -> tuple[int, int]:
        bins = 2**level
        h, w = (-(-extent // bins) for extent in x[2:])
        pad = ((h * bins - x[2] + 1) // 2, (w * bins - x[3] + 1) // 2)
        if pad[0] >= h or pad[1] >= w:
            raise self.error(
                f"a bottom of shape {x} is too small for {bins} windows a side: the pad {pad} must be smaller than the "
                f"kernel {(h, w)}",
                "pyramid_height",
            )
        return Window((h, w), (h, w), pad, ceil=True).extents(x)

    def code(self, node: Node) -> Code:
        maximum = self.p.pool == MAX
        if self.p.pyramid_height == 1:
            return Code(f"F.adaptive_{'max' if maximum else 'avg'}_pool2d({{0}}, 1)")
        return Code(f"{'max' if maximum else 'average'}_pyramid({{0}}, {self.p.pyramid_height})")
