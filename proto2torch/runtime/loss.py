"""Caffe's losses and accuracies where torch's differ."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def positions(x, label, axis):
    """Scores as (positions, classes) and labels as (positions,), whole numbers."""
    scores = x.movedim(axis, -1)
    return scores.reshape(-1, scores.shape[-1]), label.reshape(-1).long()


def label_losses(scores, target):
    """-log softmax(scores)[target].

    The value, not the gradient, stops where a probability leaves float32's range.
    """
    losses = F.cross_entropy(scores, target, reduction="none")
    return losses + (losses.clamp(max=87.33654785) - losses).detach()


def softmax_loss(x, label, axis=1):
    """Mean of -log softmax(x)[label] over all positions."""
    return label_losses(*positions(x, label, axis)).mean()


def valid_positions(label, ignore_label):
    """Which positions count: those whose label is not ignore_label."""
    if ignore_label is None:
        return torch.ones_like(label, dtype=torch.bool)
    return label != ignore_label


def loss_divisor(normalization, valid, batch):
    """FULL: all positions, VALID: those that count, BATCH_SIZE: the items, NONE: 1."""
    if normalization == "VALID":
        return valid.sum().clamp(min=1)
    return max(1, {"FULL": valid.numel(), "BATCH_SIZE": batch}.get(normalization, 1))


def weighed_softmax_loss(x, label, axis=1, ignore_label=None, normalization="VALID"):
    """-log softmax(x)[label], summed over the positions that count, and divided."""
    scores, target = positions(x, label, axis)
    valid = valid_positions(target, ignore_label)
    losses = label_losses(scores, target.where(valid, 0)).where(valid, 0)
    return losses.sum() / loss_divisor(normalization, valid, x.shape[:axis].numel())


def weighed_sigmoid_loss(x, target, ignore_label, normalization="BATCH_SIZE"):
    """Sigmoid cross-entropy, summed over the targets that count, and divided."""
    valid = valid_positions(target.trunc(), ignore_label)
    losses = F.binary_cross_entropy_with_logits(x, target, reduction="none")
    total = losses.where(valid, 0).sum()
    return total / loss_divisor(normalization, valid, len(x))


def hinge_loss(x, label, squared=False):
    """Sum of max(0, 1 - x) at the label and max(0, 1 + x) elsewhere, over the items."""
    scores = x.flatten(1)
    signs = torch.ones_like(scores).scatter(1, label.reshape(-1, 1).long(), -1.0)
    margins = F.relu(1 + signs * scores)
    return (margins.square() if squared else margins).sum() / len(x)


def multinomial_loss(p, label):
    """Mean of -log p[label], p no less than 1e-20; the gradient is -1 / p there too."""
    own = p.flatten(1).gather(1, label.reshape(-1, 1).long())
    bounded = own.detach().clamp(min=1e-20)
    return -(bounded.log() + (own - own.detach()) / bounded).mean()


def infogain_loss(x, label, matrix, axis=1, ignore_label=None, normalization="VALID"):
    """-sum of matrix[label] * log softmax(x) over the positions that count, divided.

    The value, not the gradient, stops where a probability falls below 1e-20.
    """
    scores, target = positions(x, label, axis)
    valid = valid_positions(target, ignore_label)
    logs = F.log_softmax(scores, 1)
    logs = logs + (logs.clamp(min=math.log(1e-20)) - logs).detach()
    weights = matrix.reshape(scores.shape[1], -1)[target.where(valid, 0)]
    losses = -(weights * logs).sum(1).where(valid, 0)
    return losses.sum() / loss_divisor(normalization, valid, x.shape[:axis].numel())


class InfogainLoss(nn.Module):
    """infogain_loss with a matrix of its own."""

    def __init__(self, classes, **options):
        super().__init__()
        self.options = options
        self.register_buffer("matrix", torch.zeros(classes, classes))

    def forward(self, x, label):
        return infogain_loss(x, label, self.matrix, **self.options)


def contrastive_loss(a, b, similar, margin=1, legacy=False):
    """Half the mean of d^2 of similar pairs, and of max(margin - d, 0)^2 of others.

    d is the distance of a and b; its gradient has d + 1e-4 in the denominator. With
    `legacy` other pairs cost max(margin - d^2, 0).
    """
    squares = (a - b).flatten(1).square().sum(1)
    if legacy:
        apart = F.relu(margin - squares)
    else:
        d = squares.detach().sqrt()
        d = d + (squares - squares.detach()) / (2 * (d + 1e-4))
        apart = F.relu(margin - d).square()
    return torch.where(similar.flatten().trunc() != 0, squares, apart).mean() / 2


def top_k_hits(x, label, top_k, axis):
    """Whether each label is among the top_k scores.

    A score equal to the label's counts against it.
    """
    scores, target = positions(x, label, axis)
    own = scores.gather(1, target[:, None])
    return (scores >= own).sum(1) <= top_k


def top_k_accuracy(x, label, top_k=1, axis=1):
    """Share of positions whose label is among the top_k scores."""
    return top_k_hits(x, label, top_k, axis).to(x.dtype).mean()


def weighed_accuracy(x, label, top_k=1, axis=1, ignore_label=None, by_class=False):
    """The same over the positions that count, 0 where none does; and by class.

    A class that does not occur has 0.
    """
    target = label.reshape(-1).long()
    valid = valid_positions(target, ignore_label)
    target = target.where(valid, 0)
    hit = top_k_hits(x, target, top_k, axis) & valid
    accuracy = hit.sum() / valid.sum().clamp(min=1).to(x.dtype)
    if not by_class:
        return accuracy
    none = torch.zeros(x.shape[axis], dtype=x.dtype, device=x.device)
    seen, right = (
        none.index_add(0, target, counted.to(x.dtype)) for counted in (valid, hit)
    )
    return accuracy, right / seen.clamp(min=1)
