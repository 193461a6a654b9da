"""Losses and measures of labels for each position that only forks of Caffe have."""

import torch
import torch.nn.functional as F
from torch import nn

from proto2torch.runtime.loss import (
    label_losses,
    loss_divisor,
    positions,
    valid_positions,
)


def focal_loss(
    x, label, gamma=2, sign=-1, axis=1, ignore_label=None, normalization="VALID"
):
    """-(1 + sign p)^gamma log p of the label, summed and divided as a softmax loss."""
    scores, target = positions(x, label, axis)
    valid = valid_positions(target, ignore_label)
    losses = label_losses(scores, target.where(valid, 0))
    losses = (1 + sign * torch.exp(-losses)) ** gamma * losses
    divisor = loss_divisor(normalization, valid, x.shape[:axis].numel())
    return losses.where(valid, 0).sum() / divisor


def weighed_by_class(x, label, weights, axis=1, ignore_label=None, normalize=True):
    """Softmax loss, each position's multiplied by its class's weight.

    It is divided by the positions that count, and by nothing less where there is none.
    """
    scores, target = positions(x, label, axis)
    valid = valid_positions(target, ignore_label)
    target = target.where(valid, 0)
    losses = label_losses(scores, target)
    if weights is not None:
        losses = losses * torch.tensor(weights, dtype=x.dtype, device=x.device)[target]
    return losses.where(valid, 0).sum() / (valid.sum() if normalize else len(x))


def indicated_sigmoid_loss(x, target, indicator):
    """Sum of the sigmoid cross-entropies, weighed by item and channel."""
    target = target.reshape(x.shape)
    losses = F.binary_cross_entropy_with_logits(x, target, reduction="none")
    return (indicator.reshape(*x.shape[:2], 1) * losses.reshape(*x.shape[:2], -1)).sum()


def balanced_sigmoid_loss(x, target):
    """Sum of the sigmoid cross-entropies over twice the items of the same sign."""
    target = target.reshape(x.shape)
    positive = target > 0.5
    count = positive.sum(0)
    count = torch.where(positive, count, len(x) - count)
    losses = F.binary_cross_entropy_with_logits(x, target, reduction="none")
    return (losses / (2 * count)).sum()


def edge_loss(x, target):
    """Sigmoid cross-entropy; edges weigh the share of the rest, that the edges'."""
    x, target = x.reshape(len(x), -1), target.reshape(len(x), -1)
    edge, rest = target == 1, target == 0
    edges, others = (side.sum(1, keepdim=True) for side in (edge, rest))
    share = torch.where(edge, others, edges) / (edges + others).clamp(min=1)
    goal = edge.to(x.dtype)
    losses = F.binary_cross_entropy_with_logits(x, goal, reduction="none")
    return (share * losses).where(edge | rest, 0).sum() / len(x)


class SegAccuracy(nn.Module):
    """Pixel accuracy, mean recall and mean IoU, from counts that may run on."""

    def __init__(self, classes, ignored=(), reset=True):
        super().__init__()
        self.classes, self.ignored, self.reset = classes, ignored, reset
        counts = torch.zeros(classes, classes)
        self.register_buffer("counts", counts, persistent=False)

    @torch.no_grad()
    def forward(self, x, label):
        if self.reset:
            self.counts.zero_()
        label = label.flatten().long()
        found = self.classes - 1 - x.flip(1).argmax(1).flatten()
        counted = torch.ones_like(label, dtype=x.dtype)
        for ignored in self.ignored:
            counted = counted.where(label != ignored, 0)
        label = label.where(counted > 0, 0)
        table = self.counts.view(-1).index_add(
            0, self.classes * label + found, counted.to(self.counts.dtype)
        )
        table = table.view(self.classes, self.classes)
        self.counts.copy_(table)
        right, truth, given = table.diagonal(), table.sum(1), table.sum(0)
        there, union = truth > 0, truth + given - right
        recall = (right / truth.clamp(min=1)).sum() / there.sum()
        iou = torch.where(union > 0, right / union.clamp(min=1), 1).mean()
        accuracy = right.sum() / table.sum()
        return torch.stack([accuracy, recall, iou]).view(1, 1, 1, 3).to(x.dtype)
