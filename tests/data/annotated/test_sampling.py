"""Batch samplers: the bounds of what they draw, its distribution, and the constraints."""

from __future__ import annotations

import numpy as np
import pytest

from proto2torch.data.annotated.objects import Objects
from proto2torch.data.annotated.sampling import choose, drawn, sampled, satisfies
from proto2torch.prototxt import schema

from .records import message
from .test_objects import objects

NOBODY = objects()


def test_boxes_lie_in_the_image_and_have_the_drawn_area() -> None:
    sampler = message("Sampler", min_scale=0.3, max_scale=0.8, min_aspect_ratio=0.5, max_aspect_ratio=2)
    draw = np.random.default_rng(0)
    boxes = np.stack([drawn(sampler, draw) for _ in range(4000)])
    assert boxes.min() >= 0
    assert boxes.max() <= 1 + 1e-6
    size = boxes[:, 2:] - boxes[:, :2]
    scale = np.sqrt(size.prod(1))
    assert 0.3 <= scale.min() <= 0.301
    assert 0.799 <= scale.max() <= 0.801
    assert scale.mean() == pytest.approx(0.55, abs=0.01)
    ratio = size[:, 0] / size[:, 1]
    assert ratio.min() >= 0.499
    assert ratio.max() <= 2.001


def test_the_place_is_uniform() -> None:
    sampler = message("Sampler", min_scale=0.5, max_scale=0.5)
    draw = np.random.default_rng(1)
    corners = np.stack([drawn(sampler, draw)[:2] for _ in range(4000)])
    counts = np.histogram2d(*corners.T, bins=4, range=[[0, 0.5], [0, 0.5]])[0]
    assert counts.min() > 190  # 250 expected
    assert counts.max() < 310


def test_a_side_never_exceeds_the_image() -> None:
    sampler = message("Sampler", min_scale=0.9, max_scale=1, min_aspect_ratio=0.1, max_aspect_ratio=9)
    draw = np.random.default_rng(2)
    for _ in range(200):
        assert (drawn(sampler, draw) <= 1 + 1e-6).all()


@pytest.mark.parametrize(
    ("bounds", "met"),
    [
        ({}, True),
        ({"min_jaccard_overlap": 0.2}, True),
        ({"min_jaccard_overlap": 0.3}, False),
        ({"max_jaccard_overlap": 0.1}, False),
        ({"min_sample_coverage": 0.25}, True),
        ({"max_sample_coverage": 0.2}, False),
        ({"min_object_coverage": 0.5}, True),
        ({"min_object_coverage": 0.6}, False),
        ({"min_object_coverage": 0.5, "min_jaccard_overlap": 0.3}, False),
    ],
)
def test_constraints(bounds: dict[str, float], met: bool) -> None:
    box, shown = np.float32([0, 0, 0.4, 0.4]), objects((0.2, 0.2, 0.4, 0.6))  # share 0.04: of 0.2, 0.16 and 0.08
    nudged = {name: value + (-1e-4 if name.startswith("min") else 1e-4) for name, value in bounds.items()}
    assert satisfies(box, shown, message("SampleConstraint", **nudged)) is met


def test_no_object_satisfies_no_constraint() -> None:
    assert not satisfies(np.float32([0, 0, 1, 1]), NOBODY, message("SampleConstraint", min_jaccard_overlap=0.0))


def test_a_constraint_must_hold_for_one_object_as_a_whole() -> None:
    shown = objects((0, 0, 0.1, 0.1), (0, 0, 1, 1))
    asked = message("SampleConstraint", min_object_coverage=0.9, min_sample_coverage=0.9)
    assert not satisfies(np.float32([0, 0, 0.5, 0.5]), shown, asked)


def sampler(max_sample: int | None, max_trials: int, **constraint: float) -> object:
    made = schema.new("BatchSampler")
    if max_sample is not None:
        made.max_sample = max_sample
    made.max_trials = max_trials
    for name, value in constraint.items():
        setattr(made.sample_constraint, name, value)
    return made


def count(made: object, shown: Objects = NOBODY) -> int:
    return len(list(sampled(made, shown, np.random.default_rng(0))))


def test_as_many_as_asked_or_as_tried() -> None:
    assert count(sampler(2, 50)) == 2
    assert count(sampler(None, 5)) == 5
    assert count(sampler(9, 5)) == 5
    assert count(sampler(1, 50, min_jaccard_overlap=0.5)) == 0


def test_any_box_of_any_sampler_is_as_likely() -> None:
    small, whole = sampler(1, 1), sampler(3, 3)
    small.sampler.min_scale = small.sampler.max_scale = 0.5  # type: ignore[attr-defined]
    draw = np.random.default_rng(3)
    chosen = [choose([small, whole], NOBODY, draw) for _ in range(2000)]
    share = np.mean([box is not None and box[2] - box[0] < 0.6 for box in chosen])
    assert share == pytest.approx(0.25, abs=0.03)


def test_nothing_found_is_no_box() -> None:
    assert choose([sampler(1, 20, min_jaccard_overlap=0.9)], NOBODY, np.random.default_rng(0)) is None
