"""YOLO's boxes, and the detections of its heads."""

import math

import torch
import torch.nn.functional as F

from proto2torch.runtime.detection import none_found, without_overlap


def head_values(x, anchors):
    """A head (N, A (5 + K), H, W) as (N, A, H, W, 5 + K)."""
    return x.unflatten(1, (len(anchors), -1)).movedim(2, -1)


def head_boxes(values, anchors, cell=1):
    """Centre and size, 0 to 1, of each box; anchors in pixels of a cell's side."""
    height, width = values.shape[2:4]
    row = torch.arange(height, device=values.device)[:, None]
    column = torch.arange(width, device=values.device)
    size = values.new_tensor(anchors)[:, None, None]
    x, y = (values[..., i].sigmoid() for i in range(2))
    w, h = (values[..., 2 + i].exp() * size[..., i] for i in range(2))
    boxes = (
        (x + column) / width,
        (y + row) / height,
        w / width / cell,
        h / height / cell,
    )
    return torch.stack(boxes, -1)


def corners(boxes):
    """xmin, ymin, xmax, ymax from centre and size."""
    centre, half = boxes[..., :2], boxes[..., 2:4] / 2
    return torch.cat([centre - half, centre + half], -1)


def common_sides(a, b):
    """The sides of what two boxes by centre and size share, below 0 where they lie
    apart."""
    (a_low, a_high), (b_low, b_high) = (corners(x).split(2, -1) for x in (a, b))
    return torch.minimum(a_high, b_high) - torch.maximum(a_low, b_low)


def overlap_of(a, b):
    """Intersection over union of boxes by centre and size, pair by pair; 0 for NaN."""
    both = common_sides(a, b).clamp(min=0).prod(-1)
    either = a[..., 2:4].prod(-1) + b[..., 2:4].prod(-1) - both
    return (both / either).nan_to_num(0)


def detection_rows(boxes, scores, labels, overlap, images):
    """Rows (1, 1, n, 7) of the boxes that no better one overlaps, the best first."""
    scores, order = scores.sort(descending=True, stable=True)
    boxes, labels = corners(boxes[order]), labels[order] + 1
    keep = without_overlap(boxes, math.nextafter(overlap, 0))
    rows = torch.cat([labels[keep, None], scores[keep, None], boxes[keep]], 1)
    rows = F.pad(rows, (1, 0))
    if not len(rows):
        rows = none_found(images, boxes)
    return rows[None, None]


def region_detections(heads, anchors, threshold=0.01, overlap=0.45):
    """Of each box of YOLOv2 the best class, if objectness times softmax is enough."""
    boxes, scores, labels = [], [], []
    for x in heads:
        values = head_values(x, anchors)
        best, label = values[..., 5:].softmax(-1).max(-1)
        score = values[..., 4].sigmoid() * best
        likely = score >= threshold
        boxes.append(head_boxes(values, anchors)[likely])
        scores.append(score[likely])
        labels.append(label[likely])
    found = (torch.cat(parts) for parts in (boxes, scores, labels))
    return detection_rows(*found, overlap, len(heads[0]))


def yolo_detections(heads, anchors, cells, threshold=0.01, overlap=0.45):
    """Every class of every box of YOLOv3's heads that is likely enough."""
    boxes, scores, labels = [], [], []
    for x, own, cell in zip(heads, anchors, cells):
        values = head_values(x, own)
        score = values[..., 4:5].sigmoid() * values[..., 5:].sigmoid()
        *place, label = (score > threshold).nonzero().unbind(1)
        boxes.append(head_boxes(values, own, cell)[tuple(place)])
        scores.append(score[(*place, label)])
        labels.append(label)
    found = (torch.cat(parts) for parts in (boxes, scores, labels))
    return detection_rows(*found, overlap, len(heads[0]))
