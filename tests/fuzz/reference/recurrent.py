"""RNN, LSTM and LSTMUnit, one step after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .base import Array, Layer, Shape, count, require
from .pointwise import sigmoid


class LSTMUnit(Layer, type="LSTMUnit"):
    """One step: c' = cont f c + i g, h = o tanh(c'), the gates in the order i, f, o, g."""

    takes_no_gradient = not_forced = (2,)

    def tops(self, *x: Shape) -> list[Shape]:
        c, gates, cont = x
        require(len(c) == 3 and c[0] == 1 and gates == (1, c[1], 4 * c[2]) and cont == (1, c[1]), "shapes")
        return [c, c]

    def forward(self, c: Array, gates: Array, cont: Array) -> tuple[Array, Array]:
        return step(c, gates, cont)[0]

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array, Array, None]:
        kept = step(*x)[1]
        return (*step_back(kept, dy[0], dy[1]), None)


def step(c: Array, gates: Array, cont: Array) -> tuple[tuple[Array, Array], Any]:
    """(c', h), and what its backward needs."""
    i, f, o, g = np.split(gates, 4, -1)
    i, f, o, g = sigmoid(i), cont[..., None] * sigmoid(f), sigmoid(o), np.tanh(g)
    new = f * c + i * g
    return (new, o * np.tanh(new)), (c, i, f, o, g, new, gates, cont)


def step_back(kept: Any, dc: Array, dh: Array) -> tuple[Array, Array]:
    """(dc of the step before, dgates) from the diffs of c' and h."""
    c, i, f, o, g, new, gates, cont = kept
    tanh = np.tanh(new)
    total = dc + dh * o * (1 - tanh**2)
    forget = sigmoid(np.split(gates, 4, -1)[1])
    df = total * c * cont[..., None] * forget * (1 - forget)
    parts = [total * g * i * (1 - i), df, dh * tanh * o * (1 - o), total * i * (1 - g**2)]
    return total * f, np.concatenate(parts, -1)


class Recurrent(Layer):
    """What RNN and LSTM share: the bottoms, the state from one forward to the next, the static input."""

    takes_no_gradient = not_forced = (1,)
    states = 1

    def _has_static(self) -> bool:
        return len(self.message.bottom) > 2 + self.states * self.p.expose_hidden

    def _sizes(self, *x: Shape) -> tuple[int, int, int, int]:
        """D, the static D, N and H."""
        static = count(x[2][1:]) if self._has_static() else 0
        return count(x[0][2:]), static, x[0][1], self.p.num_output

    def tops(self, *x: Shape) -> list[Shape]:
        require(len(x[0]) >= 3 and x[1] == x[0][:2], "x and cont")
        h = self.p.num_output
        exposed = [(1, x[0][1], h)] * self.states if self.p.expose_hidden else []
        if self._has_static():
            require(x[2][0] == x[0][1], "x_static")
        require(list(x[2 + self._has_static() :]) == exposed, "hidden bottoms")
        require(len(self.message.top) == 1 + len(exposed), "hidden tops")
        return [(*x[0][:2], h), *exposed]

    def _start(self, n: int, *x: Array) -> list[Array]:
        if self.p.expose_hidden:
            return [a[0] for a in x[2 + self._has_static() :]]
        state = getattr(self, "_state", None)
        return state if state is not None else [np.zeros((n, self.p.num_output)) for _ in range(self.states)]

    def _end(self, state: list[Array], output: Array) -> tuple[Array, ...]:
        self._state = state
        return (output, *(a[None] for a in state)) if self.p.expose_hidden else (output,)

    def _input(self, *x: Array) -> Array:
        """W_x x + b, and the static input's part: (T, N, rows)."""
        d, static, n, _ = self._sizes(*(a.shape for a in x))
        total = x[0].reshape(-1, n, d) @ self.blobs[0].T + self.blobs[1]
        return total + x[2].reshape(n, static) @ self.blobs[2].T if static else total

    def _input_back(self, x: Sequence[Array], d: Array) -> tuple[list[Array], list[Array | None]]:
        """The diffs of the blobs that `_input` reads, and of the bottoms, from the diff of its result."""
        size, static, n, _ = self._sizes(*(a.shape for a in x))
        flat = d.reshape(-1, d.shape[-1])
        blobs = [flat.T @ x[0].reshape(-1, size), flat.sum(0)]
        bottoms: list[Array | None] = [(d @ self.blobs[0]).reshape(x[0].shape), *[None] * (len(x) - 1)]
        if static:
            total = d.sum(0)
            blobs.append(total.T @ x[2].reshape(n, static))
            bottoms[2] = (total @ self.blobs[2]).reshape(x[2].shape)
        return blobs, bottoms


class LSTM(Recurrent, type="LSTM", param="recurrent_param"):
    states = 2

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        d, static, _, h = self._sizes(*x)
        return [(4 * h, d), (4 * h,), *([(4 * h, static)] if static else []), (4 * h, h)]

    def forward(self, *x: Array) -> tuple[Array, ...]:
        inputs, weight = self._input(*x), self.blobs[-1]
        h, c = self._start(x[0].shape[1], *x)
        self.kept, outputs = [], []
        for t, cont in enumerate(x[1]):
            before = cont[:, None] * h
            (c, h), kept = step(c, before @ weight.T + inputs[t], cont)
            self.kept.append((before, cont, kept))
            outputs.append(h)
        return self._end([h, c], np.stack(outputs))

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array | None, ...]:
        weight = self.blobs[-1]
        dh = dc = np.zeros(dy[0].shape[1:])
        dweight, dinputs = np.zeros(weight.shape), []
        for t in reversed(range(len(self.kept))):
            before, cont, kept = self.kept[t]
            dc, dgates = step_back(kept, dc, dh + dy[0][t])
            dweight += dgates.T @ before
            dh = cont[:, None] * (dgates @ weight)
            dinputs.append(dgates)
        blobs, bottoms = self._input_back(x, np.stack(dinputs[::-1]))
        self.diffs = [*blobs, dweight]
        return tuple(bottoms)


class RNN(Recurrent, type="RNN", param="recurrent_param"):
    states = 1

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        d, static, _, h = self._sizes(*x)
        return [(h, d), (h,), *([(h, static)] if static else []), (h, h), (h, h), (h,)]

    def forward(self, *x: Array) -> tuple[Array, ...]:
        inputs, (w_hh, w_ho, b_o) = self._input(*x), self.blobs[-3:]
        (h,) = self._start(x[0].shape[1], *x)
        self.kept, outputs = [], []
        for t, cont in enumerate(x[1]):
            before = cont[:, None] * h
            h = np.tanh(before @ w_hh.T + inputs[t])
            outputs.append(np.tanh(h @ w_ho.T + b_o))
            self.kept.append((before, cont, h, outputs[-1]))
        return self._end([h], np.stack(outputs))

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> tuple[Array | None, ...]:
        w_hh, w_ho, b_o = self.blobs[-3:]
        dh = np.zeros(dy[0].shape[1:])
        dw_hh, dw_ho, db_o, dinputs = np.zeros(w_hh.shape), np.zeros(w_ho.shape), np.zeros(b_o.shape), []
        for t in reversed(range(len(self.kept))):
            before, cont, h, output = self.kept[t]
            do = dy[0][t] * (1 - output**2)
            dw_ho += do.T @ h
            db_o += do.sum(0)
            total = (dh + do @ w_ho) * (1 - h**2)
            dw_hh += total.T @ before
            dh = cont[:, None] * (total @ w_hh)
            dinputs.append(total)
        blobs, bottoms = self._input_back(x, np.stack(dinputs[::-1]))
        self.diffs = [*blobs, dw_hh, dw_ho, db_o]
        return tuple(bottoms)
