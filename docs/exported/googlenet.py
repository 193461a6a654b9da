"""GoogleNet, from deploy.prototxt, phase TEST: data (N, 3, 224, 224) -> prob (N, 1000)."""

import torch
import torch.nn.functional as F
from torch import nn


class AcrossChannelsNormalized(torch.autograd.Function):
    """x s^-beta with s = k + alpha / size * (sum of x² over size channels around it).

    dx = dy s^-beta - 2 alpha beta / size x (sum of dy x s^(-beta - 1) over them).
    """

    @staticmethod
    def forward(ctx, x, size, alpha, beta, k):
        y, log_s = torch.empty_like(x), torch.empty_like(x)
        ctx.save_for_backward(x, log_s)
        ctx.size, ctx.beta, ctx.factor = size, beta, -2 * alpha * beta / size
        for part, out, log in parts(x, y, log_s):
            torch.mul(part, part, out=out)
            add_neighbours(out, size, log).mul_(alpha / size).add_(k).log_()
            torch.mul(log, -beta, out=out).exp_().mul_(part)
        return y

    @staticmethod
    def backward(ctx, dy):
        dx = torch.empty_like(ctx.saved_tensors[0])
        for part, log, grad, out in parts(*ctx.saved_tensors, dy, dx):
            torch.mul(log, -ctx.beta, out=out).exp_().mul_(grad)
            shares = log.neg().exp_().mul_(part).mul_(out)
            total = add_neighbours(shares, ctx.size, torch.empty_like(part))
            out.addcmul_(total, part, value=ctx.factor)
        return dx, None, None, None, None


def across_channels_lrn(x, size, alpha=1, beta=0.75, k=1):
    """x (k + alpha / size * sum of x² over size channels around it) ^ -beta."""
    wide = x if x.dtype.itemsize > 2 else x.float()
    return AcrossChannelsNormalized.apply(wide, size, alpha, beta, k).to(x.dtype)


def parts(x, *others):
    """Parts of each, channels on axis 1: on the CPU of a size that its cache holds."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return [(x, *others)]
    if not x.is_contiguous(memory_format=torch.channels_last):
        return zip(*(t.split(1) for t in (x, *others)))
    places = [t.movedim(1, -1).reshape(-1, x.shape[1]) for t in (x, *others)]
    return zip(*(t.split(2**16 // x.shape[1] + 1) for t in places))


def add_neighbours(x, size, out):
    """The sum over `size` channels around each, into `out`."""
    out.copy_(x)
    for d in range(1, min(size // 2, x.shape[1] - 1) + 1):
        out[:, d:].add_(x[:, :-d])
        out[:, :-d].add_(x[:, d:])
    return out


class Inception(nn.Module):
    """inception_3a to inception_5b, 9 in all."""

    def __init__(
        self,
        channels,
        conv_1x1,
        conv_3x3_reduce,
        conv_3x3,
        conv_5x5_reduce,
        conv_5x5,
        pool_proj,
    ):
        super().__init__()
        self.conv_1x1 = nn.Conv2d(channels, conv_1x1, 1)
        self.conv_3x3_reduce = nn.Conv2d(channels, conv_3x3_reduce, 1)
        self.conv_3x3 = nn.Conv2d(conv_3x3_reduce, conv_3x3, 3, padding=1)
        self.conv_5x5_reduce = nn.Conv2d(channels, conv_5x5_reduce, 1)
        self.conv_5x5 = nn.Conv2d(conv_5x5_reduce, conv_5x5, 5, padding=2)
        self.pool_proj = nn.Conv2d(channels, pool_proj, 1)

    def forward(self, x):
        conv_1x1 = F.relu(self.conv_1x1(x))
        conv_3x3 = F.relu(self.conv_3x3_reduce(x))
        conv_3x3 = F.relu(self.conv_3x3(conv_3x3))
        conv_5x5 = F.relu(self.conv_5x5_reduce(x))
        conv_5x5 = F.relu(self.conv_5x5(conv_5x5))
        pool = F.max_pool2d(x, 3, stride=1, padding=1)
        pool = F.relu(self.pool_proj(pool))
        return torch.cat([conv_1x1, conv_3x3, conv_5x5, pool], 1)


class GoogleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1_7x7_s2 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.conv2_3x3_reduce = nn.Conv2d(64, 64, 1)
        self.conv2_3x3 = nn.Conv2d(64, 192, 3, padding=1)
        self.inception_3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception_3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.inception_4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception_4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception_4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception_4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception_4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.inception_5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception_5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.loss3_classifier = nn.Linear(1024, 1000)

    def forward(self, data):
        x = data.to(memory_format=torch.channels_last)
        x = F.max_pool2d(F.relu(self.conv1_7x7_s2(x)), 3, stride=2, ceil_mode=True)
        x = across_channels_lrn(x, 5, alpha=0.0001)  # pool1_norm1
        x = F.relu(self.conv2_3x3_reduce(x))
        x = across_channels_lrn(F.relu(self.conv2_3x3(x)), 5, alpha=0.0001)
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)  # pool2_3x3_s2
        x = self.inception_3a(x)
        x = F.max_pool2d(self.inception_3b(x), 3, stride=2, ceil_mode=True)
        x = self.inception_4a(x)
        x = self.inception_4b(x)
        x = self.inception_4c(x)
        x = self.inception_4d(x)
        x = F.max_pool2d(self.inception_4e(x), 3, stride=2, ceil_mode=True)
        x = self.inception_5a(x)
        x = F.avg_pool2d(self.inception_5b(x), 7, stride=1)  # pool5_7x7_s1
        return F.softmax(self.loss3_classifier(x.flatten(1)), 1)
