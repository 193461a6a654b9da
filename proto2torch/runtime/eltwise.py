"""Elementwise maximum and product with Caffe's gradients."""

import torch


def winner_takes_all(first, *rest):
    """The maximum, its gradient to the winner alone.

    The second of the first two wins a tie, a later one does not.
    """
    best = first
    for i, x in enumerate(rest):
        best = (
            torch.where(best > x, best, x) if i == 0 else torch.where(x > best, x, best)
        )
    return best


class UnstableProduct(torch.autograd.Function):
    """The product, its gradient dy y / x."""

    @staticmethod
    def forward(ctx, *x):
        y = x[0]
        for other in x[1:]:
            y = y * other
        ctx.save_for_backward(y, *x)
        return y

    @staticmethod
    def backward(ctx, dy):
        y, *x = ctx.saved_tensors
        return tuple(dy * (y / v) for v in x)


unstable_product = UnstableProduct.apply
