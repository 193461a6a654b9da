"""Caffe's losses and accuracies where torch's differ."""

import torch
import torch.nn.functional as F


def positions(x, label, axis):
    """Scores as (positions, classes) and labels as (positions,), whole numbers."""
    scores = x.movedim(axis, -1)
    return scores.reshape(-1, scores.shape[-1]), label.reshape(-1).long()


def normalizer(mode, valid, count, batch):
    """The divisor of a loss, never below 1."""
    if mode == "VALID":
        return valid.clamp(min=1)
    return max(1, {"FULL": count, "BATCH_SIZE": batch, "NONE": 1}[mode])


def softmax_loss(x, label, axis=1, ignore_label=None, normalization="VALID"):
    """Mean of -log softmax(x)[label]; a probability below float32's least normal counts as that, in the value alone."""
    scores, target = positions(x, label, axis)
    if ignore_label is not None:
        valid = target != ignore_label
        target = target.where(valid, 0)
    losses = F.cross_entropy(scores, target, reduction="none")
    losses = losses + (losses.detach().clamp(max=87.33654785) - losses.detach())
    if ignore_label is not None:
        losses = losses.where(valid, 0)
    count = valid.sum() if ignore_label is not None else None
    if count is None and normalization == "VALID":
        normalization = "FULL"
    batch = x.shape[:axis].numel()
    return losses.sum() / normalizer(normalization, count, target.numel(), batch)


def hits(x, label, top_k, axis):
    """Whether each label is among the top_k scores; a score equal to the label's counts against it."""
    scores, target = positions(x, label, axis)
    own = scores.gather(1, target[:, None])
    return (scores >= own).sum(1) <= top_k, target


def top_k_accuracy(x, label, top_k=1, axis=1, ignore_label=None):
    """Share of positions whose label is among the top_k scores."""
    valid = torch.ones_like(label, dtype=torch.bool).reshape(-1)
    if ignore_label is not None:
        valid = label.reshape(-1).long() != ignore_label
        label = label.reshape(-1).where(valid, 0)
    hit, _ = hits(x, label, top_k, axis)
    return (hit & valid).sum() / valid.sum().clamp(min=1).to(x.dtype)


def top_k_accuracy_by_class(x, label, top_k=1, axis=1, ignore_label=None):
    """The same, and the accuracy of each class, 0 for a class that does not occur."""
    accuracy = top_k_accuracy(x, label, top_k, axis, ignore_label)
    valid = torch.ones_like(label, dtype=torch.bool).reshape(-1)
    if ignore_label is not None:
        valid = label.reshape(-1).long() != ignore_label
        label = label.reshape(-1).where(valid, 0)
    hit, target = hits(x, label, top_k, axis)
    seen = torch.zeros(x.shape[axis], dtype=x.dtype, device=x.device).index_add(0, target, valid.to(x.dtype))
    right = torch.zeros_like(seen).index_add(0, target, (hit & valid).to(x.dtype))
    return accuracy, right / seen.clamp(min=1)
