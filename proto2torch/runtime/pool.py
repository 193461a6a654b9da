"""Pooling with Caffe's windows where torch has no such window."""

import torch
import torch.nn.functional as F


class PooledByChannels(torch.autograd.Function):
    """Max pooling of planes whose channels lie side by side meanwhile."""

    @staticmethod
    def forward(x, *window):
        last = x.contiguous(memory_format=torch.channels_last)
        y, index = torch.ops.aten.max_pool2d_with_indices(last, *window)
        return y.contiguous(), index.contiguous()

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, *ctx.window = inputs
        ctx.save_for_backward(x, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, dy, _):
        x, index = ctx.saved_tensors
        dx = torch.ops.aten.max_pool2d_with_indices_backward(dy, x, *ctx.window, index)
        return dx, None, None, None, None, None


def max_pool2d(x, kernel, stride=None, padding=0, ceil_mode=False):
    """F.max_pool2d of contiguous planes of many channels: twice as fast on the CPU."""
    window = kernel, stride or kernel, padding, 1, ceil_mode
    followed = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if followed or not isinstance(x, torch.Tensor) or x.device.type != "cpu":
        return F.max_pool2d(x, *window)
    if torch.is_grad_enabled() and x.requires_grad:
        return PooledByChannels.apply(x, *window)[0]
    last = x.contiguous(memory_format=torch.channels_last)
    return F.max_pool2d(last, *window).contiguous()


def pooled_extents(size, kernel, stride, pad, ceil_mode):
    """Caffe's extents; with padding, a window that begins in the far one is dropped."""
    extents = []
    for n, k, s, p in zip(size, kernel, stride, pad):
        out = (-(-(n + 2 * p - k) // s) if ceil_mode else (n + 2 * p - k) // s) + 1
        if any(pad) and (out - 1) * s >= n + p:
            out -= 1
        extents.append(out)
    return extents


def framed(x, kernel, stride, pad, ceil_mode, value):
    """x padded by `value` so that plain windows are Caffe's, and their extents."""
    kernel, stride, pad = (
        (v, v) if isinstance(v, int) else v for v in (kernel, stride, pad)
    )
    size = x.shape[2:]
    out = pooled_extents(size, kernel, stride, pad, ceil_mode)
    after = [
        max(0, (o - 1) * s + k - p - n)
        for o, s, k, p, n in zip(out, stride, kernel, pad, size)
    ]
    x = F.pad(x, (pad[1], after[1], pad[0], after[0]), value=value)
    x = x[
        :,
        :,
        : (out[0] - 1) * stride[0] + kernel[0],
        : (out[1] - 1) * stride[1] + kernel[1],
    ]
    return x, out, (kernel, stride, pad)


def caffe_max_pool(x, kernel, stride, pad, ceil_mode):
    """The maximum of each window; a window beyond x gives float32's lowest value."""
    framed_x, _, (kernel, stride, _) = framed(
        x, kernel, stride, pad, ceil_mode, torch.finfo(x.dtype).min
    )
    return F.max_pool2d(framed_x, kernel, stride)


def caffe_average_pool(x, kernel, stride, pad, ceil_mode):
    """The sum of each window over its area within the padded x; beyond it 0 / 0."""
    framed_x, out, (kernel, stride, pad) = framed(
        x, kernel, stride, pad, ceil_mode, 0.0
    )
    total = F.avg_pool2d(framed_x, kernel, stride, divisor_override=1)
    sides = []
    for n, o, k, s, p in zip(x.shape[2:], out, kernel, stride, pad):
        start = torch.arange(o, device=x.device) * s - p
        sides.append(((start + k).clamp(max=n + p) - start).to(x.dtype))
    return total / (sides[0][:, None] * sides[1])


def max_pool_with_mask(x, kernel, stride, pad, ceil_mode=False):
    """The maximum of each window and its index h * width + w; -1 beyond x."""
    framed_x, _, (kernel, stride, pad) = framed(
        x, kernel, stride, pad, ceil_mode, torch.finfo(x.dtype).min
    )
    y, index = F.max_pool2d(framed_x, kernel, stride, return_indices=True)
    row = index // framed_x.shape[3] - pad[0]
    column = index % framed_x.shape[3] - pad[1]
    inside = (row >= 0) & (row < x.shape[2]) & (column >= 0) & (column < x.shape[3])
    mask = torch.where(inside, row * x.shape[3] + column, -1)
    return y, mask.to(x.dtype)


def stochastic_pool(x, kernel, stride, pad, ceil_mode=False, training=False):
    """An element drawn by its share of the sum; not in training sum x² / sum x."""
    framed_x, _, (kernel, stride, _) = framed(x, kernel, stride, pad, ceil_mode, 0.0)
    windows = (
        framed_x.unfold(2, kernel[0], stride[0])
        .unfold(3, kernel[1], stride[1])
        .flatten(4)
    )
    total = windows.sum(-1)
    if not training:
        return torch.where(total > 0, windows.square().sum(-1) / total, 0)
    threshold = torch.rand_like(total) * total
    reached = windows.detach().cumsum(-1) >= threshold[..., None]
    return windows.gather(-1, reached.to(torch.uint8).argmax(-1, keepdim=True)).squeeze(
        -1
    )


def pyramid(x, height, pool):
    """What `pool` gives with 1, 2, 4 … windows a side, flattened and joined."""
    levels = []
    for bins in [2**level for level in range(height)]:
        kernel = [-(-n // bins) for n in x.shape[2:]]
        pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, x.shape[2:])]
        levels.append(pool(x, kernel, kernel, pad, ceil_mode=True).flatten(1))
    return torch.cat(levels, 1)


def max_pyramid(x, height):
    """The maxima of a spatial pyramid of `height` levels."""
    return pyramid(x, height, caffe_max_pool)


def average_pyramid(x, height):
    """The means of a spatial pyramid of `height` levels."""
    return pyramid(x, height, caffe_average_pool)
