"""Losses of box regression, and online hard example mining."""

import torch
import torch.nn.functional as F

from proto2torch.runtime.loss import (
    label_losses,
    loss_divisor,
    positions,
    valid_positions,
)


def weighed_smooth_l1_loss(a, b, inside, outside, beta=1):
    """Sum of outside f(inside (a - b)) over the items, f the smooth L1 distance."""
    inside, outside = inside.detach(), outside.detach()
    d = inside * (a - b)
    each = F.smooth_l1_loss(d, torch.zeros_like(d), reduction="none", beta=beta)
    return (outside * each).sum() / len(a)


def turning_smooth_l1_loss(a, b, turn):
    """Sum of d^2 / 2 below the turn and of |d| - turn + turn^2 / 2 beyond, by item."""
    d = a - b
    far = d.abs() - turn + turn**2 / 2
    return torch.where(d.abs() < turn, d.square() / 2, far).sum() / len(a)


def smooth_l1_loss_ohem(
    a, b, weight=None, normalization="VALID", fixed=1, by_position=False
):
    """Sum of f(weight (a - b)), divided; and by position, summed over channels.

    The gradient is f' at weight (a - b), without a factor of weight.
    """
    d = a - b
    if weight is not None:
        d = d + (weight * d - d).detach()
    each = F.smooth_l1_loss(d, torch.zeros_like(d), reduction="none")
    places = a[:, 0].numel()
    places = {"BATCH_SIZE": len(a), "NONE": 1}.get(normalization, places)
    loss = each.sum() / max(1, places, fixed)
    if not by_position:
        return loss
    by_place = each.sum(1, keepdim=True).detach()
    return loss, by_place if a.dim() == 4 else by_place[..., None, None]


def softmax_loss_ohem(
    x, label, axis=1, ignore_label=None, normalization="VALID", fixed=1, tops=1
):
    """-log softmax(x)[label], divided as loss_param says, or by a fixed number.

    Further tops are the softmax, and each position's loss in the shape of label, 0
    where it is ignored.
    """
    scores, target = positions(x, label, axis)
    valid = valid_positions(target, ignore_label)
    losses = label_losses(scores, target.where(valid, 0)).where(valid, 0)
    divisor = loss_divisor(normalization, valid, x.shape[:axis].numel())
    loss = losses.sum() / (divisor if normalization != "NONE" else max(1, fixed))
    if tops == 1:
        return loss
    more = F.softmax(x.detach(), axis), losses.detach().reshape(label.shape)
    return (loss, *more)[:tops]


def hardest(rois, loss, label, weight, count, ignore_label=-1):
    """Labels and weights of each image's `count` regions of the highest loss."""
    image = rois.flatten(1)[:, 0]
    order = loss.flatten().argsort(descending=True, stable=True)
    order = order[image[order].argsort(stable=True)]
    image = image[order]
    rank = torch.arange(len(order), device=rois.device)
    rank = rank - torch.searchsorted(image, image)
    keep = torch.zeros_like(image, dtype=torch.bool).scatter(0, order, rank < count)
    label = label.flatten().where(keep, ignore_label).view(-1, 1, 1, 1)
    shape = (*weight.shape, 1, 1)[:4]
    return label, (weight.flatten(1) * keep[:, None]).reshape(shape)
