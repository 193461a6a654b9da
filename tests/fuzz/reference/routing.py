"""The layers that move values about, join or add them up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .base import Array, Layer, Shape, axis_of, count, require


class Softmax(Layer, type="Softmax", param="softmax_param"):
    def tops(self, *x: Shape) -> list[Shape]:
        axis_of(self.p.axis, x[0])
        return [x[0]]

    def forward(self, x: Array) -> Array:
        return softmax(x, self.p.axis)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        return y[0] * (dy[0] - (dy[0] * y[0]).sum(self.p.axis, keepdims=True))


def softmax(x: Array, axis: int) -> Array:
    """exp(x - max) over its sum."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


class Flatten(Layer, type="Flatten", param="flatten_param"):
    exact = True

    def tops(self, *x: Shape) -> list[Shape]:
        require(not self.in_place, "Flatten in place")
        start, end = axis_of(self.p.axis, x[0]), axis_of(self.p.end_axis, x[0])
        require(start <= end, "end_axis before axis")
        return [(*x[0][:start], count(x[0][start : end + 1]), *x[0][end + 1 :])]

    def forward(self, x: Array) -> Array:
        return x.reshape(self.tops(x.shape)[0])

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        return dy[0].reshape(x[0].shape)


class Reshape(Flatten, type="Reshape", param="reshape_param"):
    def tops(self, *x: Shape) -> list[Shape]:
        require(not self.in_place, "Reshape in place")
        shape, axes = x[0], len(x[0])
        start = self.p.axis if self.p.axis >= 0 else axes + self.p.axis + 1
        require(0 <= start <= axes, "axis")
        end = axes if self.p.num_axes == -1 else start + self.p.num_axes
        require(self.p.num_axes >= -1 and end <= axes, "num_axes")
        dims = list(self.p.shape.dim)
        require(dims.count(-1) <= 1, "more than one -1")
        for i, dim in enumerate(dims):
            if dim == 0:
                require(start + i < axes, "0 beyond the last axis")
                dims[i] = shape[start + i]
        around = [*shape[:start], *shape[end:]]
        if -1 in dims:
            known = count([d for d in dims if d != -1] + around)
            require(known > 0 and count(shape) % known == 0, "cannot infer")
            dims[dims.index(-1)] = count(shape) // known
        top = (*shape[:start], *dims, *shape[end:])
        require(count(top) == count(shape), "count")
        return [top]


class Concat(Layer, type="Concat", param="concat_param"):
    exact = True

    def _axis(self, shape: Shape) -> int:
        old = self.p.HasField("concat_dim")
        require(not (old and self.p.HasField("axis")), "axis and concat_dim")
        return axis_of(self.p.concat_dim if old else self.p.axis, shape)

    def tops(self, *x: Shape) -> list[Shape]:
        axis = self._axis(x[0])
        others = [(*s[:axis], *s[axis + 1 :]) for s in x]
        require(all(len(s) == len(x[0]) for s in x) and len(set(others)) == 1, "shapes")
        return [(*x[0][:axis], sum(s[axis] for s in x), *x[0][axis + 1 :])]

    def forward(self, *x: Array) -> Array:
        return np.concatenate(x, self._axis(x[0].shape))

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, ...]:
        axis = self._axis(x[0].shape)
        return tuple(np.split(dy[0], np.cumsum([a.shape[axis] for a in x])[:-1], axis))


class Slice(Layer, type="Slice", param="slice_param"):
    exact = True

    def _axis(self, shape: Shape) -> int:
        old = self.p.HasField("slice_dim")
        require(not (old and self.p.HasField("axis")), "axis and slice_dim")
        return axis_of(self.p.slice_dim if old else self.p.axis, shape)

    def _points(self, extent: int) -> list[int]:
        tops, points = len(self.message.top), list(self.p.slice_point)
        if not points:
            require(extent % tops == 0, "tops do not divide the axis")
            return [extent // tops * i for i in range(1, tops)]
        require(len(points) == tops - 1 and tops <= extent, "slice_point count")
        ends = [0, *points, extent]
        require(all(a < b for a, b in pairwise(ends)), "slice_point order")
        return points

    def tops(self, *x: Shape) -> list[Shape]:
        axis = self._axis(x[0])
        ends = [0, *self._points(x[0][axis]), x[0][axis]]
        return [(*x[0][:axis], b - a, *x[0][axis + 1 :]) for a, b in pairwise(ends)]

    def forward(self, x: Array) -> tuple[Array, ...]:
        axis = self._axis(x.shape)
        return tuple(np.split(x, self._points(x.shape[axis]), axis))

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        return np.concatenate(dy, self._axis(x[0].shape))


class Split(Layer, type="Split"):
    exact = True

    def tops(self, *x: Shape) -> list[Shape]:
        require(not set(self.message.bottom) & set(self.message.top), "Split in place")
        return [x[0]] * len(self.message.top)

    def forward(self, x: Array) -> tuple[Array, ...]:
        return (x,) * len(self.message.top)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        return np.sum(dy, axis=0)


class Silence(Layer, type="Silence"):
    exact = True

    def tops(self, *x: Shape) -> list[Shape]:
        return []

    def forward(self, *x: Array) -> tuple[()]:
        return ()

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(np.zeros(a.shape) for a in x)


class Tile(Layer, type="Tile", param="tile_param"):
    exact = True

    def tops(self, *x: Shape) -> list[Shape]:
        axis = axis_of(self.p.axis, x[0])
        require(self.p.tiles > 0, "tiles")
        return [(*x[0][:axis], x[0][axis] * self.p.tiles, *x[0][axis + 1 :])]

    def forward(self, x: Array) -> Array:
        return np.concatenate([x] * self.p.tiles, self.p.axis)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        return np.sum(np.split(dy[0], self.p.tiles, self.p.axis), axis=0)


class Eltwise(Layer, type="Eltwise", param="eltwise_param"):
    PROD, SUM, MAX = range(3)

    def tops(self, *x: Shape) -> list[Shape]:
        require(len(set(x)) == 1 and len(x) >= 2, "shapes")
        require(len(self.p.coeff) in (0, len(x)), "coeff count")
        require(not (self.p.coeff and self.p.operation == self.PROD), "coeff with PROD")
        return [x[0]]

    def _coeff(self, n: int) -> list[float]:
        return list(self.p.coeff) or [1.0] * n

    def forward(self, *x: Array) -> Array:
        if self.p.operation == self.PROD:
            return np.prod(x, axis=0)
        if self.p.operation == self.SUM:
            return sum((c * a for c, a in zip(self._coeff(len(x)), x, strict=True)), np.zeros(x[0].shape))
        self.kept = np.where(x[0] > x[1], 0, 1)
        best = np.where(x[0] > x[1], x[0], x[1])
        for i, other in enumerate(x[2:], 2):
            self.kept = np.where(other > best, i, self.kept)
            best = np.maximum(best, other)
        return best

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, ...]:
        n = len(x)
        if self.p.operation == self.SUM:
            return tuple(c * dy[0] for c in self._coeff(n))
        if self.p.operation == self.MAX:
            return tuple(dy[0] * (self.kept == i) for i in range(n))
        if not self.p.stable_prod_grad:
            return tuple(dy[0] * y[0] / a for a in x)
        return tuple(dy[0] * np.prod([x[j] for j in range(n) if j != i], axis=0) for i in range(n))


class Reduction(Layer, type="Reduction", param="reduction_param"):
    SUM, ASUM, SUMSQ, MEAN = range(1, 5)

    def tops(self, *x: Shape) -> list[Shape]:
        return [x[0][: axis_of(self.p.axis, x[0])]]

    def forward(self, x: Array) -> Array:
        axis = axis_of(self.p.axis, x.shape)
        flat = x.reshape(*x.shape[:axis], -1)
        functions = {self.SUM: flat, self.ASUM: np.abs(flat), self.SUMSQ: flat**2, self.MEAN: flat / flat.shape[-1]}
        return self.p.coeff * functions[self.p.operation].sum(-1)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        a, axis = x[0], axis_of(self.p.axis, x[0].shape)
        top = dy[0].reshape(dy[0].shape + (1,) * (a.ndim - axis))
        factors = {
            self.SUM: np.ones(a.shape),
            self.ASUM: np.sign(a),
            self.SUMSQ: 2 * a,
            self.MEAN: np.full(a.shape, 1 / count(a.shape[axis:])),
        }
        return self.p.coeff * top * factors[self.p.operation]
