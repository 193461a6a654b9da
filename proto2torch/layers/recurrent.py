"""Recurrent layers: LSTM, RNN, and LSTMUnit, the step that an LSTM is made of."""

from __future__ import annotations

from math import prod
from typing import ClassVar

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless


class Recurrent(Layer):
    """Sequences x (T, N, …), cont (T, N), maybe x_static (N, …), and with expose_hidden the states (1, N, H) to begin
    with; tops (T, N, H), and with expose_hidden the last states.

    cont multiplies the state before each step: 0 begins a sequence. Without expose_hidden a forward begins with the
    state that the one before left. No gradient crosses forwards, nor does one pass through exposed states.
    """

    bottoms = (2, 5)
    tops_allowed = (1, 3)
    indices = unforced = (1,)
    states: ClassVar[tuple[str, ...]]
    """The names of what is carried from step to step."""

    @property
    def exposed(self) -> int:
        """How many states are bottoms and tops."""
        return len(self.states) if self.p.expose_hidden else 0

    @property
    def static(self) -> bool:
        """Whether there is a bottom that is the same at every step."""
        return len(self.definition.message.bottom) == 3 + self.exposed

    def check(self) -> None:
        message, with_states = self.definition.message, " with expose_hidden" if self.exposed else ""
        if not self.p.num_output:
            raise self.error("needs num_output greater than zero", "num_output")
        if len(message.bottom) - 2 - self.exposed not in (0, 1):
            wanted = f"{2 + self.exposed} or {3 + self.exposed} bottoms{with_states}"
            raise self.error(f"takes {wanted}. Received: {len(message.bottom)}", "bottom")
        if self.tops != 1 + self.exposed:
            raise self.error(f"makes {1 + self.exposed} tops{with_states}. Received: {self.tops}", "top")
        if message.blobs:
            raise self.refuse("Caffe does not take blobs for it from a prototxt: use a weight file", "blobs")

    def shapes(self, *x: Shape) -> list[Shape]:
        if len(x[0]) < 3:
            raise self.error(f"needs sequences of shape (T, N, …). Received: {x[0]}", "bottom[0]")
        if x[1] != x[0][:2]:
            raise self.error(f"cont must have shape {x[0][:2]}, a value for each step. Received: {x[1]}", "bottom[1]")
        state = (1, x[0][1], self.p.num_output)
        if self.static and (len(x[2]) < 2 or x[2][0] != x[0][1]):
            raise self.error(f"the static bottom must have {x[0][1]} items. Received: {x[2]}", "bottom[2]")
        for i in range(len(x) - self.exposed, len(x)):
            if x[i] != state:
                raise self.error(f"a state must have shape {state}. Received: {x[i]}", f"bottom[{i}]")
        return [(*x[0][:2], self.p.num_output), *[state] * self.exposed]

    def fixes_extent(self) -> bool:
        return True

    def multiply_adds(self, *x: Shape) -> int:
        """Each of its matrices works on every item of every step, that of the static bottom once for all steps."""
        steps, items = x[0][:2]
        matrices = [blob for blob in self.blobs(*x) if len(blob.shape) == 2]
        return sum(prod(b.shape) * items * (1 if b.key.endswith("_static") else steps) for b in matrices)

    def _input_blobs(self, rows: int, names: tuple[str, str], x: tuple[Shape, ...]) -> list[Blob]:
        """What maps the bottoms: weight, bias, and the weight of the static bottom."""
        weight, bias = names
        blobs = [
            Blob(weight, (rows, prod(x[0][2:])), self.p.weight_filler),
            Blob(bias, (rows,), self.p.bias_filler),
        ]
        if self.static:
            blobs.append(Blob(f"{weight}_static", (rows, prod(x[2][1:])), self.p.weight_filler))
        return blobs

    def code(self, node: Node) -> Code:
        x = [value.shape for value in node.inputs]
        static = prod(x[2][1:]) if self.static else 0
        module = call(self.type, prod(x[0][2:]), self.p.num_output, static=unless(0, static))
        places = [f"{{{i}}}" for i in range(2 + self.static)]
        places += [f"{state}_0={{{i}}}" for i, state in enumerate(self.states, 2 + self.static) if self.exposed]
        return Code(f"{{me}}({', '.join(places)})", module, stateful=not self.exposed)


class LSTM(Recurrent, type="LSTM", param="recurrent_param"):
    """gates = W_xc x + b_c + W_hc (cont h), in them i, f, o and g; c = cont f c + i g, h = o tanh(c).

    Blobs: W_xc (4 H, D), b_c (4 H), with a static bottom W_xc_static (4 H, D_static), W_hc (4 H, H).
    """

    differs = (
        "Its own class: cont multiplies the state before each step, gates come in the order i, f, o, g, the state "
        "stays between forwards, and no gradient reaches exposed states. nn.LSTM has none of that."
    )

    states = ("h", "c")

    def blobs(self, *x: Shape) -> list[Blob]:
        hidden = self.p.num_output
        recurrent = Blob("W_hc", (4 * hidden, hidden), self.p.weight_filler, draws=x[0][0])
        return [*self._input_blobs(4 * hidden, ("W_xc", "b_c"), x), recurrent]


class RNN(Recurrent, type="RNN", param="recurrent_param"):
    """h = tanh(W_hh (cont h) + W_xh x + b_h), and its top is tanh(W_ho h + b_o).

    Blobs: W_xh (H, D), b_h (H), with a static bottom W_xh_static (H, D_static), W_hh (H, H), W_ho (H, H), b_o (H).
    """

    differs = (
        "Its own class: cont, Caffe's second matrix with its tanh, and the state between forwards are not nn.RNN's."
    )

    states = ("h",)

    def blobs(self, *x: Shape) -> list[Blob]:
        hidden, steps = self.p.num_output, x[0][0]
        weights = [Blob(key, (hidden, hidden), self.p.weight_filler, draws=steps) for key in ("W_hh", "W_ho")]
        bias = Blob("b_o", (hidden,), self.p.bias_filler, draws=steps)
        return [*self._input_blobs(hidden, ("W_xh", "b_h"), x), *weights, bias]


class LSTMUnit(Layer, type="LSTMUnit"):
    """One step of an LSTM: bottoms c (1, N, H), gates (1, N, 4 H) and cont (1, N), tops the next c and h."""

    differs = "The forget gate's gradient includes cont, as Caffe has it."

    bottoms = (3, 3)
    tops_allowed = (2, 2)
    indices = unforced = (2,)

    def shapes(self, *x: Shape) -> list[Shape]:
        if len(x[0]) != 3 or x[0][0] != 1:
            raise self.error(f"needs a state of shape (1, N, H). Received: {x[0]}", "bottom[0]")
        _, items, hidden = x[0]
        for i, wanted in ((1, (1, items, 4 * hidden)), (2, (1, items))):
            if x[i] != wanted:
                raise self.error(f"must have shape {wanted}. Received: {x[i]}", f"bottom[{i}]")
        return [x[0], x[0]]

    def code(self, node: Node) -> Code:
        return Code("lstm_unit({0}, {1}, {2}[..., None])")
