"""A net as it is drawn: its text so far, and the values that it holds, so that what follows can be drawn to fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from google.protobuf import text_format
from hypothesis import strategies as st

from proto2torch.prototxt.schema import message_class

from .reference import LAYERS, Array, Layer, Refused, Shape
from .reference.base import count
from .values import Kind, blob_values, dropout_mask, input_values

LARGEST = 4096
"""Elements of a blob, at most."""
FARTHEST = 300.0
"""Values lie within this, or the layer that makes them is left out."""

IN_PLACE = {"ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "Dropout", "Softmax", "BatchNorm", "Scale", "Bias", "Exp"}
IN_PLACE |= {"Swish", "Clip", "BNLL"}
"""The layers that may be drawn in place: Caffe's gradient is right, or wrong in a way that is reproduced."""

IN_PLACE_IN_TEST = {"Log", "Power", "LRN", "Threshold"}
"""The layers whose gradient is nobody's in place, and is asked for in no TEST net."""

ODD_NAMES = [
    "conv1/7x7_s2", "class", "self", "1", "x.y", "fc-8", "fc_8", "lambda", "torch", "F", "nn", "loss", "forward",
    "a b", "über", 'say "x"', "back\\slash", "{0}", "%s", "None", "math", "x", "super", "__init__", "training",
    "weight", "data.1", "-", "_", "X", "x_", "tab\t", "print", "T", "0_0", "parameters", "import os", "'", "#",
]  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """A drawn net: its text, the phase it runs in, and what its inputs and blobs hold."""

    text: str
    phase: str
    seed: int
    kinds: dict[str, Kind]
    layers: int

    def inputs(self, shapes: dict[str, Shape]) -> dict[str, Array]:
        """The inputs for these shapes."""
        return {name: input_values(self.seed, name, shape, self.kinds[name]) for name, shape in shapes.items()}

    def __repr__(self) -> str:
        return f"phase {self.phase}, seed {self.seed}\n{self.text}"


@dataclass
class Blob:
    """A blob that layers may read: its last version."""

    value: Array
    reads: int = 0
    weighted: bool = False
    backward: bool = True
    """Whether all that is behind it can back-propagate."""
    closed: bool = False
    """Whether nothing more may read it: the number of its items is known only when it runs."""


def quoted(name: str) -> str:
    """A string of the text format."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'


@dataclass
class Drawing:
    """Draws layers one after the other. `draw` is hypothesis's."""

    draw: Callable[[Any], Any]
    phase: str
    seed: int
    lines: list[str] = field(default_factory=list)
    blobs: dict[str, Blob] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    shared: dict[str, tuple[Array, Shape]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    layers: int = 0

    # Drawing

    def integer(self, low: int, high: int) -> int:
        value: int = self.draw(st.integers(low, high))
        return value

    def choose(self, options: Sequence[T]) -> T:
        value: T = self.draw(st.sampled_from(options))
        return value

    def chance(self, percent: int) -> bool:
        """True so often; what shrinks is False."""
        return bool(self.integer(0, 99) >= 100 - percent)

    def number(self) -> float:
        """A hyper-parameter."""
        return self.choose([1.0, 0.5, 2.0, -1.0, 0.1, 0.3, -0.7, 1.5])

    def name(self, stem: str, refused: Sequence[str] = ()) -> str:
        """A name that is not taken."""
        name = self.choose(ODD_NAMES) if self.chance(8) else stem
        name = stem if name in refused else name
        while name in self.names:
            name += str(len(self.names))
        self.names.add(name)
        return name

    def pick(self, fits: Callable[[Shape], bool] = lambda shape: True) -> str | None:
        """A blob whose shape fits, rather a late one and one that nobody reads."""
        anything = self.chance(5)
        names = [n for n, b in self.blobs.items() if fits(b.value.shape) and self.readable(n)]
        names = [n for n in names if anything or self.blobs[n].backward]
        fresh = [n for n in names if not self.blobs[n].reads]
        if fresh and not self.chance(25):
            names = fresh
        if not names:
            return None
        return names[len(names) - 1 - min(self.integer(0, 3), len(names) - 1)]

    def alike(self, name: str) -> list[str]:
        """The other blobs of the same shape."""
        shape = self.blobs[name].value.shape
        return [n for n, b in self.blobs.items() if b.value.shape == shape and self.readable(n)]

    def readable(self, name: str) -> bool:
        """Whether any layer may read it: it is no label."""
        return self.kinds.get(name, Kind()) == Kind() and not self.blobs[name].closed

    def shape(self, name: str) -> Shape:
        return self.blobs[name].value.shape

    # Adding

    def input(self, shape: Shape, kind: Kind, stem: str = "data") -> str:
        """An Input layer of one top."""
        name = self.name(stem, refused=["self"])  # it is a keyword of the call
        dims = " ".join(f"dim: {d}" for d in shape)
        self.lines.append(
            f'layer {{ name: {quoted(name)} type: "Input" top: {quoted(name)} input_param {{ shape {{ {dims} }} }} }}'
        )
        self.kinds[name] = kind
        self.blobs[name] = Blob(input_values(self.seed, name, shape, kind).astype(float))
        self.layers += 1
        return name

    def add(
        self, type: str, bottoms: Sequence[str], param: str = "", tops: int = 1, in_place: bool = True
    ) -> list[str] | None:
        """Append a layer and return its tops; None if Caffe does not take it or its values grow too large."""
        before = set(self.names)
        name = self.name(f"{type.lower()}{self.layers}")
        top_names = self._top_names(type, name, bottoms, tops, in_place)
        body = [f"name: {quoted(name)} type: {quoted(type)}"]
        body += [f"bottom: {quoted(b)}" for b in bottoms] + [f"top: {quoted(t)}" for t in top_names]
        body += [param, *self._extras(type, bottoms, top_names)]
        layer = self._layer(" ".join(body))
        try:
            made = self._run(layer, name, bottoms)
        except Refused:
            made = None
        if made is None:
            self.names = before
            return None
        values, specs = made
        whole = " ".join(part for part in [*body, *specs] if part)
        if self.chance(4):  # a layer of this name and these tops for each phase
            other = "TEST" if self.phase == "TRAIN" else "TRAIN"
            self.lines.append(f"layer {{ {whole} include {{ phase: {other} }} }}")
            whole += f" include {{ phase: {self.phase} }}"
        self.lines.append(f"layer {{ {whole} }}")
        self._register(layer, bottoms, top_names, values)
        return top_names

    def _top_names(self, type: str, name: str, bottoms: Sequence[str], tops: int, in_place: bool) -> list[str]:
        allowed = IN_PLACE | (IN_PLACE_IN_TEST if self.phase == "TEST" else set())
        if in_place and type in allowed and tops == 1 and self._may_overwrite(bottoms[0]) and self.chance(45):
            return [bottoms[0]]
        if tops == 1 and name not in self.blobs and not self.chance(25):
            return [name]
        return [self.name(f"{name}_{i}") for i in range(tops)]

    def _may_overwrite(self, name: str) -> bool:
        blob = self.blobs[name]
        return not blob.reads and not blob.weighted

    def _extras(self, type: str, bottoms: Sequence[str], tops: Sequence[str]) -> list[str]:
        extras = []
        weigh = 30 if LAYERS[type].loss else 4
        if tops and self.chance(weigh):
            extras += [f"loss_weight: {self.choose([0.3, 2.0, 0.0, -1.5]) if i == 0 else 0}" for i in range(len(tops))]
        if type in ("Dropout", "BatchNorm") and self.chance(8):
            extras.append(f"phase: {self.choose(['TRAIN', 'TEST'])}")
        writes_anyway = type == "BatchNorm" or set(tops) & set(bottoms)  # into a diff that nobody asked for
        if not LAYERS[type].loss and not writes_anyway and self.chance(4):
            never = self._layer(f"name: 'x' type: {quoted(type)} " + " ".join("bottom: 'x'" for _ in bottoms))
            extras += [
                f"propagate_down: {'true' if i not in never.takes_no_gradient and self.chance(50) else 'false'}"
                for i in range(len(bottoms))
            ]
        return extras

    def _layer(self, body: str) -> Layer:
        message = text_format.Parse(body, message_class("LayerParameter")())
        return LAYERS[message.type](message, self.phase)

    def _run(self, layer: Layer, name: str, bottoms: Sequence[str]) -> tuple[list[Array], list[str]] | None:
        """The tops' values and the `param` fields; None where a value or an extent is out of bounds."""
        x = [self.blobs[b].value for b in bottoms]
        shapes = layer.tops(*(a.shape for a in x))
        if any(count(s) > LARGEST for s in shapes):
            return None
        specs = []
        for i, shape in enumerate(layer.blob_shapes(*(a.shape for a in x))):
            if count(shape) > LARGEST:
                return None
            values, spec = self._parameter(layer.message.type, name, i, shape)
            layer.blobs.append(values)
            specs.append(spec)
        with np.errstate(all="ignore"):
            y = layer.forward(*x)
        tops = [np.asarray(a) for a in (y if isinstance(y, tuple) else (y,))]
        for a in tops:
            if a.size and not np.abs(a).max() <= FARTHEST:
                return None
        while specs and specs[-1] == "param {  }":
            specs.pop()
        return tops, specs

    def _parameter(self, type: str, name: str, index: int, shape: Shape) -> tuple[Array, str]:
        """A blob's values, its own or those that it shares, and its `param`."""
        own = blob_values(self.seed, name, type, index, shape).astype(float)
        if type == "BatchNorm":
            return own, "param {  }"
        fields = []
        values = own
        if self.chance(8):
            alike = [n for n, (v, s) in self.shared.items() if v.size == own.size]
            if alike and self.chance(70):
                share = self.choose(alike)
                values = self.shared[share][0].reshape(shape)
                fields += ["share_mode: PERMISSIVE"] * (self.shared[share][1] != shape)
            else:
                share = f"w{len(self.shared)}"
                self.shared[share] = own, shape
            fields.append(f"name: {quoted(share)}")
        elif self.chance(8):
            fields.append(f"lr_mult: {self.choose([0, 2, 0.5])}")
        return values, f"param {{ {' '.join(fields)} }}"

    def _register(self, layer: Layer, bottoms: Sequence[str], tops: Sequence[str], values: Sequence[Array]) -> None:
        for name in bottoms:
            self.blobs[name].reads += 1
        weights = list(layer.message.loss_weight)
        backward = layer.has_backward and all(self.blobs[b].backward for b in bottoms)
        for i, (name, value) in enumerate(zip(tops, values, strict=bool(tops))):
            self.blobs[name] = Blob(value, weighted=bool(weights and weights[i]), backward=backward)
        self.layers += 1

    def case(self, force_backward: bool) -> Case:
        """The net as it stands."""
        head = [f"name: {quoted(self.choose(['net', 'Some Net', 'class', '', '1']))}"]
        head += ["force_backward: true"] * force_backward
        return Case("\n".join([*head, *self.lines]) + "\n", self.phase, self.seed, dict(self.kinds), self.layers)


LAYERS["Dropout"].mask = staticmethod(dropout_mask)  # type: ignore[attr-defined]
