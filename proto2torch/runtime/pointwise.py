"""Pointwise functions whose gradient in Caffe is not the derivative."""

import torch


class Overwritten(torch.autograd.Function):
    """y = function(x) in the place of x, the gradient dy slope(y)."""

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
