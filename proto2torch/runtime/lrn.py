"""Local response normalisation across channels, several times faster than torch's."""

import torch


class AcrossChannelsNormalized(torch.autograd.Function):
    """x s^-beta with s = k + alpha / size * (sum of x² over size channels around it).

    dx = dy s^-beta - 2 alpha beta / size x (sum of dy x s^(-beta - 1) over them).
    """

    @staticmethod
    def forward(ctx, x, size, alpha, beta, k):
        y, s = torch.empty_like(x), torch.empty_like(x)
        for x_part, y_part, s_part in by_image(x, y, s):
            add_neighbours(x_part * x_part, size, s_part).mul_(alpha / size).add_(k)
            torch.div(x_part, raised(s_part, beta), out=y_part)
        ctx.save_for_backward(x, s)
        ctx.size, ctx.beta, ctx.factor = size, beta, -2 * alpha * beta / size
        return y

    @staticmethod
    def backward(ctx, dy):
        x, s = ctx.saved_tensors
        dx = torch.empty_like(x)
        for x_part, s_part, dy_part, dx_part in by_image(x, s, dy, dx):
            torch.div(dy_part, raised(s_part, ctx.beta), out=dx_part)
            shares = (dx_part * x_part).div_(s_part)
            total = add_neighbours(shares, ctx.size, torch.empty_like(shares))
            dx_part.addcmul_(total, x_part, value=ctx.factor)
        return dx, None, None, None, None


def across_channels_lrn(x, size, alpha=1, beta=0.75, k=1):
    """x (k + alpha / size * sum of x² over size channels around it) ^ -beta."""
    return AcrossChannelsNormalized.apply(x, size, alpha, beta, k)


def by_image(*tensors):
    """On the CPU an image at a time, which its cache holds; elsewhere all at once."""
    if tensors[0].device.type == "cpu" and not torch.compiler.is_compiling():
        return zip(*(x.split(1) for x in tensors))
    return [tensors]


def add_neighbours(x, size, out):
    """The sum over `size` channels around each, into `out`."""
    out.copy_(x)
    for d in range(1, min(size // 2, x.shape[1] - 1) + 1):
        out[:, d:].add_(x[:, :-d])
        out[:, :-d].add_(x[:, d:])
    return out


def raised(x, exponent):
    """x ^ exponent; roots are several times faster where it is 3/4."""
    return x.sqrt().mul_(x).sqrt_() if exponent == 0.75 else x**exponent
