"""Caffe's losses and accuracies where torch's differ."""

import torch
import torch.nn.functional as F


def positions(x, label, axis):
    """Scores as (positions, classes) and labels as (positions,), whole numbers."""
    scores = x.movedim(axis, -1)
    return scores.reshape(-1, scores.shape[-1]), label.reshape(-1).long()


def label_losses(scores, target):
    """-log softmax(scores)[target]; the value, not the gradient, stops where a probability leaves float32's range."""
    losses = F.cross_entropy(scores, target, reduction="none")
    return losses + (losses.clamp(max=87.33654785) - losses).detach()


def softmax_loss(x, label, axis=1):
    """Mean of -log softmax(x)[label] over all positions."""
    return label_losses(*positions(x, label, axis)).mean()


def weighed_softmax_loss(x, label, axis=1, ignore_label=None, normalization="VALID"):
    """-log softmax(x)[label], summed over the positions that are not ignored, and divided as `normalization` says."""
    scores, target = positions(x, label, axis)
    valid = (
        torch.ones_like(target, dtype=torch.bool)
        if ignore_label is None
        else target != ignore_label
    )
    losses = label_losses(scores, target.where(valid, 0)).where(valid, 0)
    return losses.sum() / loss_divisor(normalization, valid, x.shape[:axis].numel())


def loss_divisor(normalization, valid, batch):
    """FULL: all positions, VALID: those that count, BATCH_SIZE: the items, NONE: 1; at least 1."""
    if normalization == "VALID":
        return valid.sum().clamp(min=1)
    return max(
        1, {"FULL": valid.numel(), "BATCH_SIZE": batch, "NONE": 1}[normalization]
    )


def top_k_hits(x, label, top_k, axis):
    """Whether each label is among the top_k scores; a score equal to the label's counts against it."""
    scores, target = positions(x, label, axis)
    own = scores.gather(1, target[:, None])
    return (scores >= own).sum(1) <= top_k


def top_k_accuracy(x, label, top_k=1, axis=1):
    """Share of positions whose label is among the top_k scores."""
    return top_k_hits(x, label, top_k, axis).to(x.dtype).mean()


def weighed_accuracy(x, label, top_k=1, axis=1, ignore_label=None, by_class=False):
    """The same over the positions that are not ignored, 0 where none is; and by class, 0 for one that does not occur."""
    target = label.reshape(-1).long()
    valid = (
        torch.ones_like(target, dtype=torch.bool)
        if ignore_label is None
        else target != ignore_label
    )
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
