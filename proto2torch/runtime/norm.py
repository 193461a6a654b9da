"""Normalisation and affine layers with Caffe's own statistics and shapes."""

import torch
import torch.nn.functional as F
from torch import nn


class BatchNorm(nn.Module):
    """Caffe's BatchNorm: sums that decay by `fraction`, and the scale that they are divided by."""

    def __init__(self, channels, eps=1e-5, fraction=0.999, use_global_stats=False):
        super().__init__()
        self.eps, self.fraction, self.use_global_stats = eps, fraction, use_global_stats
        self.register_buffer("mean_sum", torch.zeros(channels))
        self.register_buffer("variance_sum", torch.zeros(channels))
        self.register_buffer("scale", torch.zeros(1))

    def forward(self, x):
        if self.use_global_stats:
            factor = torch.where(self.scale == 0, 0, 1 / self.scale)
            mean, variance = self.mean_sum * factor, self.variance_sum * factor
            return F.batch_norm(x, mean, variance, eps=self.eps)
        with torch.no_grad():
            axes = [i for i in range(x.dim()) if i != 1]
            variance, mean = torch.var_mean(x, axes, correction=0)
            count = x.numel() // x.shape[1]
            self.scale.mul_(self.fraction).add_(1)
            self.mean_sum.mul_(self.fraction).add_(mean)
            self.variance_sum.mul_(self.fraction).add_(
                variance, alpha=count / max(1, count - 1)
            )
        return F.batch_norm(x, None, None, training=True, eps=self.eps)


class Overwriting(torch.autograd.Function):
    """A blob whose gradient replaces what has been accumulated, where others add to it."""

    @staticmethod
    def forward(ctx, weight):
        ctx.weight = weight
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx, dy):
        if ctx.weight.is_leaf and ctx.weight.grad is not None:
            ctx.weight.grad.zero_()
        return dy


class Scale(nn.Module):
    """x * weight (+ bias), `behind` axes broadcast behind those that weight covers.

    Where no axis before those has an extent, Caffe computes the gradient of a weight of several elements by another
    way, which overwrites what was accumulated.
    """

    def __init__(self, shape, behind, bias=False):
        super().__init__()
        self.behind = (..., *(None,) * behind)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape)) if bias else None

    def forward(self, x):
        weight = self.weight
        before = x.shape[: x.dim() - weight[self.behind].dim()].numel()
        if weight.requires_grad and before == 1 and (weight.numel() > 1 or x.numel() == 1):
            weight = Overwriting.apply(weight)
        y = x * weight[self.behind]
        return y if self.bias is None else y + self.bias[self.behind]


class Bias(nn.Module):
    """x + bias, `behind` axes broadcast behind those that bias covers."""

    def __init__(self, shape, behind):
        super().__init__()
        self.behind = (..., *(None,) * behind)
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x):
        return x + self.bias[self.behind]


def within_channel_lrn(x, size, alpha=1, beta=0.75):
    """x (1 + alpha / size² * sum of x² over the window) ^ -beta, zero padded; there is no k."""
    energy = F.avg_pool2d(x * x, size, stride=1, padding=size // 2)
    return x * (1 + alpha * energy) ** -beta


class MeanVarianceNormalized(torch.autograd.Function):
    """(x - mean) / (deviation + eps) over `axes`, with the gradient that Caffe computes as if eps were part of the
    deviation's own derivative."""

    @staticmethod
    def forward(ctx, x, axes, eps):
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        factor = 1 / (variance.sqrt() + eps)
        y = (x - mean) * factor
        ctx.save_for_backward(y, factor)
        ctx.axes = axes
        return y

    @staticmethod
    def backward(ctx, dy):
        y, factor = ctx.saved_tensors
        mean, along = dy.mean(ctx.axes, keepdim=True), (dy * y).mean(ctx.axes, keepdim=True)
        return (dy - mean - y * along) * factor, None, None


def mean_variance_normalized(x, axes=(2, 3), eps=1e-9):
    """(x - mean) / (standard deviation + eps) over `axes`, the biased deviation."""
    return MeanVarianceNormalized.apply(x, axes, eps)
