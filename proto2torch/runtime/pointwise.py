"""Pointwise functions whose gradient in Caffe is not the derivative."""

import torch
import torch.nn.functional as F


class Overwritten(torch.autograd.Function):
    """y = function(x); the gradient dy slope(m), m what its memory holds in the end."""

    @staticmethod
    def forward(ctx, x, function, slope, memory=None):
        y = function(x)
        ctx.slope, ctx.memory = slope, memory
        if memory is None:  # nothing overwrites it any more
            ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (m,) = ctx.saved_tensors if ctx.memory is None else ctx.memory
        return dy * ctx.slope(m), None, None, None


overwritten = Overwritten.apply


class CaffePower(torch.autograd.Function):
    """y = base ^ power, base = shift + scale x; dx = dy power scale y / base."""

    @staticmethod
    def forward(ctx, x, power, scale, shift):
        base = scale * x + shift if scale else torch.full_like(x, shift)
        y = base**power
        ctx.save_for_backward(base, y)
        ctx.factor = power * scale
        return y

    @staticmethod
    def backward(ctx, dy):
        base, y = ctx.saved_tensors
        dx = dy * ctx.factor * y / base if ctx.factor else torch.zeros_like(dy)
        return dx, None, None, None


def caffe_power(x, power, scale=1, shift=0):
    """(shift + scale x) ^ power with Caffe's gradient."""
    return CaffePower.apply(x, power, scale, shift)


def clip(x, low, high):
    """x within [low, high]; the gradient passes there, bounds included."""
    inside = (x >= low) & (x <= high)
    return torch.where(inside, x, x.detach().clamp(low, high))


def mish_slope(x):
    """The derivative of x tanh(log(1 + exp(x)))."""
    curve = torch.tanh(F.softplus(x))
    return curve + x * torch.sigmoid(x) * (1 - curve * curve)
