"""The objects of an image: their boxes, as shares of its width and height, and what they are.

Formulas are SSD's, in float32. A box whose corners are the wrong way round has no area.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = NDArray[np.float32]
"""xmin, ymin, xmax, ymax: (4,), or (n, 4)."""

WHOLE: Box = np.array([0, 0, 1, 1], np.float32)


@dataclass(frozen=True)
class Objects:
    """n objects in the order of their record: labels (n,), instances (n,), boxes (n, 4), difficult (n,)."""

    labels: NDArray[np.int64]
    instances: NDArray[np.int64]
    boxes: Box
    difficult: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, kept: NDArray[np.bool_]) -> Objects:
        """Those of them that are kept."""
        return Objects(self.labels[kept], self.instances[kept], self.boxes[kept], self.difficult[kept])

    def at(self, boxes: Box) -> Objects:
        """The same objects in other boxes."""
        return replace(self, boxes=boxes)

    def rows(self, image: int) -> NDArray[np.float32]:
        """(n, 8): image, label, instance, xmin, ymin, xmax, ymax, difficult."""
        rows = np.empty((len(self), 8), np.float32)
        rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 7] = image, self.labels, self.instances, self.difficult
        rows[:, 3:7] = self.boxes
        return rows


def read(annotated: Any) -> Objects:
    """The objects of an AnnotatedDatum."""
    found = [(group.group_label, one) for group in annotated.annotation_group for one in group.annotation]
    boxes = [(one.bbox.xmin, one.bbox.ymin, one.bbox.xmax, one.bbox.ymax) for _, one in found]
    return Objects(
        np.array([label for label, _ in found], np.int64),
        np.array([one.instance_id for _, one in found], np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([one.bbox.difficult for _, one in found], np.bool_),
    )


def area(boxes: Box) -> NDArray[np.float32]:
    """Width times height, 0 for boxes that have none."""
    size = boxes[..., 2:] - boxes[..., :2]
    return np.asarray(np.where((size < 0).any(-1), 0, size.prod(-1)), np.float32)


def common(a: Box, b: Box) -> NDArray[np.float32]:
    """The area of what two boxes share."""
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.asarray(np.where((size > 0).all(-1), size.prod(-1), 0), np.float32)


def jaccard(a: Box, b: Box) -> NDArray[np.float32]:
    """Intersection over union; 0 where they share nothing."""
    shared = common(a, b)
    return _share(shared, area(a) + area(b) - shared)


def coverage(a: Box, b: Box) -> NDArray[np.float32]:
    """The share of `a` that lies in `b`."""
    return _share(common(a, b), area(a))


def _share(part: NDArray[np.float32], whole: NDArray[np.float32]) -> NDArray[np.float32]:
    """part / whole; 0 where there is no part."""
    share = np.zeros_like(part)
    np.divide(part, whole, out=share, where=part > 0)
    return share


def clipped(boxes: Box) -> Box:
    """The boxes cut off at the image's edge."""
    return np.asarray(boxes.clip(0, 1), np.float32)


def seen_through(objects: Objects, crop: Box) -> Objects:
    """The objects of which something lies in a crop of the image, their boxes as shares of the crop."""
    boxes = objects.boxes
    apart = (boxes[:, :2] >= crop[2:]).any(1) | (boxes[:, 2:] <= crop[:2]).any(1)
    size = np.tile(crop[2:] - crop[:2], 2)
    projected = clipped(((boxes - np.tile(crop[:2], 2)) / size).astype(np.float32))
    kept = ~apart & (area(projected) > 0)
    return objects.at(projected).only(kept)


def emitted(objects: Objects, crop: Box, constraint: Any) -> Objects:
    """The objects that emit_constraint lets stay in a crop: those whose centre lies in it, or of which more than
    emit_overlap does."""
    if constraint.emit_type == constraint.DESCRIPTOR.enum_types_by_name["EmitType"].values_by_name["CENTER"].number:
        centre = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2
        inside = (centre >= crop[:2]) & (centre <= crop[2:])
        return objects.only(np.asarray(inside.all(1)))
    return objects.only(coverage(objects.boxes, crop) > constraint.emit_overlap)


def mirrored(objects: Objects) -> Objects:
    """The objects of the mirrored image."""
    boxes = objects.boxes.copy()
    boxes[:, [0, 2]] = 1 - objects.boxes[:, [2, 0]]
    return objects.at(boxes)
