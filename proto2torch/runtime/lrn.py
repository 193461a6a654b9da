"""Local response normalisation across channels, several times faster than torch's."""

import torch


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
