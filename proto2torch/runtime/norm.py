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


class Scale(nn.Module):
    """x * weight (+ bias), `behind` axes broadcast behind those that weight covers."""

    def __init__(self, shape, behind, bias=False):
        super().__init__()
        self.behind = (..., *(None,) * behind)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape)) if bias else None

    def forward(self, x):
        y = x * self.weight[self.behind]
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
