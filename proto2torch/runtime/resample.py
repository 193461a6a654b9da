"""Planes of another size, and values in another place, as forks of Caffe make them."""

import torch


class Unpool(torch.autograd.Function):
    """x at the places that mask names, 0 elsewhere; of several the last is kept."""

    @staticmethod
    def forward(ctx, x, mask, height, width):
        place = mask.flatten(2).long()
        order = torch.arange(place.shape[2], device=x.device).expand_as(place)
        last = torch.full((*x.shape[:2], height * width), -1, device=x.device)
        last = last.scatter_reduce(2, place, order, "amax")
        y = x.flatten(2).gather(2, last.clamp(min=0)).where(last >= 0, 0)
        ctx.save_for_backward(place)
        ctx.shape = x.shape
        return y.unflatten(2, (height, width))

    @staticmethod
    def backward(ctx, dy):
        (place,) = ctx.saved_tensors
        return dy.flatten(2).gather(2, place).reshape(ctx.shape), None, None, None


unpool = Unpool.apply


def blended(x, axis, size):
    """The axis at another size, its beginning aligned; behind its end come zeros."""
    steps = torch.arange(size, dtype=x.dtype, device=x.device)
    source = steps * x.shape[axis] / size
    first = source.floor()
    after = (source - first).view(-1, *[1] * (x.dim() - 1 - axis))
    zero = torch.zeros_like(x.narrow(axis, 0, 1))
    longer = torch.cat([x, zero], axis)
    index = first.long()
    before, behind = (longer.index_select(axis, i) for i in (index, index + 1))
    return before * (1 - after) + behind * after


def resize(x, height, width):
    """Bilinear, the top left corners aligned; the last rows and columns fade."""
    return blended(blended(x, 2, height), 3, width)


def reorg(x, stride):
    """Darknet's: read as (C / s², H s, W s), written as (C, H, W)."""
    n, c, h, w = x.shape
    s = stride
    parts = x.reshape(n, c // (s * s), h, s, w, s).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * s * s, h // s, w // s)


def reorg_back(x, stride):
    """Depth to space, the offset the slow part of the channel."""
    n, c, h, w = x.shape
    s = stride
    parts = x.reshape(n, s, s, c // (s * s), h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // (s * s), h * s, w * s)
