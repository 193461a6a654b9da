"""Whether proto2torch and the reference say the same of a drawn net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import proto2torch as p2t
from proto2torch.errors import Proto2TorchError

from .interpreter import AUTOMATIC
from .nets import FARTHEST, Case
from .reference import Array, Refused, Shape
from .running import Reference, Results, array, exported, masks_by_shape, results, tensors

FORWARD, BACKWARD = 1e-5, 1e-4
"""Relative norms of the difference from the reference."""
SMALLEST = 1e-12
"""A difference that is too small to count, an element."""
SHAKES = (4, 40)
"""Runs of the reference in float32 with errors drawn on top; the more of them where the few do not explain it."""
MARGIN = 30.0
"""A difference may be so many times what those runs show."""
REFUSED = ("works in place", "Caffe overwrites the gradient")
"""What is said of nets whose gradient in Caffe is nobody's: an in-place layer writes over what a backward reads, or one
layer over the gradient of another."""


class Disagreement(AssertionError):
    """proto2torch and the reference differ."""


@dataclass(frozen=True)
class Outcome:
    """What came of a net that agrees."""

    loaded: bool
    """Whether proto2torch took it: it may refuse what Caffe aborts on, and what only a wrong gradient comes from."""
    gradients: int = 0
    """How many gradients were compared: of some TEST nets Caffe's are nobody's, and of some nets there are none."""
    explained: int = 0
    """How many results differ by more than the bounds, and no more than float32's errors explain."""


@np.errstate(all="ignore")
def check(case: Case) -> Outcome:
    """Raise Disagreement where proto2torch differs from the reference."""
    reference = Reference(case)
    expected = reference.results()
    with masks_by_shape():
        try:
            net = p2t.load(text=case.text, phase=case.phase)
        except Proto2TorchError as error:
            if "refused" in expected or any(reason in str(error) for reason in REFUSED):
                return Outcome(loaded=False)
            raise Disagreement(f"refused: {error}") from error
        if "refused" in expected and case.phase == "TRAIN" and not reference.net.net.force_backward:
            raise Disagreement("loads for training, though Caffe aborts in backward")
        _check_shapes(net, reference)
        net.load_weights(reference.first)
        sources = {fold: exported(case, net, reference.inputs, fold) for fold in (True, False)}
        ours = results(net, reference, expected)
        for fold, source in sources.items():
            _check_export(source, ours, "folded" if fold else "flat")
        explained = _compare(case, ours, expected) + _check_other_shapes(case, net, reference)
    return Outcome(True, sum(key.startswith("gradient") for key in expected), explained)


def _check_shapes(net: Any, reference: Reference) -> None:
    """The shape formulas of inputs, of blobs and of learnable blobs, and the order of the outputs."""
    listed = {top for layer in net.definition.layers for top in layer.message.top}
    blobs = {v.blob: v.shape for node in net.graph.nodes for v in node.outputs if v.blob in listed}
    params = {name: [b.shape for b in blobs] for name, blobs in net.params.items()}
    steps = reference.net.steps
    pairs = {
        "inputs": (dict(net.inputs), reference.net.inputs),
        "outputs": (list(net.outputs), reference.net.outputs),
        "blobs": (blobs, {n: shape for n, shape in reference.net.shapes.items() if not n.startswith(AUTOMATIC)}),
        "params": (params, {s.name: [p.shape for p in s.parameters] for s in steps if s.parameters}),
    }
    for what, (ours, expected) in pairs.items():
        if ours != expected:
            raise Disagreement(f"{what}: {ours}, expected {expected}")


def _check_export(source: Results, ours: Results, what: str) -> None:
    """The source gives bit for bit what the net gives."""
    for key in (k for k in ours if k.startswith("output ")):
        if not np.array_equal(source[key.removeprefix("output ")], ours[key], equal_nan=True):
            raise Disagreement(f"{what} source: {key} is not the built net's")


def _check_other_shapes(case: Case, net: Any, reference: Reference) -> int:
    """One item more in every input, or one row and column: where Caffe reshapes, so does the net. RNN and LSTM fix
    their first axis."""
    if any(step.type in ("RNN", "LSTM") for step in reference.net.steps):
        return 0
    inputs = reference.net.inputs
    batch = {name: (shape[0] + 1, *shape[1:]) for name, shape in inputs.items() if shape}
    larger = {name: (*shape[:2], *(n + 1 for n in shape[2:])) for name, shape in inputs.items()}
    return sum(_check_shapes_of(case, net, reference, shapes) for shapes in (batch, larger))


def _check_shapes_of(case: Case, net: Any, reference: Reference, shapes: dict[str, Shape]) -> int:
    try:
        other = Reference(case, shapes=shapes)
        expected = other.outputs()
    except (Refused, IndexError):
        return 0
    if [b.shape for b in other.blobs.values()] != [b.shape for b in reference.blobs.values()]:
        return 0
    if not all((np.abs(a) < FARTHEST).all() for a in other.net.data.values()):
        return 0
    net.load_weights(other.first)
    with torch.no_grad():
        ours = {name: array(y) for name, y in net(**tensors(other.inputs)).items()}
    differing = {k: why for k in expected if (why := _difference(f"other shapes: {k}", ours[k], expected[k]))}
    return _explain(differing, ours, expected, lambda noise: Reference(case, noise, shapes).outputs())


def _compare(case: Case, ours: Results, expected: Results) -> int:
    keys = [key for key in expected if key != "refused"]
    differing = {k: why for k in keys if (why := _difference(k, ours[k], expected[k]))}
    return _explain(differing, ours, expected, lambda noise: Reference(case, noise).results())


def _difference(key: str, ours: Array, expected: Array) -> str | None:
    if ours.shape != expected.shape:
        return f"{key}: shape {ours.shape}, expected {expected.shape}"
    if key.startswith("gradient") and not np.isfinite(expected).all():
        return None  # Caffe multiplies a NaN by zero where torch writes zero
    bound = BACKWARD if key.startswith("gradient") else FORWARD
    same = (ours == expected) | (np.isnan(ours) & np.isnan(expected))
    off = float(np.linalg.norm(np.where(same, 0, ours - expected)))
    size = float(np.linalg.norm(np.where(same & ~np.isfinite(expected), 0, expected)))
    small = max(bound * size, SMALLEST * np.sqrt(expected.size))
    return None if off <= small else f"{key}: relative difference {off / max(size, 1e-30):.3g}"


def _explain(differing: dict[str, str], ours: Results, expected: Results, shake: Callable[[int], Results]) -> int:
    """The number of differences, or Disagreement where float32's errors are not behind one of them."""
    off = {k: _norm(ours[k] - expected[k]) if ours[k].shape == expected[k].shape else np.inf for k in differing}
    spread = dict.fromkeys(differing, 0.0)
    seen = 0
    for runs in SHAKES:
        if all(off[k] <= MARGIN * spread[k] for k in differing):
            break
        for noise in range(seen, runs):
            shaken = shake(noise)
            spread = {k: max(spread[k], _norm(shaken[k] - expected[k])) for k in differing}
        seen = runs
    for key, why in differing.items():
        if not off[key] <= MARGIN * spread[key]:
            raise Disagreement(f"{why}; float32's errors explain {spread[key]:.3g}, and not {off[key]:.3g}")
    return len(differing)


def _norm(a: Array) -> float:
    return float(np.linalg.norm(a))
