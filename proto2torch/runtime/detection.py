"""SSD's detections: box codes to boxes, and of those that overlap the best."""

import math

import torch
from torchvision import ops


def decoded(codes, priors, spread, kind="CORNER", weighed=True):
    """Boxes from codes (…, 4): what they differ from their priors by, in variances."""
    codes = codes * spread if weighed else codes
    if kind == "CORNER":
        return priors + codes
    low, high = priors[..., :2], priors[..., 2:]
    size = high - low
    if kind == "CORNER_SIZE":
        return priors + codes * torch.cat([size, size], -1)
    centre = (low + high) / 2 + codes[..., :2] * size
    half = codes[..., 2:].exp() * size / 2
    return torch.cat([centre - half, centre + half], -1)


def without_overlap(boxes, overlap, eta=1):
    """Of boxes, the best first, those that no better one overlaps by more than a share.

    After each that is kept the share shrinks by eta, down to a half. A box with a
    coordinate that is no number overlaps nothing.
    """
    known = boxes.isfinite().all(1, keepdim=True)
    boxes = boxes.where(known, boxes.new_tensor([1, 1, 0, 0])).float()
    if eta == 1:
        ranks = torch.arange(len(boxes), 0, -1, device=boxes.device)
        return ops.nms(boxes, ranks.to(boxes), overlap)
    shares, kept = ops.box_iou(boxes, boxes), []
    for i in range(len(boxes)):
        if not (shares[i, kept] > overlap).any():
            kept.append(i)
            overlap *= eta if overlap > 0.5 else 1
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def detections_of_class(boxes, scores, threshold, overlap, eta, top_k):
    """Rows (n, 5) of one class: score and box, falling."""
    likely = (scores > threshold).nonzero().flatten()
    if top_k and top_k < len(likely):  # fewer to sort
        likely = likely[scores[likely] >= scores[likely].topk(top_k).values[-1]]
    best = scores[likely].argsort(descending=True, stable=True)[:top_k]
    chosen = likely[best]
    chosen = chosen[without_overlap(boxes[chosen], overlap, eta)]
    return torch.cat([scores[chosen, None], boxes[chosen]], 1)


def detections_of_image(boxes, scores, background, keep, **options):
    """Rows (n, 6) of one image: label, score and box; by label, by falling score."""
    rows = []
    for label, own in enumerate(scores.t().contiguous()):
        if label != background:
            place = boxes[:, label % boxes.shape[1]]
            found = detections_of_class(place, own, **options)
            rows.append(torch.cat([torch.full_like(found[:, :1], label), found], 1))
    rows = torch.cat(rows) if rows else scores.new_zeros(0, 6)
    if keep is None or len(rows) <= keep:
        return rows
    best = rows[:, 1].argsort(descending=True, stable=True)[:keep]
    return rows[best.sort().values]


def none_found(images, like):
    """A row of -1 for each image, its number in front."""
    rows = like.new_full((images, 7), -1)
    rows[:, 0] = torch.arange(images, device=like.device)
    return rows


def detections(
    codes,
    scores,
    priors,
    classes,
    code="CORNER",
    background=0,
    threshold=-math.inf,
    overlap=0.3,
    eta=1,
    top_k=None,
    keep=None,
    shared=True,
    weighed=True,
):
    """SSD's detections (1, 1, n, 7): image, label, score, xmin, ymin, xmax, ymax.

    One row of -1 an image, the image's number in front, where nothing is found.
    """
    count = priors.shape[2] // 4
    corners, spread = priors.reshape(2, count, 1, 4)
    codes = codes.reshape(len(codes), count, 1 if shared else classes, 4)
    boxes = decoded(codes, corners, spread, code, weighed)
    options = {"threshold": threshold, "overlap": overlap, "eta": eta, "top_k": top_k}
    rows = []
    for i, own in enumerate(scores.reshape(len(scores), count, classes)):
        found = detections_of_image(boxes[i], own, background, keep, **options)
        rows.append(torch.cat([torch.full_like(found[:, :1], i), found], 1))
    if not any(len(found) for found in rows):
        rows = [none_found(len(scores), scores)]
    return torch.cat(rows)[None, None]
