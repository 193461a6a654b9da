"""The layers that choose among values, and Parameter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import Array, Layer, Shape, axis_of, count, require


class ArgMax(Layer, type="ArgMax", param="argmax_param"):
    has_backward = False

    def tops(self, *x: Shape) -> list[Shape]:
        k = self.p.top_k
        if self.p.HasField("axis"):
            axis = axis_of(self.p.axis, x[0])
            require(1 <= k <= x[0][axis], "top_k")
            return [(*x[0][:axis], k, *x[0][axis + 1 :])]
        require(1 <= k <= count(x[0][1:]), "top_k")
        return [(x[0][0], 2 if self.p.out_max_val else 1, k) + (1,) * (len(x[0]) - 3)]

    def forward(self, x: Array) -> Array:
        k = self.p.top_k
        by_axis = self.p.HasField("axis")
        rows = np.moveaxis(x, self.p.axis, -1) if by_axis else x.reshape(len(x), -1)
        # The larger index first among equal values: sort upward stably and read backward.
        order = np.argsort(rows, axis=-1, kind="stable")[..., ::-1][..., :k]
        values = np.take_along_axis(rows, order, -1)
        if by_axis:
            return np.moveaxis(values if self.p.out_max_val else order.astype(float), -1, self.p.axis)
        parts = [order.astype(float), values] if self.p.out_max_val else [order.astype(float)]
        return np.stack(parts, 1).reshape(self.tops(x.shape)[0])


class Accuracy(Layer, type="Accuracy", param="accuracy_param"):
    has_backward = False

    def tops(self, *x: Shape) -> list[Shape]:
        axis = axis_of(self.p.axis, x[0])
        require(count(x[1]) == count(x[0][:axis]) * count(x[0][axis + 1 :]), "labels")
        require(self.p.top_k <= count(x[0]) // count(x[1]), "top_k")
        return [(), (x[0][axis],)][: len(self.message.top)]

    def forward(self, x: Array, labels: Array) -> tuple[Array, ...]:
        rows = np.moveaxis(x, self.p.axis, -1).reshape(-1, x.shape[self.p.axis])
        hits, of_class = 0, np.zeros((2, rows.shape[1]))
        for row, value in zip(rows, labels.ravel(), strict=True):
            label = int(value)
            if self.p.HasField("ignore_label") and label == self.p.ignore_label:
                continue
            hit = (row >= row[label]).sum() - 1 < self.p.top_k
            hits += hit
            of_class[:, label] += (hit, 1)
        valid = of_class[1].sum()
        each = np.where(of_class[1] > 0, of_class[0] / np.maximum(of_class[1], 1), 0)
        return (np.array(hits / valid if valid else 0.0), each)[: len(self.message.top)]


class BatchReindex(Layer, type="BatchReindex"):
    takes_no_gradient = (1,)
    exact = True

    def tops(self, *x: Shape) -> list[Shape]:
        require(len(x[1]) == 1, "indices have one axis")
        return [(x[1][0], *x[0][1:])]

    def forward(self, x: Array, index: Array) -> Array:
        return x[index.astype(int)]

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, None]:
        dx = np.zeros(x[0].shape)
        np.add.at(dx, x[1].astype(int), dy[0])
        return dx, None


class Filter(Layer, type="Filter"):
    exact = True

    def __init__(self, message: object, phase: str) -> None:
        super().__init__(message, phase)
        self.takes_no_gradient = (len(self.message.bottom) - 1,)  # type: ignore[misc]

    def tops(self, *x: Shape) -> list[Shape]:
        require(count(x[-1][1:]) == 1 and all(s[0] == x[-1][0] for s in x), "selector")
        return list(x[:-1])

    def forward(self, *x: Array) -> tuple[Array, ...]:
        keep = x[-1].reshape(len(x[-1])) != 0
        return tuple(a[keep] for a in x[:-1])

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array | None, ...]:
        keep = x[-1].reshape(len(x[-1])) != 0
        dx = [np.zeros(a.shape) for a in x[:-1]]
        for a, b in zip(dx, dy, strict=True):
            a[keep] = b
        return (*dx, None)


class Crop(Layer, type="Crop", param="crop_param"):
    exact = True

    def _box(self, x: Shape, like: Shape) -> tuple[slice, ...]:
        axis, offsets = axis_of(self.p.axis, x), list(self.p.offset)
        cropped = len(x) - axis
        require(len(offsets) in (0, 1, cropped), "offset count")
        offsets = offsets if len(offsets) == cropped else (offsets or [0]) * cropped
        box = [slice(None)] * axis
        for i, offset in enumerate(offsets, axis):
            require(x[i] - offset >= like[i], "offset")
            box.append(slice(offset, offset + like[i]))
        return tuple(box)

    def tops(self, *x: Shape) -> list[Shape]:
        require(len(x[0]) == len(x[1]), "axes")
        self._box(*x)
        axis = axis_of(self.p.axis, x[0])
        return [(*x[0][:axis], *x[1][axis:])]

    def forward(self, x: Array, like: Array) -> Array:
        return x[self._box(x.shape, like.shape)]

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, None]:
        dx = np.zeros(x[0].shape)
        dx[self._box(x[0].shape, x[1].shape)] = dy[0]
        return dx, None


class Parameter(Layer, type="Parameter", param="parameter_param"):
    exact = True

    def tops(self, *x: Shape) -> list[Shape]:
        return [tuple(self.p.shape.dim)]

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        return self.tops()

    def forward(self) -> Array:
        return self.blobs[0]

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[()]:
        self.diffs = [dy[0]]
        return ()

    def overwrites(self, index: int, *x: Shape) -> bool:
        return True
