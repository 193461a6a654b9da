"""Pointwise functions whose gradient in Caffe is not the derivative."""

import torch


class Overwritten(torch.autograd.Function):
    """y = function(x), its gradient dy slope(y): what a layer gives that reads its bottom after writing there."""

    @staticmethod
    def forward(ctx, x, function, slope):
        y = function(x)
        ctx.save_for_backward(y)
        ctx.slope = slope
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * ctx.slope(y), None, None


overwritten = Overwritten.apply


class CaffePower(torch.autograd.Function):
    """y = (shift + scale x) ^ power, its gradient dy power scale y / (shift + scale x): NaN where that is 0 / 0."""

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
