"""Losses on embeddings whose gradients in the forks are rules of their own."""

import torch
import torch.nn.functional as F
from torch import nn


class CenterDistance(torch.autograd.Function):
    """Sum of |x - center|^power over the items; the centres have their own rule."""

    @staticmethod
    def forward(ctx, x, weight, label, power, repeated):
        d = x - weight[label]
        ctx.save_for_backward(d, label)
        ctx.power, ctx.repeated, ctx.classes = power, repeated, len(weight)
        return d.abs().sum() / len(x) if power == 1 else d.square().sum() / len(x) / 2

    @staticmethod
    def backward(ctx, dy):
        d, label = ctx.saved_tensors
        e = d.sign() if ctx.power == 1 else d
        none = d.new_zeros(ctx.classes)
        count = none.index_add(0, label, torch.ones_like(label, dtype=d.dtype))
        rate = 1 / (1 + count)
        if ctx.repeated:
            rate = rate * count
        total = d.new_zeros(ctx.classes, d.shape[1]).index_add(0, label, e)
        return dy * e / len(d), -total * rate[:, None], None, None, None


class CenterLoss(nn.Module):
    """The distance of features to a learned centre of their class."""

    def __init__(self, classes, width, power=2, repeated=False):
        super().__init__()
        self.power, self.repeated = power, repeated
        self.weight = nn.Parameter(torch.zeros(classes, width))

    def forward(self, x, label):
        x = x.reshape(-1, self.weight.shape[1])
        label = label.flatten().long()
        return CenterDistance.apply(x, self.weight, label, self.power, self.repeated)


def triplet_loss(anchor, positive, negative, margin=1):
    """Half the mean of max(margin + |a - p|² - |a - n|², 0)."""
    squares = [(anchor - x).square() for x in (positive, negative)]
    near, far = (square.reshape(len(anchor), -1).sum(1) for square in squares)
    return F.relu(margin + near - far).mean() / 2


def angle_curve(c, multiple):
    """psi(c), a falling continuation of cos(multiple acos(c)), and what its gradient
    in SphereFace weighs w and -x / |x| by."""
    s0 = c.sign()
    if multiple == 2:
        return 2 * s0 * c**2 - 1, 4 * s0 * c, 2 * s0 * c**2 + 1
    if multiple == 3:
        s1 = (c.abs() - 0.5).sign()
        s2 = s0 * (1 + s1) - 2
        curve = s1 * (4 * c**3 - 3 * c) + s2
        return curve, s1 * (12 * c**2 - 3), 8 * s1 * c**3 - s2
    s3 = s0 * (2 * c**2 - 1).sign()
    s4 = 2 * s0 + s3 - 3
    curve = s3 * (8 * c**4 - 8 * c**2 + 1) + s4
    return curve, s3 * (32 * c**3 - 16 * c), s3 * (24 * c**4 - 8 * c**2 - 1) - s4


class MarginProduct(torch.autograd.Function):
    """x W', the label's score |x| psi instead, mixed with `mix` times the plain."""

    @staticmethod
    def forward(ctx, x, weight, label, multiple, mix):
        z = x @ weight.t()
        own = z.gather(1, label[:, None])
        length = x.norm(dim=1, keepdim=True)
        curve, along, across = angle_curve(own / length, multiple)
        ctx.save_for_backward(x, weight, label, length, along, across)
        ctx.mix = mix
        return (z.scatter(1, label[:, None], length * curve) + mix * z) / (1 + mix)

    @staticmethod
    def backward(ctx, dy):
        x, weight, label, length, along, across = ctx.saved_tensors
        other = dy.scatter(1, label[:, None], 0)
        direction = along * weight[label] - across * x / length
        scale = (along**2 + (across / length) ** 2).sqrt()
        dx = other @ weight + dy.gather(1, label[:, None]) * direction / scale
        dx = (dx + ctx.mix * (dy @ weight)) / (1 + ctx.mix)
        return dx, dy.t() @ x, None, None, None


class MarginInnerProduct(nn.Module):
    """Scores of unit vectors, a margin on the label's angle growing as lambda falls."""

    def __init__(
        self, width, classes, multiple=1, base=1, gamma=0, power=1, iteration=0, least=0
    ):
        super().__init__()
        self.multiple, self.base, self.gamma, self.power = multiple, base, gamma, power
        self.iteration, self.least = iteration, least
        self.weight = nn.Parameter(torch.zeros(classes, width))

    def forward(self, x, label):
        with torch.no_grad():
            self.weight.div_(self.weight.norm(dim=1, keepdim=True))
        self.iteration += 1
        decayed = self.base * (1 + self.gamma * self.iteration) ** -self.power
        mix = max(decayed, self.least)
        label = label.flatten().long()
        if self.multiple == 1:
            y = F.linear(x, self.weight)
        else:
            y = MarginProduct.apply(x, self.weight, label, self.multiple, mix)
        return y, torch.full((1,), mix, dtype=x.dtype, device=x.device)
