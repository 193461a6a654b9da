"""The parts of an image that SSD trains on: boxes drawn by batch samplers until they satisfy what is asked of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from proto2torch.data.annotated.objects import Box, Objects, coverage, jaccard

_BOUNDS = ("jaccard_overlap", "sample_coverage", "object_coverage")


def choose(samplers: Sequence[Any], objects: Objects, draw: np.random.Generator) -> Box | None:
    """One of the boxes that the samplers give for an image with these objects; None where they give none."""
    boxes = [box for sampler in samplers for box in sampled(sampler, objects, draw)]
    return boxes[int(draw.integers(len(boxes)))] if boxes else None


def sampled(sampler: Any, objects: Objects, draw: np.random.Generator) -> Iterator[Box]:
    """The boxes of one sampler: of max_trials, those that satisfy its constraint, max_sample of them at most."""
    if not sampler.use_original_image:
        return
    found = 0
    for _ in range(sampler.max_trials):
        if sampler.HasField("max_sample") and found >= sampler.max_sample:
            return
        box = drawn(sampler.sampler, draw)
        if satisfies(box, objects, sampler.sample_constraint):
            found += 1
            yield box


def drawn(sampler: Any, draw: np.random.Generator) -> Box:
    """A box within the image: scale and aspect ratio uniform within their bounds, the ratio then such that neither
    side exceeds the image, its place uniform."""
    scale = draw.uniform(sampler.min_scale, sampler.max_scale)
    ratio = draw.uniform(sampler.min_aspect_ratio, sampler.max_aspect_ratio)
    ratio = min(max(ratio, scale**2), 1 / scale**2)
    width, height = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
    left, top = (draw.uniform(0, max(0.0, 1 - side)) for side in (width, height))
    return np.array([left, top, left + width, top + height], np.float32)


def satisfies(box: Box, objects: Objects, constraint: Any) -> bool:
    """Whether a box meets every bound for some object; any box does where nothing is asked."""
    asked = [name for name in _BOUNDS if constraint.HasField(f"min_{name}") or constraint.HasField(f"max_{name}")]
    if not asked:
        return True
    values = {
        "jaccard_overlap": lambda: jaccard(box, objects.boxes),
        "sample_coverage": lambda: coverage(box, objects.boxes),
        "object_coverage": lambda: coverage(objects.boxes, box),
    }
    met = np.ones(len(objects), np.bool_)
    for name in asked:
        value = values[name]()
        if constraint.HasField(f"min_{name}"):
            met &= value >= getattr(constraint, f"min_{name}")
        if constraint.HasField(f"max_{name}"):
            met &= value <= getattr(constraint, f"max_{name}")
    return bool(met.any())
