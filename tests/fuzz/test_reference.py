"""The reference itself against what Caffe computed: every layer case, forward, backward and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from proto2torch.prototxt.schema import message_class

from .reference import LAYERS, Layer

FOLDER = Path(__file__).parents[1] / "golden" / "data" / "layers"
CASES = sorted(FOLDER.glob("*/*.prototxt"))


def relative(ours: np.ndarray, caffe: np.ndarray) -> float:
    """Relative norm of the difference; infinite where the shapes differ."""
    if ours.shape != caffe.shape:
        return float("inf")
    same = (ours == caffe) | (np.isnan(ours) & np.isnan(caffe))
    return float(np.linalg.norm(np.where(same, 0, ours - caffe)) / max(np.linalg.norm(np.nan_to_num(caffe)), 1e-12))


def numbered(case: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    return [case[f"{prefix}_{i}"].astype(float) for i in range(len(case)) if f"{prefix}_{i}" in case]


def layer_of(path: Path, phase: str) -> Layer:
    net: Any = text_format.Parse(path.read_text(), message_class("NetParameter")())
    message = next(m for m in net.layer if m.name == "layer")
    return LAYERS[message.type](message, phase)


def tops_diff(case: dict[str, np.ndarray], tops: Sequence[np.ndarray], layer: Layer) -> list[np.ndarray]:
    """What was fed back; a loss is fed its weight."""
    weights = list(layer.message.loss_weight) or [float(layer.loss)]
    own = [np.full(top.shape, weight) for top, weight in zip(tops, weights + [0.0] * len(tops), strict=False)]
    return [case[f"top_diff_{i}"].astype(float) if f"top_diff_{i}" in case else own[i] for i in range(len(tops))]


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def test_every_golden_type_is_covered() -> None:
    assert {path.parent.name for path in CASES} - set(LAYERS) == set()


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_case(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(path.with_suffix(".npz")) as stored:
        case = dict(stored)
    layer, x = layer_of(path, str(case["phase"])), numbered(case, "bottom")
    layer.blobs = numbered(case, "param")
    if path.parent.name == "Dropout":
        kept = (case["top_0"] != 0) | (case["bottom_0"] == 0)
        monkeypatch.setattr(LAYERS["Dropout"], "mask", staticmethod(lambda shape, ratio: kept.astype(float)))

    shapes = [a.shape for a in x]
    assert layer.blob_shapes(*shapes) == [b.shape for b in layer.blobs]
    y = as_list(layer.forward(*x))
    assert [a.shape for a in y] == layer.tops(*shapes)
    problems = {f"top_{i}": relative(a, case[f"top_{i}"]) for i, a in enumerate(y)}
    for i, blob in enumerate(layer.blobs):
        if f"param_after_{i}" in case:
            problems[f"param_after_{i}"] = relative(blob, case[f"param_after_{i}"])
    diffs = {k: v for k, v in case.items() if k.startswith(("bottom_diff", "param_diff"))}
    if diffs:
        dx = as_list(layer.backward(x, y, tops_diff(case, y, layer)))
        ours = {f"bottom_diff_{i}": d for i, d in enumerate(dx)} | {
            f"param_diff_{i}": d for i, d in enumerate(layer.diffs)
        }
        for key, value in diffs.items():
            given = ours[key]
            problems[key] = relative(np.zeros(value.shape) if given is None else given, value)
    assert {k: v for k, v in problems.items() if not v <= 2e-6} == {}
