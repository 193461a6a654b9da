"""PriorBox: the boxes that SSD starts from, at every cell of a feature map."""

from __future__ import annotations

import math

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, call, number, unless
from proto2torch.layers.variants import understood

_FIELDS = "min_size max_size aspect_ratio flip clip variance img_size img_h img_w step step_h step_w offset"
_SAME_RATIO = 1e-6


class PriorBox(Layer, type="PriorBox", param="prior_box_param"):
    """Boxes (1, 2, rows * columns * B * 4), B a cell: corners as shares of the image in channel 0, variances in 1.

    At a cell's centre, (column + offset) * step: for each min_size its square, the square of sqrt(min * max) where
    there is a max_size, then for each aspect ratio but 1 a box of width min * sqrt(ratio) and height
    min / sqrt(ratio). `flip` adds each ratio's reciprocal. step is image by feature map unless it is given.
    """

    differs = (
        "min_size and max_size are cut to whole numbers, as in the fork. The boxes are made once, with the module."
    )

    bottoms = (2, 2)
    forks = ("ssd", "refinedet", "yolo", "nvidia", "intel", "synopsys")
    fork_fields = understood("prior_box_param", *_FIELDS.split())

    def check(self) -> None:
        p = self.p
        if not p.min_size:
            raise self.error("needs min_size", "min_size")
        for field in ("min_size", "max_size", "aspect_ratio", "variance"):
            bad = [value for value in getattr(p, field) if not 0 < value < math.inf]
            if bad:
                raise self.error(f"{field} must be positive. Received: {number(bad[0])}", field)
        for field, values in (("min_size", self._sides(p.min_size)), ("max_size", self._sides(p.max_size))):
            if 0 in values:
                raise self.error(f"{field} is cut to a whole number, which must not be 0", field)
        self._check_pairs()
        self._check_sizes()

    def _check_pairs(self) -> None:
        least, most = self._sides(self.p.min_size), self._sides(self.p.max_size)
        if most and len(most) != len(least):
            raise self.error(f"needs a max_size for each of {len(least)} min_size. Received: {len(most)}", "max_size")
        for small, large in zip(least, most, strict=False):
            if large <= small:
                raise self.error(f"max_size must be larger than min_size {small}. Received: {large}", "max_size")
        if len(self.p.variance) not in (0, 1, 4):
            raise self.error(f"needs one variance, or four. Received: {len(self.p.variance)}", "variance")

    def _check_sizes(self) -> None:
        for square, pair in (("img_size", ("img_h", "img_w")), ("step", ("step_h", "step_w"))):
            given = [name for name in pair if self.p.HasField(name)]
            if self.p.HasField(square) and given:
                raise self.error(f"takes {square}, or {pair[0]} and {pair[1]}. Received: both", square)
            if len(given) == 1:
                raise self.error(f"takes {pair[0]} and {pair[1]} together. Received: {given[0]} alone", given[0])
            for name in (square, *pair):
                if self.p.HasField(name) and not 0 < getattr(self.p, name) < math.inf:
                    raise self.error(f"{name} must be positive. Received: {number(getattr(self.p, name))}", name)

    def shapes(self, *x: Shape) -> list[Shape]:
        for i, shape in enumerate(x):
            if len(shape) != 4:
                raise self.error(f"needs a bottom of four axes. Received: {shape}", f"bottom[{i}]")
        boxes = len(self.p.min_size) * len(self._ratios()) + len(self.p.max_size)
        return [(1, 2, x[0][2] * x[0][3] * boxes * 4)]

    def code(self, node: Node) -> Code:
        features, image = (value.shape for value in node.inputs)
        grid, size = features[2:], self._pair("img_size", "img_h", "img_w", int)
        made = call(
            "PriorBoxes",
            grid,
            image[2:] if size is None else size,
            self._sides(self.p.min_size),
            max_size=self._sides(self.p.max_size) or None,
            ratios=unless([1], self._ratios()),
            variances=unless([0.1], list(self.p.variance) or [0.1]),
            step=self._pair("step", "step_h", "step_w", float),
            offset=unless(0.5, self.p.offset),
            clip=unless(False, self.p.clip),
        )
        return Code("{me}({0})" if size is not None else "{me}({0}, {1})", made)

    def _sides(self, values: list[float]) -> list[int]:
        return [int(value) for value in values]

    def _ratios(self) -> list[float]:
        """1 and the given ratios, each followed by its reciprocal where `flip` says so, none of them twice."""
        ratios = [1.0]
        for ratio in self.p.aspect_ratio:
            if all(abs(ratio - known) >= _SAME_RATIO for known in ratios):
                ratios += [ratio, 1 / ratio] if self.p.flip else [ratio]
        return ratios

    def _pair(self, square: str, first: str, second: str, kind: type) -> tuple[float, float] | None:
        if self.p.HasField(square):
            return (kind(getattr(self.p, square)),) * 2
        if self.p.HasField(first):
            return kind(getattr(self.p, first)), kind(getattr(self.p, second))
        return None
