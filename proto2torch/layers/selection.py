"""The layers that copy parts: Slice, Crop, Tile, BatchReindex, Filter."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer
from proto2torch.prototxt.document import LayerDefinition


class Slice(Layer, type="Slice", param="slice_param"):
    """Cuts its bottom along `axis` (or the older slice_dim), before each slice_point, or into equal parts."""

    tops_allowed = (1, None)

    def shares_memory(self) -> bool:
        return self.tops == 1

    def _axis(self, x: Shape) -> int:
        if self.p.HasField("slice_dim"):
            if self.p.HasField("axis"):
                raise self.error("give either axis or slice_dim, not both", "slice_dim")
            return self.axis(self.p.slice_dim, x, "slice_dim")
        return self.axis(self.p.axis, x)

    def check(self) -> None:
        points = list(self.p.slice_point)
        if not points:
            return
        if len(points) != self.tops - 1:
            raise self.error(
                f"needs one slice_point less than tops: {self.tops - 1}. Received: {len(points)}", "slice_point"
            )
        if any(b <= a for a, b in zip([0, *points], points, strict=False)):
            raise self.error(f"slice_point must rise, from above 0 on. Received: {points}", "slice_point")

    def shapes(self, *x: Shape) -> list[Shape]:
        axis = self._axis(x[0])
        extent, points = x[0][axis], list(self.p.slice_point)
        if points and (points[-1] > extent or self.tops > extent):
            raise self.error(
                f"slice_point must lie within axis {axis} of a bottom of shape {x[0]}. Received: {points}",
                "slice_point",
            )
        if not points and extent % self.tops:
            raise self.error(f"{self.tops} tops must divide axis {axis} of a bottom of shape {x[0]}", "top")
        ends = [*points, extent] if points else [extent // self.tops * (i + 1) for i in range(self.tops)]
        sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        return [(*x[0][:axis], size, *x[0][axis + 1 :]) for size in sizes]

    def code(self, node: Node) -> Code:
        axis, points = self._axis(node.inputs[0].shape), list(self.p.slice_point)
        if self.tops == 1:
            return Code("{0}")
        if not points:
            return Code(f"{{0}}.chunk({self.tops}, {axis})")
        return Code(f"{{0}}.tensor_split({points}, {axis})")


class Crop(Layer, type="Crop", param="crop_param"):
    """The part of bottom 0 that begins at `offset` and has the extents of bottom 1 from `axis` on.

    offset: none for 0, one for all cropped axes, or one each. Bottom 1 gives its shape, and gets no gradient.
    """

    bottoms = (2, 2)

    def _offsets(self, x: Shape) -> tuple[int, list[int]]:
        axis, given = self.axis(self.p.axis, x), list(self.p.offset)
        cropped = len(x) - axis
        if len(given) not in (0, 1, cropped):
            raise self.error(
                f"offset must be given once, or once for each of {cropped} cropped axes. Received: {given}", "offset"
            )
        return axis, given if len(given) == cropped else (given or [0]) * cropped

    def shapes(self, *x: Shape) -> list[Shape]:
        axis, offsets = self._offsets(x[0])
        if len(x[1]) < len(x[0]):
            raise self.error(f"bottom 1 must have the axes of bottom 0, {x[0]}. Received: {x[1]}", "bottom[1]")
        extents = x[1][axis : len(x[0])]
        for i, (offset, extent) in enumerate(zip(offsets, extents, strict=True)):
            if offset + extent > x[0][axis + i]:
                raise self.error(
                    f"{extent} from offset {offset} on lie beyond axis {axis + i} of bottom 0, which has shape {x[0]}",
                    "offset" if offset else "bottom[1]",
                )
        return [(*x[0][:axis], *extents)]

    def code(self, node: Node) -> Code:
        axis, offsets = self._offsets(node.inputs[0].shape)
        parts = [":"] * axis
        for i, offset in enumerate(offsets, axis):
            extent = f"{{1}}.shape[{i}]"
            parts.append(f"{offset} : {offset} + {extent}" if offset else f": {extent}")
        return Code(f"{{0}}[{', '.join(parts)}]")


class Tile(Layer, type="Tile", param="tile_param"):
    """Repeats its bottom `tiles` times along `axis`."""

    def check(self) -> None:
        if self.p.tiles <= 0:
            raise self.error(f"tiles must be greater than zero. Received: {self.p.tiles}", "tiles")

    def shapes(self, *x: Shape) -> list[Shape]:
        axis = self.axis(self.p.axis, x[0])
        return [(*x[0][:axis], x[0][axis] * self.p.tiles, *x[0][axis + 1 :])]

    def code(self, node: Node) -> Code:
        x = node.inputs[0].shape
        repeats = [1] * len(x)
        repeats[self.axis(self.p.axis, x)] = self.p.tiles
        return Code("{0}" if self.p.tiles == 1 else f"{{0}}.repeat({', '.join(map(str, repeats))})")


class BatchReindex(Layer, type="BatchReindex"):
    """The items of bottom 0 that bottom 1 names, in its order; an index may come again or not at all."""

    bottoms = (2, 2)
    indices = (1,)

    def shapes(self, *x: Shape) -> list[Shape]:
        if not x[0] or len(x[1]) != 1:
            raise self.error(
                f"needs items, and indices of one axis. Received: bottoms of shape {x[0]} and {x[1]}", "bottom"
            )
        return [(*x[1], *x[0][1:])]

    def code(self, node: Node) -> Code:
        return Code("{0}.index_select(0, {1}.long())")


class Filter(Layer, type="Filter"):
    """Of every bottom but the last the items for which the last, the selector, is not 0."""

    differs = "How many items pass is known in the forward alone."

    bottoms = (2, None)
    tops_allowed = (1, None)

    def __init__(self, definition: LayerDefinition, phase: str) -> None:
        super().__init__(definition, phase)
        self.indices = (len(definition.message.bottom) - 1,)

    def check(self) -> None:
        wanted = len(self.definition.message.bottom) - 1
        if self.tops != wanted:
            raise self.error(f"needs a top for every bottom but the selector: {wanted}. Received: {self.tops}", "top")

    def shapes(self, *x: Shape) -> list[Shape]:
        selector = x[-1]
        if not selector or any(extent != 1 for extent in selector[1:]):
            raise self.error(
                f"the selector must hold one value an item. Received: shape {selector}", f"bottom[{len(x) - 1}]"
            )
        for i, other in enumerate(x[:-1]):
            if other[:1] != selector[:1]:
                raise self.error(f"needs {selector[0]} items, as the selector has. Received: {other}", f"bottom[{i}]")
        return list(x[:-1])

    def code(self, node: Node) -> Code:
        last = len(node.inputs) - 1
        flat = "" if len(node.inputs[last].shape) == 1 else ".flatten()"
        return Code(", ".join(f"{{{i}}}[{{{last}}}{flat} != 0]" for i in range(last)))
