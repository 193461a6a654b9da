"""Normalisation and affine layers with Caffe's own statistics and shapes."""

import torch
import torch.nn.functional as F
from torch import nn


class BatchNorm(nn.Module):
    """Caffe's BatchNorm: sums that decay by `fraction`, and the scale dividing them."""

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
        mean, variance = self.mean_sum.new_zeros(2, x.shape[1])
        if x.numel() == x.shape[1]:  # one value a channel, which F.batch_norm refuses
            mean, y = x.detach().flatten(), x - x
        else:
            y = F.batch_norm(x, mean, variance, training=True, momentum=1, eps=self.eps)
        with torch.no_grad():
            self.scale.mul_(self.fraction).add_(1)
            self.mean_sum.mul_(self.fraction).add_(mean)
            self.variance_sum.mul_(self.fraction).add_(variance)
        return y


class Overwriting(torch.autograd.Function):
    """A blob whose gradient replaces what was accumulated, where others add to it."""

    @staticmethod
    def forward(ctx, weight):
        ctx.weight = weight
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx, dy):
        if ctx.weight.is_leaf and ctx.weight.grad is not None:
            ctx.weight.grad.zero_()
        return dy


overwriting = Overwriting.apply


class Scale(nn.Module):
    """x * weight (+ bias), `behind` axes broadcast behind those that weight covers.

    For a batch of one item Caffe takes another way to the gradient of a weight of
    several elements, which overwrites what was accumulated in training.
    """

    def __init__(self, shape, behind, bias=False):
        super().__init__()
        self.behind = (..., *(None,) * behind)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape)) if bias else None

    def forward(self, x):
        overwrites = self.training and self.is_single(x)
        weight = overwriting(self.weight) if overwrites else self.weight
        y = x * weight[self.behind]
        return y if self.bias is None else y + self.bias[self.behind]

    def is_single(self, x):
        items = x.shape[: x.dim() - self.weight[self.behind].dim()].numel()
        return items == 1 and (self.weight.numel() > 1 or x.numel() == 1)


class LearnedTop(nn.Module):
    """A learned blob by itself; each backward overwrites its gradient."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self):
        return overwriting(self.weight) if self.training else self.weight


class Bias(nn.Module):
    """x + bias, `behind` axes broadcast behind those that bias covers."""

    def __init__(self, shape, behind):
        super().__init__()
        self.behind = (..., *(None,) * behind)
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x):
        return x + self.bias[self.behind]


def within_channel_lrn(x, size, alpha=1, beta=0.75):
    """x (1 + alpha / size² * sum of x² over the zero padded window) ^ -beta."""
    energy = F.avg_pool2d(x * x, size, stride=1, padding=size // 2)
    return x * (1 + alpha * energy) ** -beta


class MeanVarianceNormalized(torch.autograd.Function):
    """(x - mean) / (deviation + eps), its gradient as if eps were part of deviation."""

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
        along = y * (dy * y).mean(ctx.axes, keepdim=True)
        dx = (dy - dy.mean(ctx.axes, keepdim=True) - along) * factor
        return dx, None, None


def mean_variance_normalized(x, axes=(2, 3), eps=1e-9):
    """(x - mean) / (standard deviation + eps) over `axes`, the biased deviation."""
    return MeanVarianceNormalized.apply(x, axes, eps)
