"""The losses: scalars, whose top diff is their weight in the objective."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import Array, Layer, Shape, axis_of, count, require
from .pointwise import sigmoid
from .routing import softmax

FULL, VALID, BATCH_SIZE, NONE = range(4)
TINY = float(np.finfo(np.float32).tiny)
SMALL = float(np.float32(1e-20))


class Loss(Layer):
    loss = True
    takes_no_gradient = not_forced = (1,)

    def tops(self, *x: Shape) -> list[Shape]:
        require(x[0][:1] == x[1][:1] and bool(x[0]), "items")
        self.check(*x)
        return [()]

    def check(self, *x: Shape) -> None:
        """Refuse what this loss refuses."""

    def normaliser(self, outer: int, inner: int, valid: int, default: int) -> float:
        """max(1, z), z by the mode."""
        p, mode = self.message.loss_param, default
        if p.HasField("normalization"):
            mode = p.normalization
        elif p.HasField("normalize"):
            mode = VALID if p.normalize else BATCH_SIZE
        return max(1, {FULL: outer * inner, VALID: valid, BATCH_SIZE: outer, NONE: 1}[mode])

    def kept_labels(self, labels: Array) -> tuple[Array, Array]:
        """Each label as an int, and whether it counts."""
        label, p = np.trunc(labels).astype(int), self.message.loss_param
        return label, label != p.ignore_label if p.HasField("ignore_label") else np.ones(label.shape, bool)


def rows_of(x: Array, axis: int) -> Array:
    """Scores with the classes last, one row a position."""
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])


def from_rows(rows: Array, shape: Shape, axis: int) -> Array:
    """The inverse of `rows_of`."""
    moved = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    return np.moveaxis(rows.reshape(*moved, shape[axis]), -1, axis)


class SoftmaxWithLoss(Loss, type="SoftmaxWithLoss", param="softmax_param"):
    def check(self, *x: Shape) -> None:
        axis = axis_of(self.p.axis, x[0])
        require(count(x[1]) == count(x[0]) // x[0][axis], "labels")

    def forward(self, x: Array, labels: Array) -> Array:
        axis = axis_of(self.p.axis, x.shape)
        rows = rows_of(softmax(x, axis), axis)
        label, counts = self.kept_labels(labels.ravel())
        z = self.normaliser(count(x.shape[:axis]), count(x.shape[axis + 1 :]), int(counts.sum()), VALID)
        at = np.where(counts, label, 0)
        chosen = np.maximum(rows[np.arange(len(rows)), at], TINY)
        self.kept = rows, at, counts, z
        return np.array(-(np.log(chosen) * counts).sum() / z)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, None]:
        rows, at, counts, z = self.kept
        dx = rows.copy()
        dx[np.arange(len(rows)), at] -= 1
        dx = dx * counts[:, None] * dy[0] / z
        return from_rows(dx, x[0].shape, axis_of(self.p.axis, x[0].shape)), None


class SigmoidCrossEntropyLoss(Loss, type="SigmoidCrossEntropyLoss"):
    def check(self, *x: Shape) -> None:
        require(count(x[0]) == count(x[1]), "targets")

    def forward(self, x: Array, targets: Array) -> Array:
        t = targets.reshape(x.shape)
        _, counts = self.kept_labels(t)
        positive = (x >= 0).astype(float)
        each = x * (t - positive) - np.log(1 + np.exp(x - 2 * x * positive))
        z = self.normaliser(len(x), x.size // len(x), int(counts.sum()), BATCH_SIZE)
        self.kept = counts, z
        return np.array(-(each * counts).sum() / z)

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, None]:
        counts, z = self.kept
        return (sigmoid(x[0]) - x[1].reshape(x[0].shape)) * counts * dy[0] / z, None


class EuclideanLoss(Loss, type="EuclideanLoss"):
    takes_no_gradient = not_forced = ()

    def check(self, *x: Shape) -> None:
        require(count(x[0][1:]) == count(x[1][1:]), "items of one size")

    def forward(self, a: Array, b: Array) -> Array:
        self.kept = a - b.reshape(a.shape)
        return np.array((self.kept**2).sum() / (2 * len(a)))

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, Array]:
        d = self.kept * dy[0] / len(x[0])
        return d, -d.reshape(x[1].shape)


class HingeLoss(Loss, type="HingeLoss", param="hinge_loss_param"):
    L1 = 1

    def check(self, *x: Shape) -> None:
        require(count(x[1]) == x[0][0], "labels")

    def forward(self, x: Array, labels: Array) -> Array:
        rows = x.reshape(len(x), -1)
        sign = np.ones(rows.shape)
        sign[np.arange(len(rows)), np.trunc(labels.ravel()).astype(int)] = -1
        margin = np.maximum(0, 1 + rows * sign)
        self.kept = sign, margin
        return np.array((margin if self.p.norm == self.L1 else margin**2).sum() / len(x))

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, None]:
        sign, margin = self.kept
        each = sign * np.sign(margin) if self.p.norm == self.L1 else 2 * sign * margin
        return each.reshape(x[0].shape) * dy[0] / len(x[0]), None


class ContrastiveLoss(Loss, type="ContrastiveLoss", param="contrastive_loss_param"):
    takes_no_gradient = not_forced = (2,)

    def check(self, *x: Shape) -> None:
        require(count(x[0][:2]) == count(x[0]) and count(x[0]) == count(x[1]), "pairs")
        require(count(x[2]) == x[0][0], "labels")

    def forward(self, a: Array, b: Array, labels: Array) -> Array:
        self.kept = d = (a - b.reshape(a.shape)).reshape(len(a), -1)
        squared, margin = (d**2).sum(1), self.p.margin
        gap = np.maximum(margin - (squared if self.p.legacy_version else np.sqrt(squared)), 0)
        apart = gap if self.p.legacy_version else gap**2
        similar = np.trunc(labels.ravel()) != 0
        return np.array(np.where(similar, squared, apart).sum() / (2 * len(a)))

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, Array, None]:
        d, margin = self.kept, self.p.margin
        squared = (d**2).sum(1, keepdims=True)
        distance = np.sqrt(squared)
        if self.p.legacy_version:
            apart = np.where(margin - squared > 0, -d, 0)
        else:
            apart = np.where(margin - distance > 0, -(margin - distance) / (distance + 1e-4) * d, 0)
        similar = (np.trunc(x[2].ravel()) != 0)[:, None]
        dx = np.where(similar, d, apart) * dy[0] / len(d)
        return dx.reshape(x[0].shape), -dx.reshape(x[1].shape), None


class InfogainLoss(Loss, type="InfogainLoss", param="infogain_loss_param"):
    """Softmax within; H is bottom 2. The probabilities are a second top, which takes no gradient."""

    takes_no_gradient = (1, 2)

    def tops(self, *x: Shape) -> list[Shape]:
        super().tops(*x)
        return [(), x[0]][: max(1, len(self.message.top))]

    def check(self, *x: Shape) -> None:
        axis = axis_of(self.p.axis, x[0])
        require(len(x) == 3, "H is read from bottom 2 only")
        require(count(x[1]) == count(x[0]) // x[0][axis], "labels")
        require(x[2][-2:] == (x[0][axis],) * 2 and count(x[2]) == x[0][axis] ** 2, "H")
        require(not self.message.loss_param.HasField("normalize"), "normalize")

    def forward(self, x: Array, labels: Array, h: Array) -> tuple[Array, ...]:
        axis = axis_of(self.p.axis, x.shape)
        probabilities = softmax(x, axis)
        rows = rows_of(probabilities, axis)
        label, counts = self.kept_labels(labels.ravel())
        z = self.normaliser(count(x.shape[:axis]), count(x.shape[axis + 1 :]), int(counts.sum()), VALID)
        weight = h.reshape(h.shape[-2:])[np.where(counts, label, 0)] * counts[:, None]
        self.kept = rows, weight, z
        return (np.array(-(weight * np.log(np.maximum(rows, SMALL))).sum() / z), probabilities)[
            : max(1, len(self.message.top))
        ]

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, None, None]:
        rows, weight, z = self.kept
        dx = (rows * weight.sum(1, keepdims=True) - weight) * dy[0] / z
        return from_rows(dx, x[0].shape, axis_of(self.p.axis, x[0].shape)), None, None


class MultinomialLogisticLoss(Loss, type="MultinomialLogisticLoss"):
    def check(self, *x: Shape) -> None:
        require(count(x[1]) == x[0][0], "labels")

    def forward(self, x: Array, labels: Array) -> Array:
        rows = x.reshape(len(x), -1)
        at = np.arange(len(x)), np.trunc(labels.ravel()).astype(int)
        self.kept = at
        return np.array(-np.log(np.maximum(rows[at], SMALL)).sum() / len(x))

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, None]:
        rows = x[0].reshape(len(x[0]), -1)
        dx = np.zeros(rows.shape)
        dx[self.kept] = -dy[0] / (len(rows) * np.maximum(rows[self.kept], SMALL))
        return dx.reshape(x[0].shape), None
