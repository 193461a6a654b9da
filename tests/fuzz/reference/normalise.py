"""The layers with learnable blobs that do not look at windows, and MVN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import Array, Layer, Shape, axis_of, count, require


class InnerProduct(Layer, type="InnerProduct", param="inner_product_param"):
    def tops(self, *x: Shape) -> list[Shape]:
        return [(*x[0][: axis_of(self.p.axis, x[0])], self.p.num_output)]

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        k, n = count(x[0][axis_of(self.p.axis, x[0]) :]), self.p.num_output
        return [(k, n) if self.p.transpose else (n, k), *([(n,)] if self.p.bias_term else [])]

    def _weight(self) -> Array:
        return self.blobs[0].T if self.p.transpose else self.blobs[0]

    def forward(self, x: Array) -> Array:
        weight = self._weight()
        require(count(x.shape[axis_of(self.p.axis, x.shape) :]) == weight.shape[1], "input size")
        y = x.reshape(-1, weight.shape[1]) @ weight.T
        return (y + self.blobs[1] if self.p.bias_term else y).reshape(self.tops(x.shape)[0])

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        weight, top = self._weight(), dy[0].reshape(-1, self.p.num_output)
        gradient = top.T @ x[0].reshape(-1, weight.shape[1])
        self.diffs = [gradient.T if self.p.transpose else gradient, *([top.sum(0)] if self.p.bias_term else [])]
        return (top @ weight).reshape(x[0].shape)


class Embed(Layer, type="Embed", param="embed_param"):
    takes_no_gradient = (0,)

    def tops(self, *x: Shape) -> list[Shape]:
        return [(*x[0], self.p.num_output)]

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        return [(self.p.input_dim, self.p.num_output), *([(self.p.num_output,)] if self.p.bias_term else [])]

    def forward(self, x: Array) -> Array:
        y = self.blobs[0][x.astype(int)]
        return y + self.blobs[1] if self.p.bias_term else y

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[None]:
        weight, top = np.zeros(self.blobs[0].shape), dy[0].reshape(-1, self.p.num_output)
        np.add.at(weight, x[0].astype(int).ravel(), top)
        self.diffs = [weight, *([top.sum(0)] if self.p.bias_term else [])]
        return (None,)


class BatchNorm(Layer, type="BatchNorm", param="batch_norm_param"):
    """The blobs are sums: of means, of variances, and of the factors that say how much they weigh."""

    def tops(self, *x: Shape) -> list[Shape]:
        require(len(x[0]) >= 2, "a channel axis")
        return [x[0]]

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        return [(x[0][1],), (x[0][1],), (1,)]

    def _global(self) -> bool:
        if self.p.HasField("use_global_stats"):
            return bool(self.p.use_global_stats)
        return self.phase == "TEST"

    def forward(self, x: Array) -> Array:
        axes, broadcast = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
        if self._global():
            scale = self.blobs[2][0]
            factor = 0.0 if scale == 0 else 1 / scale
            mean, variance = factor * self.blobs[0], factor * self.blobs[1]
        else:
            m = x.size // x.shape[1]
            mean, variance = x.mean(axes), x.var(axes)
            a = self.p.moving_average_fraction
            self.blobs[2][:] = a * self.blobs[2] + 1
            self.blobs[0][:] = a * self.blobs[0] + mean
            self.blobs[1][:] = a * self.blobs[1] + variance * (m / (m - 1) if m > 1 else 1)
        root = np.sqrt(variance + self.p.eps).reshape(broadcast)
        y = (x - mean.reshape(broadcast)) / root
        self.kept = y, root
        return y

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        own, root = self.kept
        self.diffs = [np.zeros(b.shape) for b in self.blobs]
        if self._global():
            return dy[0] / root
        axes = (0, *range(2, own.ndim))
        mean, along = dy[0].mean(axes, keepdims=True), (dy[0] * own).mean(axes, keepdims=True)
        return (dy[0] - mean - own * along) / root


class Scale(Layer, type="Scale", param="scale_param"):
    """The factor is a blob, or bottom 1; in place the bottom is kept."""

    def _span(self, *x: Shape) -> tuple[int, Shape]:
        """Where the factor begins among the axes of bottom 0, and its shape."""
        axis = axis_of(self.p.axis, x[0]) if x[0] else 0
        if len(x) == 2:
            require(axis + len(x[1]) <= len(x[0]) and x[0][axis : axis + len(x[1])] == x[1], "bottom 1")
            return axis, x[1]
        end = len(x[0]) if self.p.num_axes == -1 else axis + self.p.num_axes
        require(self.p.num_axes >= -1 and end <= len(x[0]), "num_axes")
        return axis, x[0][axis:end]

    def tops(self, *x: Shape) -> list[Shape]:
        self._span(*x)
        return [x[0]]

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        shape = self._span(*x)[1]
        return [shape] * ((len(x) == 1) + self.p.bias_term)

    def _factor(self, *x: Array) -> Array:
        return x[1] if len(x) == 2 else self.blobs[0]

    @staticmethod
    def _spread(a: Array, axis: int, axes: int) -> Array:
        return a.reshape((1,) * axis + a.shape + (1,) * (axes - axis - a.ndim))

    def forward(self, *x: Array) -> Array:
        axis, _ = self._span(*(a.shape for a in x))
        self.kept = x[0]
        y = x[0] * self._spread(self._factor(*x), axis, x[0].ndim)
        return y + self._spread(self.blobs[-1], axis, x[0].ndim) if self.p.bias_term else y

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, ...]:
        axis, shape = self._span(*(a.shape for a in x))
        others = tuple(i for i in range(x[0].ndim) if not axis <= i < axis + len(shape))
        factor = (dy[0] * self.kept).sum(others)
        bias = [dy[0].sum(others)] if self.p.bias_term else []
        dx = dy[0] * self._spread(self._factor(*x), axis, x[0].ndim)
        self.diffs = bias if len(x) == 2 else [factor, *bias]
        return (dx, factor) if len(x) == 2 else (dx,)

    def overwrites(self, index: int, *x: Shape) -> bool:
        axis, shape = self._span(*x)
        if index or len(x) == 2:
            return False
        trailing = count(x[0][axis + len(shape) :])
        whole = count(shape) == count(x[0])
        return whole or (count(x[0][:axis]) == 1 and trailing > 1 and count(shape) != 1)


class Bias(Scale, type="Bias", param="bias_param"):
    def blob_shapes(self, *x: Shape) -> list[Shape]:
        return [self._span(*x)[1]] * (len(x) == 1)

    def forward(self, *x: Array) -> Array:
        axis, _ = self._span(*(a.shape for a in x))
        return x[0] + self._spread(self._factor(*x), axis, x[0].ndim)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, ...]:
        axis, shape = self._span(*(a.shape for a in x))
        others = tuple(i for i in range(x[0].ndim) if not axis <= i < axis + len(shape))
        term = dy[0].sum(others)
        self.diffs = [] if len(x) == 2 else [term]
        return (dy[0], term) if len(x) == 2 else (dy[0],)

    def overwrites(self, index: int, *x: Shape) -> bool:
        return False


class PReLU(Layer, type="PReLU", param="prelu_param"):
    """In place the bottom is kept."""

    def tops(self, *x: Shape) -> list[Shape]:
        require(len(x[0]) >= 2, "a channel axis")
        return [x[0]]

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        return [() if self.p.channel_shared else (x[0][1],)]

    def _slope(self, axes: int) -> Array:
        return self.blobs[0] if self.p.channel_shared else self.blobs[0].reshape(1, -1, *(1,) * (axes - 2))

    def forward(self, x: Array) -> Array:
        self.kept = x
        return np.maximum(x, 0) + self._slope(x.ndim) * np.minimum(x, 0)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        a = self.kept
        each = dy[0] * a * (a <= 0)
        self.diffs = [np.asarray(each.sum() if self.p.channel_shared else each.sum((0, *range(2, a.ndim))))]
        return dy[0] * np.where(a > 0, 1.0, self._slope(a.ndim))


class MVN(Layer, type="MVN", param="mvn_param"):
    """Each plane, or each item, to mean 0 and variance 1; eps is added to the root."""

    def tops(self, *x: Shape) -> list[Shape]:
        require(len(x[0]) <= 4, "at most 4 axes")
        return [x[0] + (1,) * (4 - len(x[0]))]

    def _groups(self, a: Array, shape: Shape) -> Array:
        n, c, h, w = shape
        return a.reshape(n, -1) if self.p.across_channels else a.reshape(n * c, h * w)

    def forward(self, x: Array) -> Array:
        shape = self.tops(x.shape)[0]
        rows = self._groups(x, shape)
        y = rows - rows.mean(1, keepdims=True)
        if self.p.normalize_variance:
            self.kept = rows.std(1, keepdims=True) + self.p.eps
            y = y / self.kept
        return y.reshape(shape)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        shape = dy[0].shape
        top, own = self._groups(dy[0], shape), self._groups(y[0], shape)
        dx = top - top.mean(1, keepdims=True)
        if self.p.normalize_variance:
            dx = (dx - own * (top * own).mean(1, keepdims=True)) / self.kept
        return dx.reshape(x[0].shape)
