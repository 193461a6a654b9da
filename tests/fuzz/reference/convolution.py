"""Convolution, its transpose, and Im2col."""

from __future__ import annotations

from collections.abc import Sequence
from math import trunc

import numpy as np

from .base import Array, Layer, Shape, axis_of, count, require


def per_axis(given: Sequence[int], h: int | None, w: int | None, axes: int, default: int | None) -> list[int]:
    """A field of each spatial axis, from the repeated form or from the forms for height and width."""
    if h is not None or w is not None:
        require(axes == 2 and not given, "_h and _w")
        return [h or 0, w or 0]
    require(len(given) in (1, axes) or (not given and default is not None), "count")
    values = list(given) or [default or 0]
    return values * axes if len(values) == 1 else values


class Geometry:
    """Kernel, stride, pad and dilation of a convolution over `axes` spatial axes."""

    def __init__(self, p: object, axes: int) -> None:
        def field(repeated: str, single: str, default: int | None) -> list[int]:
            h, w = (getattr(p, f"{single}_{s}") if p.HasField(f"{single}_{s}") else None for s in "hw")  # type: ignore[attr-defined]
            return per_axis(getattr(p, repeated), h, w, axes, default)

        self.kernel = field("kernel_size", "kernel", None)
        self.stride = field("stride", "stride", 1)
        self.pad = field("pad", "pad", 0)
        self.dilation = per_axis(p.dilation, None, None, axes, 1)  # type: ignore[attr-defined]
        require(all(k > 0 for k in self.kernel) and all(s > 0 for s in self.stride), "kernel and stride")

    def extended(self) -> list[int]:
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]

    def out(self, extents: Sequence[int]) -> Shape:
        """(in + 2 pad - kext) / stride + 1 with C's division, which truncates toward zero."""
        sides = zip(extents, self.pad, self.extended(), self.stride, strict=True)
        return tuple(trunc((n + 2 * p - k) / s) + 1 for n, p, k, s in sides)

    def back(self, extents: Sequence[int]) -> Shape:
        """The extents of the transposed convolution."""
        sides = zip(extents, self.pad, self.extended(), self.stride, strict=True)
        return tuple(s * (n - 1) + k - 2 * p for n, p, k, s in sides)

    def _taps(self, out: Shape) -> list[tuple[Shape, tuple[slice, ...]]]:
        """For each place in the kernel the elements of the padded image that it meets."""
        taps = []
        for k in np.ndindex(*self.kernel):
            starts = [i * d for i, d in zip(k, self.dilation, strict=True)]
            taps.append((k, tuple(slice(a, a + s * o, s) for a, s, o in zip(starts, self.stride, out, strict=True))))
        return taps

    def _frame(self, extents: Sequence[int], out: Shape) -> Shape:
        """The padded image, and after it whatever a last window reaches beyond it."""
        sides = zip(extents, self.pad, self.stride, out, self.extended(), strict=True)
        return tuple(max(n + 2 * p, s * o + k) for n, p, s, o, k in sides)

    def _inside(self, extents: Sequence[int]) -> tuple[slice, ...]:
        return tuple(slice(p, p + n) for p, n in zip(self.pad, extents, strict=True))

    def columns(self, x: Array) -> Array:
        """(N, C, in...) to (N, C, kernel..., out...): what each place of the kernel meets at each window."""
        extents = x.shape[2:]
        out = self.out(extents)
        framed = np.zeros(x.shape[:2] + self._frame(extents, out))
        framed[(..., *self._inside(extents))] = x
        result = np.zeros((*x.shape[:2], *self.kernel, *out))
        for k, where in self._taps(out):
            result[(slice(None), slice(None), *k)] = framed[(..., *where)]
        return result

    def image(self, columns: Array, extents: Shape) -> Array:
        """The transpose of `columns`: each window adds its values where it took them."""
        out = columns.shape[2 + len(self.kernel) :]
        framed = np.zeros(columns.shape[:2] + self._frame(extents, out))
        for k, where in self._taps(out):
            framed[(..., *where)] += columns[(slice(None), slice(None), *k)]
        return framed[(..., *self._inside(extents))]


class Convolution(Layer, type="Convolution", param="convolution_param"):
    """Every bottom goes through the same weights; axes before `axis` are a batch."""

    transposed = False

    def _split(self, x: Shape) -> tuple[int, Geometry]:
        axis = axis_of(self.p.axis, x)
        return axis, Geometry(self.p, len(x) - axis - 1)

    def tops(self, *x: Shape) -> list[Shape]:
        require(len(set(x)) == 1, "bottoms of one shape")
        axis, geometry = self._split(x[0])
        require(x[0][axis] % self.p.group == 0 and self.p.num_output % self.p.group == 0, "group")
        extents = geometry.back(x[0][axis + 1 :]) if self.transposed else geometry.out(x[0][axis + 1 :])
        require(all(n > 0 for n in extents), "extent")
        return [(*x[0][:axis], self.p.num_output, *extents)] * len(x)

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        axis, geometry = self._split(x[0])
        outer, inner = self.p.num_output, x[0][axis] // self.p.group
        if self.transposed:
            outer, inner = x[0][axis], self.p.num_output // self.p.group
        bias = [(self.p.num_output,)] if self.p.bias_term else []
        return [(outer, inner, *geometry.kernel), *bias]

    def forward(self, *x: Array) -> tuple[Array, ...]:
        return tuple(self._one(a) for a in x)

    def _one(self, x: Array) -> Array:
        axis, geometry = self._split(x.shape)
        flat = x.reshape(-1, *x.shape[axis:])
        y = self._apply(flat, geometry)
        if self.p.bias_term:
            y = y + self.blobs[1].reshape(-1, *(1,) * len(geometry.kernel))
        return y.reshape(*x.shape[:axis], *y.shape[1:])

    def _apply(self, x: Array, geometry: Geometry) -> Array:
        return correlate(x, self.blobs[0], geometry, self.p.group)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, ...]:
        self.diffs = [np.zeros(b.shape) for b in self.blobs]
        return tuple(self._one_back(a, d) for a, d in zip(x, dy, strict=True))

    def _one_back(self, x: Array, dy: Array) -> Array:
        axis, geometry = self._split(x.shape)
        flat, top = x.reshape(-1, *x.shape[axis:]), dy.reshape(-1, *dy.shape[axis:])
        if self.p.bias_term:
            self.diffs[1] += top.reshape(*top.shape[:2], -1).sum((0, 2))
        return self._apply_back(flat, top, geometry).reshape(x.shape)

    def _apply_back(self, x: Array, dy: Array, geometry: Geometry) -> Array:
        self.diffs[0] += weight_gradient(x, dy, self.blobs[0].shape, geometry, self.p.group)
        return transpose(dy, self.blobs[0], geometry, self.p.group, x.shape[2:])


class Deconvolution(Convolution, type="Deconvolution", param="convolution_param"):
    """What a Convolution's backward does to its top."""

    transposed = True

    def _apply(self, x: Array, geometry: Geometry) -> Array:
        return transpose(x, self.blobs[0], geometry, self.p.group, geometry.back(x.shape[2:]))

    def _apply_back(self, x: Array, dy: Array, geometry: Geometry) -> Array:
        self.diffs[0] += weight_gradient(dy, x, self.blobs[0].shape, geometry, self.p.group)
        return correlate(dy, self.blobs[0], geometry, self.p.group)


def _by_group(a: Array, axis: int, group: int) -> list[Array]:
    return np.split(a, group, axis)


def correlate(x: Array, weight: Array, geometry: Geometry, group: int) -> Array:
    """Cross-correlation: (N, C, in...) with (O, C / group, kernel...) gives (N, O, out...)."""
    columns = geometry.columns(x)
    n, out, taps = len(x), columns.shape[2 + len(geometry.kernel) :], weight[0].size
    parts = []
    for part, w in zip(_by_group(columns, 1, group), _by_group(weight, 0, group), strict=True):
        parts.append(np.einsum("ok,nks->nos", w.reshape(len(w), -1), part.reshape(n, taps, -1)))
    return np.concatenate(parts, 1).reshape(n, len(weight), *out)


def transpose(y: Array, weight: Array, geometry: Geometry, group: int, extents: Shape) -> Array:
    """The transpose of `correlate` in its first argument."""
    n, taps = len(y), weight[0].size
    parts = []
    for part, w in zip(_by_group(y, 1, group), _by_group(weight, 0, group), strict=True):
        columns = np.einsum("ok,nos->nks", w.reshape(len(w), taps), part.reshape(n, len(w), -1))
        parts.append(columns.reshape(n, *weight.shape[1:], *y.shape[2:]))
    return geometry.image(np.concatenate(parts, 1), extents)


def weight_gradient(x: Array, dy: Array, shape: Shape, geometry: Geometry, group: int) -> Array:
    """The gradient of `correlate` in its weight."""
    columns, n = geometry.columns(x), len(x)
    parts = []
    for part, d in zip(_by_group(columns, 1, group), _by_group(dy, 1, group), strict=True):
        top = d.reshape(n, d.shape[1], -1)
        parts.append(np.einsum("nos,nks->ok", top, part.reshape(n, count(shape[1:]), -1)))
    return np.concatenate(parts, 0).reshape(shape)


class Im2col(Layer, type="Im2col", param="convolution_param"):
    exact = True

    def _split(self, x: Shape) -> tuple[int, Geometry]:
        axis = axis_of(self.p.axis, x)
        return axis, Geometry(self.p, len(x) - axis - 1)

    def tops(self, *x: Shape) -> list[Shape]:
        axis, geometry = self._split(x[0])
        out = geometry.out(x[0][axis + 1 :])
        require(all(n > 0 for n in out), "extent")
        return [(*x[0][:axis], x[0][axis] * count(geometry.kernel), *out)]

    def forward(self, x: Array) -> Array:
        axis, geometry = self._split(x.shape)
        return geometry.columns(x.reshape(-1, *x.shape[axis:])).reshape(self.tops(x.shape)[0])

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        axis, geometry = self._split(x[0].shape)
        out = geometry.out(x[0].shape[axis + 1 :])
        columns = dy[0].reshape(-1, x[0].shape[axis], *geometry.kernel, *out)
        return geometry.image(columns, x[0].shape[axis + 1 :]).reshape(x[0].shape)
