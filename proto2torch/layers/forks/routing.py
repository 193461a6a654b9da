"""Permute, Reorg, ShuffleChannel, Flip and Axpy: values in another order, and a sum of weighed planes."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer
from proto2torch.layers.geometry import check_planes
from proto2torch.layers.variants import understood


class Permute(Layer, type="Permute", param="permute_param"):
    """Axis i of the top is axis order[i] of the bottom; axes that `order` leaves out follow in their own order."""

    forks = ("ssd", "refinedet", "mobilenet-ssd", "yolo", "crnn", "nvidia", "intel", "synopsys", "windows")
    fork_fields = understood("permute_param", "order")

    def check(self) -> None:
        order = list(self.p.order)
        if len(set(order)) < len(order):
            raise self.error(f"each axis may stand in order once. Received: {order}", "order")

    def _order(self, x: Shape) -> tuple[int, ...]:
        order = list(self.p.order)
        if any(axis >= len(x) for axis in order):
            text = f"order names the {len(x)} axes of a bottom of shape {x}, 0 to {len(x) - 1}. Received: {order}"
            raise self.error(text, "order")
        return (*order, *(axis for axis in range(len(x)) if axis not in order))

    def shapes(self, *x: Shape) -> list[Shape]:
        return [tuple(x[0][axis] for axis in self._order(x[0]))]

    def code(self, node: Node) -> Code:
        order = self._order(node.inputs[0].shape)
        kept = order == tuple(range(len(order)))
        return Code("{0}" if kept else f"{{0}}.permute({', '.join(map(str, order))})")


class Reorg(Layer, type="Reorg", param="reorg_param"):
    """Darknet's reorganisation: the top has stride^2 times the channels, and height and width divided by stride.

    The flat buffer is read as if the bottom were (C / s^2, H s, W s), and written as if the top were (C, H, W): not
    space-to-depth. With `reverse` it is depth-to-space, the offset the slow part of the channel. The fork's backward
    permutes a buffer that nobody wrote: the gradient is 0, and what lies below does not learn.
    """

    differs = "Its gradient is 0, as in the forks, on a CPU and a GPU alike."
    forks = ("yolo", "intel", "synopsys")
    fork_fields = understood("reorg_param", "stride", "reverse")

    def check(self) -> None:
        if self.p.stride < 1:
            raise self.error(f"needs a stride greater than zero. Received: {self.p.stride}", "stride")

    def shapes(self, *x: Shape) -> list[Shape]:
        check_planes(self, x[0])
        n, c, h, w = x[0]
        s = self.p.stride
        if c % (s * s):
            raise self.error(f"the square of stride {s} must divide the channels. Received: {c}", "stride")
        if self.p.reverse:
            return [(n, c // (s * s), h * s, w * s)]
        if h % s or w % s:
            raise self.error(f"stride {s} must divide height and width. Received: {h} and {w}", "stride")
        return [(n, c * s * s, h // s, w // s)]

    def code(self, node: Node) -> Code:
        return Code(f"{'reorg_back' if self.p.reverse else 'reorg'}({{0}}, {self.p.stride}).detach()")


class ShuffleChannel(Layer, type="ShuffleChannel", param="shuffle_channel_param"):
    """The channels of `group` groups dealt out in turn: one of each, then the next of each (ShuffleNet)."""

    forks = ("shufflenet", "synopsys")
    fork_fields = understood("shuffle_channel_param", "group")

    def check(self) -> None:
        if not self.p.group:
            raise self.error("group must be greater than zero. Received: 0", "group")

    def shapes(self, *x: Shape) -> list[Shape]:
        if len(x[0]) < 2 or x[0][1] % self.p.group:
            raise self.error(f"group {self.p.group} must divide the channels of a bottom of shape {x[0]}", "group")
        return [x[0]]

    def code(self, node: Node) -> Code:
        group, channels = self.p.group, node.inputs[0].shape[1]
        if group in (1, channels):
            return Code("{0}")
        return Code(f"{{0}}.unflatten(1, ({group}, {channels // group})).transpose(1, 2).flatten(1, 2)")


class Flip(Layer, type="Flip", param="flip_param"):
    """Mirrors the columns with flip_width (the default), the rows with flip_height."""

    forks = ("windows",)
    fork_fields = understood("flip_param", "flip_width", "flip_height")

    def shapes(self, *x: Shape) -> list[Shape]:
        check_planes(self, x[0])
        return [x[0]]

    def code(self, node: Node) -> Code:
        axes = [axis for axis, given in ((2, self.p.flip_height), (3, self.p.flip_width)) if given]
        return Code(f"{{0}}.flip({', '.join(map(str, axes))})" if axes else "{0}")


class Axpy(Layer, type="Axpy"):
    """a x + y plane by plane: bottom 0 has a number for each plane of bottoms 1 and 2 (SENet)."""

    forks = ("senet",)
    bottoms = (3, 3)

    def shapes(self, *x: Shape) -> list[Shape]:
        a, planes = x[0], x[1]
        if len(planes) != 4 or planes != x[2]:
            text = f"bottoms 1 and 2 must be planes of one shape. Received: {x[1]} and {x[2]}"
            raise self.error(text, "bottom[2]" if len(planes) == 4 else "bottom[1]")
        if a not in (planes[:2], (*planes[:2], 1, 1)):
            text = f"needs a number for each plane of {planes}, shape {(*planes[:2], 1, 1)}. Received: {a}"
            raise self.error(text, "bottom[0]")
        return [planes]

    def code(self, node: Node) -> Code:
        flat = len(node.inputs[0].shape) == 2
        return Code(f"{'{0}[:, :, None, None]' if flat else '{0}'} * {{1}} + {{2}}")
