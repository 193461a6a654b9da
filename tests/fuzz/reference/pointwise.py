"""The layers that take each value by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import Array, Layer, Shape, require

E = -1
"""The base that stands for e."""


def sigmoid(x: Array) -> Array:
    return 0.5 * np.tanh(0.5 * x) + 0.5


class Pointwise(Layer):
    """`gradient(x, y)` is dy/dx of each value."""

    by_value = True

    def gradient(self, x: Array, y: Array) -> Array:
        raise NotImplementedError

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Array:
        return dy[0] * self.gradient(x[0], y[0])


class ReLU(Pointwise, type="ReLU", param="relu_param"):
    def forward(self, x: Array) -> Array:
        return np.maximum(x, 0) + self.p.negative_slope * np.minimum(x, 0)

    def gradient(self, x: Array, y: Array) -> Array:
        return np.where(x > 0, 1.0, self.p.negative_slope)


class Sigmoid(Pointwise, type="Sigmoid"):
    def forward(self, x: Array) -> Array:
        return sigmoid(x)

    def gradient(self, x: Array, y: Array) -> Array:
        return y * (1 - y)


class TanH(Pointwise, type="TanH"):
    def forward(self, x: Array) -> Array:
        return np.tanh(x)

    def gradient(self, x: Array, y: Array) -> Array:
        return 1 - y * y


class ELU(Pointwise, type="ELU", param="elu_param"):
    def forward(self, x: Array) -> Array:
        return np.maximum(x, 0) + self.p.alpha * (np.exp(np.minimum(x, 0)) - 1)

    def gradient(self, x: Array, y: Array) -> Array:
        return np.where(x > 0, 1.0, self.p.alpha + y)


class Swish(Pointwise, type="Swish", param="swish_param"):
    def forward(self, x: Array) -> Array:
        self.kept = sigmoid(self.p.beta * x)
        return x * self.kept

    def gradient(self, x: Array, y: Array) -> Array:
        return self.p.beta * y + self.kept * (1 - self.p.beta * y)


class AbsVal(Pointwise, type="AbsVal"):
    def tops(self, *x: Shape) -> list[Shape]:
        require(not self.in_place, "AbsVal in place")
        return [x[0]]

    def forward(self, x: Array) -> Array:
        return np.abs(x)

    def gradient(self, x: Array, y: Array) -> Array:
        return np.sign(x)


class BNLL(Pointwise, type="BNLL"):
    def forward(self, x: Array) -> Array:
        return np.where(x > 0, x + np.log(1 + np.exp(-np.abs(x))), np.log(1 + np.exp(np.minimum(x, 0))))

    def gradient(self, x: Array, y: Array) -> Array:
        e = np.exp(np.minimum(x, 50))
        return e / (e + 1)


class Power(Pointwise, type="Power", param="power_param"):
    def forward(self, x: Array) -> Array:
        power, scale, shift = self.p.power, self.p.scale, self.p.shift
        if power * scale == 0:
            return np.full(x.shape, 1.0 if power == 0 else np.float64(shift) ** power)
        return (shift + scale * x) ** power

    def gradient(self, x: Array, y: Array) -> Array:
        power, scale, shift = self.p.power, self.p.scale, self.p.shift
        if power * scale == 0:
            return np.zeros(x.shape)
        if power == 1:
            return np.full(x.shape, scale)
        if power == 2:
            return 2 * scale * (shift + scale * x)
        return power * y / x if shift == 0 else power * scale * y / (shift + scale * x)


class Exp(Pointwise, type="Exp", param="exp_param"):
    def tops(self, *x: Shape) -> list[Shape]:
        require(self.p.base == E or self.p.base > 0, "base")
        return [x[0]]

    def forward(self, x: Array) -> Array:
        shift = self.p.shift
        if self.p.base == E:
            return np.exp(self.p.scale * x) * np.exp(shift)
        return np.exp(np.log(self.p.base) * self.p.scale * x) * self.p.base**shift

    def gradient(self, x: Array, y: Array) -> Array:
        return y * self.p.scale * (1 if self.p.base == E else np.log(self.p.base))


class Log(Pointwise, type="Log", param="log_param"):
    def tops(self, *x: Shape) -> list[Shape]:
        require(self.p.base == E or self.p.base > 0, "base")
        return [x[0]]

    def forward(self, x: Array) -> Array:
        return np.log(self.p.shift + self.p.scale * x) / self._divisor()

    def gradient(self, x: Array, y: Array) -> Array:
        return self.p.scale / (self._divisor() * (self.p.shift + self.p.scale * x))

    def _divisor(self) -> float:
        return 1.0 if self.p.base == E else float(np.log(self.p.base))


class Clip(Pointwise, type="Clip", param="clip_param"):
    def forward(self, x: Array) -> Array:
        return np.maximum(self.p.min, np.minimum(x, self.p.max))

    def gradient(self, x: Array, y: Array) -> Array:
        return ((x >= self.p.min) & (x <= self.p.max)).astype(float)


class Threshold(Layer, type="Threshold", param="threshold_param"):
    has_backward = False
    exact = True

    def forward(self, x: Array) -> Array:
        return (x > self.p.threshold).astype(float)


class Dropout(Pointwise, type="Dropout", param="dropout_param"):
    """`mask` gives the mask for a shape and a ratio: what is kept is 1."""

    by_value = False

    @staticmethod
    def mask(shape: Shape, ratio: float) -> Array:
        raise NotImplementedError("a TRAIN Dropout needs a mask")

    def forward(self, x: Array) -> Array:
        ratio = self.p.dropout_ratio
        self.kept = self.mask(x.shape, ratio) / (1 - ratio) if self.phase == "TRAIN" else np.ones(x.shape)
        return x * self.kept

    def gradient(self, x: Array, y: Array) -> Array:
        return self.kept
