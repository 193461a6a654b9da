"""Runs a prototxt on the reference: its own filters, splits, in-place memory, sharing, and rules of what back-propagates.

A blob is a place in memory under a name, as in Caffe: an in-place layer writes over it, and a backward that reads it
finds what was written last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf import text_format

from proto2torch.prototxt.schema import message_class

from .reference import LAYERS, Array, Layer, Refused, Shape
from .splitting import insert_splits

FLOAT32 = 2.0**-23
AUTOMATIC = "\0automatic "
"""How the tops begin that losses make which list none; each is a blob by itself."""


@dataclass
class Parameter:
    """A learnable blob: who owns it, and its multiplier."""

    shape: Shape
    owner: tuple[int, int] | None = None
    lr_mult: float = 1.0


@dataclass
class Step:
    """One layer in its place."""

    layer: Layer
    bottoms: list[str]
    tops: list[str]
    weights: list[float]
    parameters: list[Parameter] = field(default_factory=list)
    own: tuple[list[Array], list[Array]] = field(default_factory=lambda: ([], []))
    """The data of bottoms and tops as they were when it ran."""
    bottom_need: list[bool] = field(default_factory=list)
    need: bool = False

    @property
    def name(self) -> str:
        return str(self.layer.message.name)

    @property
    def type(self) -> str:
        return str(self.layer.message.type)


def parse(text: str) -> Any:
    """The NetParameter of a prototxt in the newest format."""
    return text_format.Parse(text, message_class("NetParameter")())


def selected(message: Any, phase: str) -> bool:
    """Whether include and exclude rules, which here name phases only, keep a layer."""

    def matches(rule: Any) -> bool:
        return not rule.HasField("phase") or ("TRAIN", "TEST")[rule.phase] == phase

    if message.include:
        return any(matches(rule) for rule in message.include)
    return not any(matches(rule) for rule in message.exclude)


class Interpreter:
    """A net of the reference.

    `shapes` replaces the shapes of inputs. With `noise` everything is float32, with errors of its size drawn on top: what
    results differ by between such runs, float32 cannot tell.
    """

    def __init__(
        self,
        net: Any,
        phase: str,
        shapes: Mapping[str, Shape] | None = None,
        noise: np.random.Generator | None = None,
    ) -> None:
        self.net, self.phase, self.noise = net, phase, noise
        self.dtype = np.float64 if noise is None else np.float32
        self.data: dict[str, Array] = {}
        self.diff: dict[str, Array] = {}
        self.shapes: dict[str, Shape] = {}
        self.inputs: dict[str, Shape] = {}
        self.steps: list[Step] = []
        self.outputs: list[str] = []
        self.loss = 0.0
        self.given: set[str] = set()  # blobs that hold values of the inputs, which may be labels, and no rounded ones
        self.in_memory = True
        self._owners: dict[str, tuple[int, int]] = {}
        self._explicit: dict[str, float] = {}
        messages = insert_splits([m for m in net.layer if selected(m, phase)])
        for message in messages:
            self._add(message, shapes or {})
        self._settle()
        self._mark()

    # Laying it out

    def _add(self, message: Any, shapes: Mapping[str, Shape]) -> None:
        if message.type == "Input":
            self._add_input(message, shapes)
            return
        layer = LAYERS[message.type](message, self.phase)
        bottoms, tops = list(message.bottom), list(message.top) or [f"{AUTOMATIC}{len(self.steps)}"] * layer.loss
        for i, top in enumerate(tops):
            if top in self.shapes and not (i < len(bottoms) and bottoms[i] == top):
                raise Refused(f"{top} produced by multiple sources")
        known = [self.shapes[name] for name in bottoms]
        self.shapes.update(zip(tops, layer.tops(*known), strict=True))
        weights = list(message.loss_weight) or [1.0 if layer.loss and i == 0 else 0.0 for i in range(len(tops))]
        step = Step(layer, bottoms, tops, weights)
        step.parameters = [
            self._parameter(len(self.steps), i, message, s) for i, s in enumerate(layer.blob_shapes(*known))
        ]
        self.steps.append(step)
        self._track(bottoms, tops)

    def _add_input(self, message: Any, shapes: Mapping[str, Shape]) -> None:
        given = [tuple(s.dim) for s in message.input_param.shape]
        for i, top in enumerate(message.top):
            self.shapes[top] = self.inputs[top] = tuple(shapes.get(top, given[i % len(given)]))
        self._track([], list(message.top))

    def _track(self, bottoms: Sequence[str], tops: Sequence[str]) -> None:
        self.outputs = [name for name in self.outputs if name not in bottoms]
        self.outputs += [name for name in tops if not name.startswith(AUTOMATIC) and name not in self.outputs]

    def _parameter(self, step: int, index: int, message: Any, shape: Shape) -> Parameter:
        if index >= len(message.param):
            return Parameter(shape)
        spec = message.param[index]
        statistics = message.type == "BatchNorm"
        parameter = Parameter(shape, lr_mult=0.0 if statistics else spec.lr_mult)
        if spec.name:
            owner = self._owners.setdefault(spec.name, (step, index))
            if spec.HasField("lr_mult"):
                self._explicit[spec.name] = spec.lr_mult
            if owner != (step, index):
                parameter.owner = owner
        return parameter

    def _settle(self) -> None:
        self.outputs.sort(key=str.encode)
        self.learning: dict[tuple[int, int], float] = {}
        for at, step in enumerate(self.steps):
            for i, parameter in enumerate(step.parameters):
                name = step.layer.message.param[i].name if i < len(step.layer.message.param) else ""
                if parameter.owner is None:
                    rate = self._explicit.get(name, parameter.lr_mult) if name else parameter.lr_mult
                    self.learning[at, i] = 0.0 if step.type == "BatchNorm" else rate

    def _mark(self) -> None:
        """Which layers back-propagate, and into which bottoms: forward what needs a gradient, backward what has one."""
        blob_need: dict[str, bool] = {}
        for step in self.steps:
            given = list(step.layer.message.propagate_down)
            wanted = [blob_need.get(name, False) for name in step.bottoms]
            step.need = any(wanted) or any(p.lr_mult != 0 for p in step.parameters)
            step.bottom_need = given or wanted
            blob_need.update(dict.fromkeys(step.tops, step.need))
        under_loss: set[str] = set()
        skip: set[str] = set()
        for step in reversed(self.steps):
            contributes = any(w or top in under_loss for w, top in zip(step.weights, step.tops, strict=True))
            if step.need and all(top in skip for top in step.tops):
                step.need, step.bottom_need = False, [False] * len(step.bottoms)
            if contributes:
                under_loss.update(step.bottoms)
            else:
                step.need, step.bottom_need = False, [False] * len(step.bottoms)
            skip.update(name for name, need in zip(step.bottoms, step.bottom_need, strict=True) if not need)
        if self.net.force_backward:
            for step in self.steps:
                step.need = True
                left = step.layer.not_forced
                step.bottom_need = [need or i not in left for i, need in enumerate(step.bottom_need)]

    # Running it

    def set_blobs(self, values: Mapping[tuple[int, int], Array]) -> None:
        """Give the learnable blobs, those of owners, their values; sharers see the same memory."""
        for at, step in enumerate(self.steps):
            step.layer.blobs = []
            for i, parameter in enumerate(step.parameters):
                if parameter.owner is None:
                    step.layer.blobs.append(np.array(values[at, i], dtype=self.dtype).reshape(parameter.shape))
                else:
                    step_index, index = parameter.owner
                    step.layer.blobs.append(self.steps[step_index].layer.blobs[index].reshape(parameter.shape))

    def forward(self, inputs: Mapping[str, Array]) -> float:
        """Fill `data` and return the objective."""
        self.data = {name: np.array(value, dtype=self.dtype) for name, value in inputs.items()}
        self.loss, self.given = 0.0, set(inputs)
        for step in self.steps:
            self.data.update(zip(step.tops, self._run(step), strict=True))
            for weight, name in zip(step.weights, step.tops, strict=True):
                self.loss += weight * float(self.data[name].sum()) if weight else 0.0
        return self.loss

    def _run(self, step: Step) -> list[Array]:
        x = [self.data[name] for name in step.bottoms]
        given = [a if name in self.given else self._rounded(a, step) for name, a in zip(step.bottoms, x, strict=True)]
        y = step.layer.forward(*(x if step.layer.exact else given))
        tops = list(y) if isinstance(y, tuple) else [y]
        tops = [np.asarray(a, self.dtype) if step.layer.exact else self._rounded(np.asarray(a), step) for a in tops]
        if step.layer.exact and self.given.issuperset(step.bottoms):
            self.given.update(step.tops)
        else:
            self.given.difference_update(step.tops)
        step.own = x, tops
        return tops

    def _rounded(self, a: Array, step: Step, diff: bool = False) -> Array:
        """`a` with errors such as float32 makes."""
        if self.noise is None:
            return a
        errors = np.sin(a * 1e6) if step.layer.by_value and not diff else self.noise.standard_normal(a.shape)
        return (a * (1 + FLOAT32 * errors)).astype(self.dtype)

    def backward(self, in_memory: bool = True) -> dict[tuple[int, int], Array]:
        """Fill `diff`, and return the gradient of every blob that learns, by its owner.

        `in_memory` says whether a layer finds what its blobs hold by now, as in Caffe, or what they held when it ran.
        """
        self.in_memory = in_memory
        self.diff = {name: np.zeros(a.shape, self.dtype) for name, a in self.data.items()}
        gradients = {at: np.zeros(self.steps[at[0]].parameters[at[1]].shape) for at in self.learning}
        for step in self.steps:
            for weight, name in zip(step.weights, step.tops, strict=True):
                if weight:
                    self.diff[name] = np.full(self.data[name].shape, float(weight))
        for at in range(len(self.steps) - 1, -1, -1):
            if self.steps[at].need:
                self._back(at, gradients)
        return gradients

    def _back(self, at: int, gradients: dict[tuple[int, int], Array]) -> None:
        step = self.steps[at]
        x, y = ([self.data[name] for name in names] for names in (step.bottoms, step.tops))
        if not self.in_memory:
            x, y = step.own
        dy = [self._rounded(self.diff[name], step, diff=True) for name in step.tops]
        if not step.layer.has_backward:
            if any(step.bottom_need):
                raise Refused(f"{step.type} has no backward")
            return
        step.layer.diffs = []
        given = step.layer.backward(x, y, dy)
        given = given if isinstance(given, tuple) else (given,)
        for i, (name, need, dx) in enumerate(zip(step.bottoms, step.bottom_need, given, strict=True)):
            if need and i in step.layer.takes_no_gradient:
                raise Refused(f"{step.type} cannot back-propagate to bottom {i}")
            if dx is not None and (need or step.type == "BatchNorm"):  # which does not ask
                self.diff[name] = self._rounded(np.asarray(dx), step, diff=True)
        for i, diff in enumerate(step.layer.diffs):
            if step.parameters[i].lr_mult != 0 or self.net.force_backward:
                total = gradients[step.parameters[i].owner or (at, i)]
                if step.layer.overwrites(i, *(a.shape for a in x)):
                    total[...] = 0
                total += self._rounded(np.asarray(diff), step, diff=True).reshape(total.shape)
