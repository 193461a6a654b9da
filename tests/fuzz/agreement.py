"""Whether proto2torch and the reference say the same of a drawn net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

import proto2torch as p2t
from proto2torch.codegen.export import export
from proto2torch.errors import Proto2TorchError
from proto2torch.prototxt.read import read_net

from .interpreter import AUTOMATIC, Interpreter, parse
from .nets import Case
from .reference import Array, Refused, Shape
from .values import blob_values, dropout_mask

FORWARD, BACKWARD = 1e-5, 1e-4
"""Relative norms of the difference from the reference."""
IN_PLACE = "works in place"
"""What is said of nets whose gradient in Caffe is nobody's: an in-place layer writes over what a backward reads."""
SMALLEST = 1e-12
"""A difference that is too small to count, an element."""
SHAKES = 4
"""Runs of the reference with float32's errors drawn."""
MARGIN = 30.0
"""A difference may be so many times what those runs show."""


class Disagreement(AssertionError):
    """proto2torch and the reference differ."""


@contextmanager
def masks_by_shape() -> Iterator[None]:
    """Let torch's dropout draw the reference's masks."""

    def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        mask = torch.from_numpy(dropout_mask(tuple(x.shape), p)).to(x.dtype)
        return x * mask / (1 - p) if training else x

    with mock.patch("torch.nn.functional.dropout", dropout):
        yield


class Reference:
    """The interpreter of a case, run once forward and backward."""

    def __init__(self, case: Case, noise: int | None = None, shapes: Mapping[str, Shape] | None = None) -> None:
        self.case = case
        stream = None if noise is None else np.random.default_rng(noise)
        self.net = Interpreter(parse(case.text), case.phase, shapes, stream)
        self.blobs = {
            (at, i): blob_values(case.seed, step.name, step.type, i, parameter.shape)
            for at, step in enumerate(self.net.steps)
            for i, parameter in enumerate(step.parameters)
            if parameter.owner is None
        }
        self.net.set_blobs(self.blobs)
        self.first = self.by_layer()
        self.inputs = case.inputs(self.net.inputs)

    def by_layer(self) -> dict[str, list[Array]]:
        """The blobs of each layer as they are now, sharers' too."""
        return {s.name: [b.astype(np.float32) for b in s.layer.blobs] for s in self.net.steps if s.parameters}

    def results(self) -> dict[str, Array]:
        """Everything that is compared: outputs and loss, gradients, statistics, and every blob of a second forward."""
        found: dict[str, Array] = {"loss": np.array(self.net.forward(self.inputs))}
        found |= {f"output {name}": self.net.data[name] for name in self.net.outputs}
        try:
            found |= self._gradients()
        except Refused:
            found["refused"] = np.array(1.0)
        self.net.forward(self.inputs)
        found |= {f"blob {name}": value for name, value in self.net.data.items() if not name.startswith(AUTOMATIC)}
        return found

    def _gradients(self) -> dict[str, Array]:
        gradients = self.net.backward()
        if self.case.phase == "TEST" and self.net.noise is None:
            plain = self.net.backward(in_memory=False)
            if any(not np.array_equal(plain[at], gradients[at], equal_nan=True) for at in plain):
                return {}  # a TEST net may have the derivative where Caffe's gradient is nobody's
        found = {
            f"gradient {self.net.steps[at].name} {i}": g for (at, i), g in gradients.items() if self.net.learning[at, i]
        }
        if self.net.net.force_backward:
            found |= {f"gradient {name}": self.net.diff[name] for name in self.inputs if self._wanted(name)}
        for step in self.net.steps:
            if step.type == "BatchNorm":
                found |= {f"statistics {step.name} {i}": b.copy() for i, b in enumerate(step.layer.blobs)}
        return found

    def _wanted(self, name: str) -> bool:
        """Whether every reader of a blob computes its diff: Caffe leaves the others out, where torch is asked for all."""
        for step in self.net.steps:
            for bottom, need in zip(step.bottoms, step.bottom_need, strict=True):
                if bottom == name and not (need and (step.type != "Split" or all(map(self._wanted, step.tops)))):
                    return False
        return True


def check(case: Case) -> bool:
    """Raise Disagreement where proto2torch differs; say whether the net was compared to the end."""
    reference = Reference(case)
    expected = reference.results()
    with masks_by_shape():
        try:
            net = p2t.load(text=case.text, phase=case.phase)
        except Proto2TorchError as error:
            if "refused" in expected or IN_PLACE in str(error):
                return False
            raise Disagreement(f"refused: {error}") from error
        _check_shapes(net, reference)
        net.load_weights(reference.first)
        ours = _results(net, reference, expected)
        _compare(case, ours, expected)
        _check_export(case, net, reference)
        _check_other_batch(case, net, reference)
    return "refused" not in expected


def _check_shapes(net: Any, reference: Reference) -> None:
    """The shape formulas of inputs, of blobs and of learnable blobs, and the order of the outputs."""
    shapes = {"inputs": dict(net.inputs), "outputs": list(net.outputs)}
    shapes["blobs"] = {
        v.blob: v.shape for node in net.graph.nodes for v in node.outputs if not v.blob.startswith(AUTOMATIC)
    }
    shapes["params"] = {name: [b.shape for b in blobs] for name, blobs in net.params.items()}
    known = {name: shape for name, shape in reference.net.shapes.items() if not name.startswith(AUTOMATIC)}
    expected = {"inputs": reference.net.inputs, "outputs": reference.net.outputs, "blobs": known}
    expected["params"] = {s.name: [p.shape for p in s.parameters] for s in reference.net.steps if s.parameters}
    for what, value in shapes.items():
        if value != expected[what]:
            raise Disagreement(f"{what}: {value}, expected {expected[what]}")


def _results(net: Any, reference: Reference, expected: Mapping[str, Array]) -> dict[str, Array]:
    inputs = {name: torch.from_numpy(value) for name, value in reference.inputs.items()}
    forced = reference.net.net.force_backward
    if forced:
        inputs = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    outputs = net(**inputs)
    found = {"loss": _array(net.loss)} | {f"output {name}": _array(y) for name, y in outputs.items()}
    if "refused" not in expected:
        if net.loss.requires_grad:
            net.loss.backward()
        for key in (k for k in expected if k.startswith("gradient ")):
            layer, _, index = key.removeprefix("gradient ").rpartition(" ")
            name = key.removeprefix("gradient ")
            grad = inputs[name].grad if name in inputs else net.params[layer][int(index)].grad
            found[key] = np.zeros(expected[key].shape) if grad is None else _array(grad)
        for key in (k for k in expected if k.startswith("statistics ")):
            layer, _, index = key.removeprefix("statistics ").rpartition(" ")
            found[key] = _array(net.params[layer][int(index)].data).copy()
    plain = {name: x.detach() for name, x in inputs.items()}
    blobs = [key.removeprefix("blob ") for key in expected if key.startswith("blob ")]
    with torch.no_grad():
        features = net.features(*blobs, **plain)
    return found | {f"blob {name}": _array(value) for name, value in features.items()}


def _array(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


def _compare(case: Case, ours: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    differing = {k: _difference(k, ours[k], expected[k]) for k in expected if k != "refused"}
    differing = {k: v for k, v in differing.items() if v}
    if not differing:
        return
    shaken = [Reference(case, noise).results() for noise in range(SHAKES)]
    for key, why in differing.items():
        _explain(why, ours[key], expected[key], [run[key] for run in shaken])


def _explain(why: str, ours: Array, expected: Array, shaken: Sequence[Array]) -> None:
    """Disagreement, unless float32's errors are behind the difference."""
    off = float(np.linalg.norm(ours - expected)) if ours.shape == expected.shape else np.inf
    spread = max(float(np.linalg.norm(run - expected)) for run in shaken)
    if not off <= MARGIN * spread:
        raise Disagreement(f"{why}; float32's errors explain {spread:.3g}, and not {off:.3g}")


def _difference(key: str, ours: Array, expected: Array) -> str | None:
    if ours.shape != expected.shape:
        return f"{key}: shape {ours.shape}, expected {expected.shape}"
    if key.startswith(("gradient", "batch")) and not np.isfinite(expected).all():
        return None  # Caffe multiplies a NaN by zero where torch writes zero; another batch may leave float32's range
    bound = BACKWARD if key.startswith("gradient") else FORWARD
    same = (ours == expected) | (np.isnan(ours) & np.isnan(expected))
    off = np.linalg.norm(np.where(same, 0, ours - expected))
    size = np.linalg.norm(np.where(same & ~np.isfinite(expected), 0, expected))
    return (
        None
        if off <= max(bound * size, SMALLEST * np.sqrt(max(expected.size, 1)))
        else f"{key}: relative difference {off / max(size, 1e-30):.3g}"
    )


def _check_export(case: Case, net: Any, reference: Reference) -> None:
    """The exported source, executed by itself, gives bit for bit what the net gives."""
    definition = read_net(text=case.text)
    source = export(definition, lambda *_: (), phase=case.phase, keep_labels=True)
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(compile(source.text, "exported.py", "exec"), namespace)
    module: nn.Module = namespace[source.class_name]()
    module.train(case.phase == "TRAIN")
    copy_state(net.module, module)
    inputs = [torch.from_numpy(reference.inputs[name]) for name in source.inputs]
    with torch.no_grad():
        theirs = module(*inputs)
        ours = net(**{name: torch.from_numpy(x) for name, x in reference.inputs.items()})
    given = {source.returns[0]: theirs} if isinstance(theirs, Tensor) else theirs
    for name, value in ours.items():
        if not torch.equal(torch.nan_to_num(value), torch.nan_to_num(given[name])):
            raise Disagreement(f"export: output {name} is not the built net's")


@torch.no_grad()
def copy_state(source: nn.Module, target: nn.Module) -> None:
    """Every parameter and every buffer, persistent or not, by its name."""
    theirs = dict(source.named_parameters(remove_duplicate=False)) | dict(source.named_buffers(remove_duplicate=False))
    own = dict(target.named_parameters(remove_duplicate=False)) | dict(target.named_buffers(remove_duplicate=False))
    if set(own) != set(theirs):
        raise Disagreement(f"export: keeps {sorted(set(own) ^ set(theirs))}")
    for name, tensor in own.items():
        if tensor.shape == theirs[name].shape:
            tensor.copy_(theirs[name])
        else:  # the state that an LSTM keeps takes its shape from the first batch
            path, _, leaf = name.rpartition(".")
            setattr(target.get_submodule(path), leaf, theirs[name].clone())


def _check_other_batch(case: Case, net: Any, reference: Reference) -> None:
    """One item more in every input: where Caffe reshapes, so does the module. RNN and LSTM fix their first axis."""
    if any(step.type in ("RNN", "LSTM") for step in reference.net.steps):
        return
    shapes = {name: (shape[0] + 1, *shape[1:]) for name, shape in reference.net.inputs.items() if shape}
    try:
        other = Reference(case, shapes=shapes)
        if [b.shape for b in other.blobs.values()] != [b.shape for b in reference.blobs.values()]:
            return
        other.net.forward(other.inputs)
    except (Refused, IndexError):
        return
    net.load_weights(other.first)
    with torch.no_grad():
        ours = net(**{name: torch.from_numpy(x) for name, x in other.inputs.items()})
    for name, value in ours.items():
        why = _difference(f"batch of {name}", _array(value), other.net.data[name])
        if why:
            shaken = [Reference(case, noise, shapes) for noise in range(SHAKES)]
            for one in shaken:
                one.net.forward(one.inputs)
            _explain(why, _array(value), other.net.data[name], [one.net.data[name] for one in shaken])
