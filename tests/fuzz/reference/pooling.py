"""Pooling, SPP and LRN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor

import numpy as np

from .base import Array, Layer, Shape, count, require

LOWEST = float(np.finfo(np.float32).min)
"""Where Caffe's maximum begins."""


class Windows:
    """The windows of a pooling over one plane; MAX, AVE and STOCHASTIC are Caffe's numbers."""

    MAX, AVE, STOCHASTIC = range(3)

    def __init__(self, plane: Shape, kernel: Shape, stride: Shape, pad: Shape, ceiling: bool) -> None:
        require(all(k > 0 for k in kernel) and all(s > 0 for s in stride), "kernel and stride")
        require(all(p < k for p, k in zip(pad, kernel, strict=True)), "pad must be smaller than the kernel")
        self.plane, self.kernel, self.stride, self.pad = plane, kernel, stride, pad
        rounding = ceil if ceiling else floor
        sides = list(zip(plane, kernel, stride, pad, strict=True))
        out = [rounding((n + 2 * p - k) / s) + 1 for n, k, s, p in sides]
        if any(pad):
            out = [o - 1 if (o - 1) * s >= n + p else o for o, (n, _, s, p) in zip(out, sides, strict=True)]
        require(all(o > 0 for o in out), "extent")
        self.out: Shape = tuple(out)

    def _side(self, axis: int, at: int) -> tuple[slice, int]:
        """The window along one axis: its part within the image, and its extent within the padded image."""
        n, k, s, p = (v[axis] for v in (self.plane, self.kernel, self.stride, self.pad))
        start = at * s - p
        return slice(max(start, 0), max(min(start + k, n), max(start, 0))), min(start + k, n + p) - start

    def __iter__(self) -> Iterator[tuple[int, int, slice, slice, int]]:
        """Each window: its place, its rows and columns in the image, and what AVE divides by."""
        for h, w in np.ndindex(*self.out):
            (rows, height), (columns, width) = self._side(0, h), self._side(1, w)
            yield h, w, rows, columns, height * width

    def maximum(self, x: Array) -> tuple[Array, Array]:
        """The maxima and their index h * W + w; -1 where a window is empty."""
        y = np.full((*x.shape[:2], *self.out), LOWEST)
        mask = np.full(y.shape, -1)
        for h, w, rows, columns, _ in self:
            part = x[:, :, rows, columns]
            if not part.size:
                continue
            flat = part.reshape(*x.shape[:2], -1)
            first = flat.argmax(-1)
            row, column = np.unravel_index(first, part.shape[2:])
            y[:, :, h, w] = flat.max(-1)
            mask[:, :, h, w] = (row + rows.start) * self.plane[1] + column + columns.start
        return y, mask

    def maximum_back(self, dy: Array, mask: Array) -> Array:
        dx = np.zeros((*dy.shape[:2], count(self.plane)))
        for n, c, h, w in np.ndindex(*dy.shape):
            if mask[n, c, h, w] >= 0:
                dx[n, c, mask[n, c, h, w]] += dy[n, c, h, w]
        return dx.reshape(*dy.shape[:2], *self.plane)

    def average(self, x: Array) -> Array:
        """The sum of what lies in the image over the extent of the window clipped to the padded image."""
        y = np.zeros((*x.shape[:2], *self.out))
        for h, w, rows, columns, size in self:
            y[:, :, h, w] = x[:, :, rows, columns].sum((2, 3)) / (size or np.nan)
        return y

    def average_back(self, dy: Array) -> Array:
        dx = np.zeros((*dy.shape[:2], *self.plane))
        for h, w, rows, columns, size in self:
            dx[:, :, rows, columns] += dy[:, :, h, w][..., None, None] / (size or np.nan)
        return dx

    def expected(self, x: Array) -> Array:
        """STOCHASTIC in TEST: the sum of squares over the sum."""
        y = np.zeros((*x.shape[:2], *self.out))
        for h, w, rows, columns, _ in self:
            part = x[:, :, rows, columns]
            total = part.sum((2, 3))
            y[:, :, h, w] = np.where(total > 0, (part**2).sum((2, 3)) / np.where(total > 0, total, 1), 0)
        return y


class Pooling(Layer, type="Pooling", param="pooling_param"):
    def _windows(self, x: Shape) -> Windows:
        p = self.p
        require(len(x) == 4, "4 axes")
        given = p.HasField("kernel_size") or p.HasField("kernel_h") or p.HasField("kernel_w")

        def pair(name: str, single: str) -> Shape:
            if p.HasField(f"{single}_h") or p.HasField(f"{single}_w"):
                require(not p.HasField(name), f"{name} and {single}_h")
                return getattr(p, f"{single}_h"), getattr(p, f"{single}_w")
            return (getattr(p, name),) * 2

        kernel, stride, pad = pair("kernel_size", "kernel"), pair("stride", "stride"), pair("pad", "pad")
        if p.global_pooling:
            require(not given and stride == (1, 1) and pad == (0, 0), "global_pooling")
            kernel = x[2:]
        require(p.pool != Windows.STOCHASTIC or pad == (0, 0), "STOCHASTIC with padding")
        return Windows(x[2:], kernel, stride, pad, ceiling=p.round_mode == 0)

    def tops(self, *x: Shape) -> list[Shape]:
        return [(*x[0][:2], *self._windows(x[0]).out)] * len(self.message.top)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return bool(self.p.pool == Windows.MAX)

    def forward(self, x: Array) -> tuple[Array, ...]:
        windows = self._windows(x.shape)
        if self.p.pool == Windows.AVE:
            return (windows.average(x),)
        if self.p.pool == Windows.STOCHASTIC:
            require(self.phase == "TEST", "the draws of STOCHASTIC are not the reference's")
            return (windows.expected(x),)
        y, self.kept = windows.maximum(x)
        return (y, self.kept.astype(float))[: len(self.message.top)]

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        windows = self._windows(x[0].shape)
        if self.p.pool == Windows.AVE:
            return windows.average_back(dy[0])
        require(self.p.pool == Windows.MAX, "no backward")
        return windows.maximum_back(dy[0], self.kept)


class SPP(Layer, type="SPP", param="spp_param"):
    """Poolings with 1, 2, 4 ... bins a side, flattened and joined."""

    def _levels(self, x: Shape) -> list[Windows]:
        require(len(x) == 4, "4 axes")
        levels = []
        for bins in [2**level for level in range(self.p.pyramid_height)]:
            kernel = tuple(-(-n // bins) for n in x[2:])
            pad = tuple((k * bins - n + 1) // 2 for k, n in zip(kernel, x[2:], strict=True))
            levels.append(Windows(x[2:], kernel, kernel, pad, ceiling=True))
        return levels

    def tops(self, *x: Shape) -> list[Shape]:
        levels = self._levels(x[0])
        if len(levels) == 1:
            return [(*x[0][:2], *levels[0].out)]
        return [(x[0][0], x[0][1] * sum(count(level.out) for level in levels))]

    def forward(self, x: Array) -> Array:
        self.kept, parts = [], []
        for level in self._levels(x.shape):
            if self.p.pool == Windows.MAX:
                y, mask = level.maximum(x)
                self.kept.append(mask)
            else:
                y = level.average(x)
            parts.append(y)
        return parts[0] if len(parts) == 1 else np.concatenate([y.reshape(len(y), -1) for y in parts], 1)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        dx, at, flat = np.zeros(x[0].shape), 0, dy[0].reshape(len(dy[0]), -1)
        for i, level in enumerate(self._levels(x[0].shape)):
            size = x[0].shape[1] * count(level.out)
            part = flat[:, at : at + size].reshape(*x[0].shape[:2], *level.out)
            at += size
            dx += level.maximum_back(part, self.kept[i]) if self.p.pool == Windows.MAX else level.average_back(part)
        return dx


class LRN(Layer, type="LRN", param="lrn_param"):
    ACROSS, WITHIN = range(2)

    def tops(self, *x: Shape) -> list[Shape]:
        require(len(x[0]) == 4 and self.p.local_size % 2 == 1, "4 axes, odd local_size")
        return [x[0]]

    def _sum(self, a: Array) -> Array:
        """The sum over the window: n channels, or n x n places of a plane."""
        half = (self.p.local_size - 1) // 2
        for axis in (1,) if self.p.norm_region == self.ACROSS else (2, 3):
            n = a.shape[axis]
            parts = [a.take(range(max(i - half, 0), min(i + half + 1, n)), axis).sum(axis) for i in range(n)]
            a = np.stack(parts, axis)
        return a

    def _scale(self, x: Array) -> Array:
        n = self.p.local_size
        if self.p.norm_region == self.ACROSS:
            return self.p.k + self.p.alpha / n * self._sum(x**2)
        return 1 + self.p.alpha / n**2 * self._sum(x**2)

    def forward(self, x: Array) -> Array:
        self.kept = self._scale(x)
        return x * self.kept**-self.p.beta

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        n, scale = self.p.local_size, self.kept
        size = n if self.p.norm_region == self.ACROSS else n**2
        inner = self._sum(dy[0] * y[0] / scale)
        return dy[0] * scale**-self.p.beta - 2 * self.p.alpha * self.p.beta / size * x[0] * inner
