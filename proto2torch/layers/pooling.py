"""Pooling: the maximum or the mean of windows."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from proto2torch.ir.graph import Node, Shape
from proto2torch.ir.layout import CONTIGUOUS
from proto2torch.layers.base import Code, Layer, call, unless
from proto2torch.layers.geometry import both, positive
from proto2torch.layers.variants import understood

MAX, AVE, STOCHASTIC = range(3)
_CEIL = 0
_MANY = 16  # channels from which on it pays to lay them side by side


@dataclass(frozen=True)
class Window:
    """The geometry of one net: each field for height and width."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    ceil: bool

    def extents(self, x: Shape) -> tuple[int, int]:
        """round((in + 2 pad - kernel) / stride) + 1; with padding, a last window that would begin in the far padding
        is dropped. Without padding Caffe keeps even a window that begins beyond the bottom."""
        rounding = ceil if self.ceil else floor
        sides = list(zip(x[2:], self.kernel, self.stride, self.pad, strict=True))
        out = [rounding((n + 2 * p - k) / s) + 1 for n, k, s, p in sides]
        if any(self.pad):
            out = [o - ((o - 1) * s >= n + p) for o, (n, _, s, p) in zip(out, sides, strict=True)]
        return out[0], out[1]


class Pooling(Layer, type="Pooling", param="pooling_param"):
    """The maximum (MAX), mean (AVE) or a drawn element (STOCHASTIC) of each window.

    extent = ceil((in + 2 pad - kernel) / stride) + 1 (or floor, by round_mode); with padding, a window that would begin
    in the far padding is dropped. AVE divides by the window clipped to the padded bottom, so padding counts. A second
    top of MAX holds the index of each maximum in its plane, h W + w, and takes no gradient.
    """

    differs = (
        "nn.MaxPool and nn.AvgPool where they agree. Else a function of its own: windows that begin beyond an "
        "unpadded bottom stay (the lowest float32, or NaN for AVE), pads of more than half a kernel are legal, and "
        "STOCHASTIC is torch's nowhere. Of NaN the maximum is NaN, as in torch; Caffe passes over it."
    )

    tops_allowed = (1, 2)
    fork_fields = understood("pooling_param", "ceil_mode")

    def check(self) -> None:
        p = self.p
        if p.global_pooling:
            for field in ("kernel_size", "kernel_h", "kernel_w"):
                if p.HasField(field):
                    raise self.error("with global_pooling the kernel is the whole plane: leave it out", field)
            if self._pad() != (0, 0) or self._stride() != (1, 1):
                raise self.error("global_pooling needs pad 0 and stride 1", "global_pooling")
        if self.tops == 2 and p.pool != MAX:
            raise self.error("only MAX pooling has a second top, the mask", "top[1]")
        if p.pool == STOCHASTIC and any(self._pad()):
            raise self.error("STOCHASTIC pooling takes no padding", "pad")

    def _pad(self) -> tuple[int, int]:
        return both(self, "pad", "pad", 0)

    def _stride(self) -> tuple[int, int]:
        return both(self, "stride", "stride", 1)

    @property
    def _rounds_up(self) -> bool:
        """Caffe's round_mode, or where that is absent the older ceil_mode of a fork."""
        p = self.p
        return bool(p.round_mode == _CEIL if p.HasField("round_mode") else p.ceil_mode)

    def window(self, x: Shape) -> Window:
        """The window over a bottom of shape (N, C, H, W)."""
        if len(x) != 4:
            raise self.error(f"pools the last two of 4 axes. Received: a bottom of shape {x}", "bottom")
        if self.p.global_pooling:
            return Window((x[2], x[3]), (1, 1), (0, 0), True)
        kernel = both(self, "kernel_size", "kernel", None)
        window = Window(kernel, self._stride(), self._pad(), self._rounds_up)
        positive(self, "kernel_size", window.kernel)
        positive(self, "stride", window.stride)
        if any(p >= k for p, k in zip(window.pad, window.kernel, strict=True)):
            raise self.error(f"pad must be smaller than the kernel {window.kernel}. Received: {window.pad}", "pad")
        return window

    def shapes(self, *x: Shape) -> list[Shape]:
        extents = self.window(x[0]).extents(x[0])
        if min(extents) <= 0:
            text = f"the kernel is larger than the padded bottom {x[0]}: the top would be {extents}"
            raise self.error(text, "kernel_size")
        return [(*x[0][:2], *extents)] * max(1, self.tops)

    def absorbs_extent(self) -> bool:
        return bool(self.p.global_pooling)

    def code(self, node: Node) -> Code:
        x, window = node.inputs[0].shape, self.window(node.inputs[0].shape)
        if self.p.pool == STOCHASTIC:
            return self._stochastic(window)
        maximum = self.p.pool == MAX
        if self.tops == 2:
            return Code(f"max_pool_with_mask({{0}}, {self._arguments(window)})")
        if self.p.global_pooling:
            return Code(f"F.adaptive_{'max' if maximum else 'avg'}_pool2d({{0}}, 1)")
        if not self._torch_has_it(x, window):
            return Code(f"caffe_{'max' if maximum else 'average'}_pool({{0}}, {self._arguments(window)})")
        ours = node.memory_format == CONTIGUOUS and not node.plain and x[1] >= _MANY
        function = f"{'' if ours else 'F.'}max_pool2d({{0}}, " if maximum else "F.avg_pool2d({0}, "
        rounded = window.ceil and not (node.pinned and _divides(x, window))
        return Code(
            call(
                "",
                window.kernel,
                stride=unless(_collapsed(window.kernel), window.stride),
                padding=unless(0, window.pad),
                ceil_mode=True if rounded else None,
            ).replace("(", function, 1)
        )

    def _arguments(self, window: Window) -> str:
        return call("", window.kernel, window.stride, window.pad, ceil_mode=window.ceil)[1:-1]

    @staticmethod
    def _torch_has_it(x: Shape, window: Window) -> bool:
        """torch pads by half a kernel at most, and always drops a window that begins beyond the bottom."""
        narrow = all(2 * p <= k for p, k in zip(window.pad, window.kernel, strict=True))
        return narrow and (any(window.pad) or all(s <= k for s, k in zip(window.stride, window.kernel, strict=True)))

    def _stochastic(self, window: Window) -> Code:
        training = "True" if self.phase == "TRAIN" else "False"
        return Code(f"stochastic_pool({{0}}, {self._arguments(window)}, training={training})")


def _divides(x: Shape, window: Window) -> bool:
    """Whether floor and ceil give the same extents here."""
    return Window(window.kernel, window.stride, window.pad, False).extents(x) == window.extents(x)


def _collapsed(pair: tuple[int, int]) -> int | tuple[int, int]:
    return pair[0] if pair[0] == pair[1] else pair
