"""The regions that a region proposal network proposes."""

import math

import torch

from proto2torch.runtime.detection import without_overlap


def rpn_anchors(ratios, scales, base=16):
    """py-faster-rcnn's: a square of `base`, its sides by ratio rounded, then scaled."""
    centre, anchors = (base - 1) / 2, []
    for ratio in ratios:
        width = round(math.sqrt(base * base / ratio))
        height = round(width * ratio)
        for scale in scales:
            x, y = (width * scale - 1) / 2, (height * scale - 1) / 2
            anchors.append([centre - x, centre - y, centre + x, centre + y])
    return anchors


def pixel_anchors(ratios, scales, base=16):
    """PVANET's: `scale` is the side in pixels, the sides cut to whole numbers."""
    centre, anchors = (base - 1) / 2, []
    for ratio in ratios:
        width = math.sqrt(base * base / ratio)
        height = width * ratio
        for scale in scales:
            x = int(width * scale / base - 0.5) / 2
            y = int(height * scale / base - 0.5) / 2
            anchors.append([centre - x, centre - y, centre + x, centre + y])
    return anchors


def anchor_grid(anchors, stride, height, width, device):
    """The anchors at each place of a map, (H W A, 4), `stride` pixels apart."""
    steps = torch.arange(max(height, width), device=device) * float(stride)
    y, x = torch.meshgrid(steps[:height], steps[:width], indexing="ij")
    shift = torch.stack([x, y, x, y], -1)[:, :, None]
    return (shift + torch.tensor(anchors, device=device)).reshape(-1, 4)


def by_place(x, values):
    """A map (values A, H, W) as rows (H W A, values)."""
    return x.unflatten(0, (-1, values)).permute(2, 3, 0, 1).reshape(-1, values)


def pixel_sides(boxes):
    """Width and height of boxes whose ends count as pixels."""
    return boxes[:, 2:] - boxes[:, :2] + 1


def moved(boxes, deltas):
    """Boxes with their centres moved by deltas of their size, and scaled by e^delta."""
    size = pixel_sides(boxes)
    centre = boxes[:, :2] + size / 2 + deltas[:, :2] * size
    half = deltas[:, 2:].exp() * size / 2
    return torch.cat([centre - half, centre + half], 1)


def within(boxes, height, width):
    """Boxes cut to an image of that size."""
    most = torch.stack([width, height, width, height]) - 1
    return torch.minimum(boxes, most).clamp(min=0)


def best_apart(boxes, scores, before, after, overlap):
    """The best boxes and their scores: of the `before` best those that lie apart, and
    of them `after`; sides count their last pixel."""
    scores = scores.nan_to_num(-math.inf)
    scores, order = scores.sort(descending=True, stable=True)
    boxes, scores = boxes[order[:before]], scores[:before]
    ends = boxes + boxes.new_tensor([0, 0, 1, 1])
    keep = without_overlap(ends, overlap)[:after]
    return boxes[keep], scores[keep]


def region_proposals(
    scores,
    deltas,
    info,
    ratios,
    scales,
    base=16,
    stride=16,
    least=16,
    before=None,
    after=300,
    overlap=0.7,
    keep_last=False,
    scored=False,
):
    """py-faster-rcnn's regions of image 0, (R, 5); with `scored` their scores, (R, 1).

    A box whose sides are not `least` times the image's scale is left out; with
    `keep_last` the last of the list is not.
    """
    height, width, scale = info.flatten()[:3]
    anchors = rpn_anchors(ratios, scales, base)
    grid = anchor_grid(anchors, stride, *scores.shape[2:], scores.device).to(deltas)
    boxes = within(moved(grid, by_place(deltas[0], 4)), height, width)
    large = (pixel_sides(boxes) >= least * scale).all(1)
    if keep_last:
        large[-1:] = True
    scores = by_place(scores[0, len(anchors) :], 1).flatten()
    boxes, scores = best_apart(boxes[large], scores[large], before, after, overlap)
    rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], 1)
    return (rois, scores[:, None]) if scored else rois


def pixel_proposals(
    scores,
    deltas,
    info,
    ratios,
    scales,
    base=16,
    stride=16,
    least=16,
    before=6000,
    after=300,
    overlap=0.7,
    scored=False,
):
    """PVANET's regions of every image: (R, 5), and with `scored` their scores (R).

    A box whose sides are not `least` times the image's scales gets score 0.
    """
    height, width, *zoom = info.flatten()[:4]
    anchors = pixel_anchors(ratios, scales, base)
    grid = anchor_grid(anchors, stride, *scores.shape[2:], scores.device).to(deltas)
    rows, kept = [], []
    for image, (score, delta) in enumerate(zip(scores, deltas)):
        boxes = within(moved(grid, by_place(delta, 4)), height, width)
        large = (pixel_sides(boxes) >= least * torch.stack(zoom[::-1])).all(1)
        score = by_place(score[len(anchors) :], 1).flatten().where(large, 0)
        boxes, score = best_apart(boxes, score, before, after, overlap)
        rows.append(torch.cat([torch.full_like(boxes[:, :1], image), boxes], 1))
        kept.append(score)
    rois = torch.cat(rows)
    return (rois, torch.cat(kept)) if scored else rois
