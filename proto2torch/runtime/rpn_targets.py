"""What a region proposal network and the detector behind it are to say."""

import torch
import torch.nn.functional as F

from proto2torch.runtime.multi_box import jaccard
from proto2torch.runtime.proposals import anchor_grid, pixel_sides, rpn_anchors


def pixel_overlaps(a, b):
    """Intersection over union of boxes whose ends count as pixels."""
    ends = a.new_tensor([0, 0, 1, 1])
    return jaccard(a + ends, b + ends)


def box_deltas(boxes, goals):
    """How the centre moves, in sizes, and how the size grows, from boxes to goals."""
    size, goal = pixel_sides(boxes), pixel_sides(goals)
    move = goals[:, :2] + goal / 2 - boxes[:, :2] - size / 2
    return torch.cat([move / size, (goal / size).log()], 1)


def drawn_labels(labels, which, count):
    """`count` of the labels `which`, drawn by chance; the others become -1."""
    among = labels == which
    chance = torch.rand(labels.shape, device=labels.device).where(among, 2)
    rank = chance.argsort().argsort()
    return labels.where(~among | (rank < count), -1)


def anchor_targets(x, truths, info, scales, stride=16, border=0):
    """Labels of the anchors of a map, their box targets, inside and outside weights."""
    height, width = x.shape[2:]
    anchors = rpn_anchors([0.5, 1, 2], scales)
    boxes = anchor_grid(anchors, stride, height, width, x.device).to(x.dtype)
    most = info.flatten()[[1, 0]] + border
    inside = (boxes[:, :2] >= -border).all(1) & (boxes[:, 2:] < most).all(1)
    truths = truths.detach().reshape(-1, truths.shape[-1])[:, :4]
    labels, targets = torch.full_like(boxes[:, 0], -1), torch.zeros_like(boxes)
    if len(truths):
        share = pixel_overlaps(boxes, truths).where(inside[:, None], -1)
        best, own = share.max(1)
        labels = labels.where(best >= 0.3, 0)
        labels = labels.where(~(share == share.amax(0)).any(1), 1).where(best < 0.7, 1)
        targets = box_deltas(boxes, truths[own]) * inside[:, None]
    else:
        labels = torch.zeros_like(labels)
    labels = drawn_labels(labels.where(inside, -1), 1, 128)
    labels = drawn_labels(labels, 0, 256 - (labels == 1).sum())
    within = (labels == 1).to(boxes)[:, None].expand(-1, 4)
    count = (labels >= 0).sum().clamp(min=1)
    outside = ((labels >= 0).to(boxes) / count)[:, None].expand(-1, 4)
    labels = labels.view(height, width, -1).permute(2, 0, 1).reshape(1, 1, -1, width)
    maps = (
        rows.reshape(height, width, -1).permute(2, 0, 1)[None]
        for rows in (targets, within, outside)
    )
    return labels, *maps


def drawn_rows(chosen, count):
    """Where `chosen` is true, up to `count` places drawn by chance."""
    places = chosen.nonzero().flatten()
    return places[torch.randperm(len(places), device=places.device)[:count]]


def proposal_targets(rois, truths, classes, count=128, objects=32):
    """Regions to train on, their labels, box targets, inside and outside weights."""
    rois, truths = (rows.detach().reshape(-1, 5) for rows in (rois, truths))
    rois = torch.cat([rois, F.pad(truths[:, :4], (1, 0))])
    share = F.pad(pixel_overlaps(rois[:, 1:], truths[:, :4]), (0, 1))
    best, own = share.max(1)
    fore = drawn_rows(best >= 0.5, objects)
    keep = torch.cat([fore, drawn_rows(best < 0.5, count - len(fore))])
    rois, truth = rois[keep], F.pad(truths, (0, 0, 0, 1))[own[keep]]
    there = torch.arange(len(keep), device=rois.device) < len(fore)
    labels = truth[:, 4].where(there, 0)
    deltas = box_deltas(rois[:, 1:], truth[:, :4])
    deltas = deltas / deltas.new_tensor([0.1, 0.1, 0.2, 0.2])
    own = F.one_hot(labels.long(), classes)[:, :, None] * (labels > 0)[:, None, None]
    inside = own.to(rois).expand(-1, -1, 4)
    targets = deltas[:, None].where(inside > 0, 0).flatten(1)
    inside = inside.flatten(1)
    return rois, labels, targets, inside, inside.clone()
