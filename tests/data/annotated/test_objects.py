"""Boxes: overlaps, and what of them is seen through a crop."""

from __future__ import annotations

import numpy as np
import pytest

from proto2torch.data.annotated.objects import Objects, coverage, emitted, jaccard, mirrored, read, seen_through
from proto2torch.prototxt import schema

from .records import message, record


def objects(*boxes: tuple[float, float, float, float]) -> Objects:
    count = len(boxes)
    return Objects(
        np.arange(1, count + 1),
        np.zeros(count, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros(count, np.bool_),
    )


def test_overlap_and_coverage() -> None:
    a, b = np.float32([0, 0, 0.4, 0.4]), np.float32([[0.2, 0.2, 0.4, 0.6], [0.5, 0.5, 1, 1], [0.4, 0.4, 0, 0]])
    assert jaccard(a, b).tolist() == pytest.approx([0.04 / 0.2, 0, 0])
    assert coverage(a, b).tolist() == pytest.approx([0.25, 0, 0])
    assert coverage(b, a).tolist() == pytest.approx([0.5, 0, 0])


def test_what_a_crop_shows_is_told_in_its_own_shares() -> None:
    seen = seen_through(
        objects((0.2, 0.2, 0.4, 0.6), (0, 0, 0.1, 0.1), (0.45, 0, 0.9, 1)), np.float32([0.1, 0, 0.5, 0.5])
    )
    assert seen.labels.tolist() == [1, 3]
    assert seen.boxes.tolist() == [pytest.approx([0.25, 0.4, 0.75, 1]), pytest.approx([0.875, 0, 1, 1])]


def test_a_box_without_area_is_not_seen() -> None:
    assert len(seen_through(objects((0.2, 0.2, 0.2, 0.6)), np.float32([0, 0, 1, 1]))) == 0


def test_emit_constraints() -> None:
    shown = objects((0, 0, 0.4, 0.4), (0.1, 0.1, 0.8, 0.8))
    crop = np.float32([0, 0, 0.42, 0.42])
    assert emitted(shown, crop, message("EmitConstraint")).labels.tolist() == [1]
    overlap = message("EmitConstraint", emit_type=1, emit_overlap=0.2)
    assert emitted(shown, crop, overlap).labels.tolist() == [1, 2]
    overlap.emit_overlap = 0.5
    assert emitted(shown, crop, overlap).labels.tolist() == [1]


def test_mirrored() -> None:
    assert mirrored(objects((0.1, 0.2, 0.4, 0.9))).boxes[0].tolist() == pytest.approx([0.6, 0.2, 0.9, 0.9])


def test_rows_of_a_record() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    shown = [(3, 0, (0.1, 0.2, 0.3, 0.4), False), (5, 2, (0.5, 0.5, 1.0, 1.0), True)]
    annotated = schema.message_class("AnnotatedDatum").FromString(record(image, shown))
    rows = read(annotated).rows(4)
    assert rows.tolist() == [
        pytest.approx([4, 3, 0, 0.1, 0.2, 0.3, 0.4, 0]),
        pytest.approx([4, 5, 2, 0.5, 0.5, 1, 1, 1]),
    ]
