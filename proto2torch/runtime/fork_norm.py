"""Normalisation of forks of Caffe: BN of SegNet and PSPNet, and SSD's Normalize."""

import torch
import torch.nn.functional as F
from torch import nn

from proto2torch.runtime.norm import overwriting


class BatchBN(nn.Module):
    """Normalises with the batch's statistics; further tops are mean and variance."""

    def __init__(self, channels, tops=1):
        super().__init__()
        self.tops = tops
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        weight, bias = self.weight, self.bias
        if self.training:
            weight, bias = overwriting(weight), overwriting(bias)
        mean, variance, y = batch_normalized(x, weight, bias, 1e-9)
        tops = y, mean.view(1, -1, 1, 1), variance.view(1, -1, 1, 1)
        return tops[: self.tops] if self.tops > 1 else y


def batch_normalized(x, weight, bias, eps):
    """The batch's mean, its biased variance, and x normalised with both."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    variance, mean = torch.var_mean(x.detach(), axes, correction=0)
    if x.numel() == x.shape[1]:  # one value a channel, which F.batch_norm refuses
        shape = (1, -1, *[1] * (x.dim() - 2))
        return mean, variance, (x - x) * weight.view(shape) + bias.view(shape)
    y = F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    return mean, variance, y


class FoldedBN(nn.Module):
    """weight x + bias for each channel; each backward replaces the gradient of both."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        weight, bias = self.weight, self.bias
        if self.training:
            weight, bias = overwriting(weight), overwriting(bias)
        return x * weight[:, None, None] + bias[:, None, None]


class RunningBN(nn.Module):
    """Batch normalisation that keeps `momentum` of its running, biased statistics."""

    def __init__(self, channels, momentum=0.9, eps=1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.zeros(channels))

    def forward(self, x):
        mean, variance, y = batch_normalized(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.running_mean.lerp_(mean, 1 - self.momentum)
            self.running_var.lerp_(variance, 1 - self.momentum)
        return y


class FrozenBN(nn.Module):
    """Normalises with stored statistics; nothing of it learns."""

    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.eps = eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.zeros(channels))

    def forward(self, x):
        mean, variance = self.running_mean, self.running_var
        return F.batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps)


class Normalize(nn.Module):
    """weight x over its norm across channels, or across the whole item.

    The gradient of x is weight times that of the quotient: of a weight for each
    channel it is SSD's, not the derivative.
    """

    def __init__(self, shape, across_spatial=False, eps=1e-10):
        super().__init__()
        self.across_spatial, self.eps = across_spatial, eps
        self.weight = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        weight = self.weight
        if weight.dim():
            weight = weight.view(-1, *[1] * (x.dim() - 2))
        fixed = x.detach()
        x = fixed + weight.detach() * (x - fixed)
        axes = tuple(range(1, x.dim())) if self.across_spatial else 1
        y = x / (x.square().sum(axes, keepdim=True) + self.eps).sqrt()
        return y.detach() * weight + (y - y.detach())


def channel_norm(x, power):
    """The norm over channels, with 1e-6 in it so that it is never 0."""
    if power == 1:
        return x.abs().sum(1, keepdim=True) + 1e-6
    return (x.square().sum(1, keepdim=True) + 1e-6).sqrt()
