"""The values under a kernel, as channels."""

import torch.nn.functional as F


def im2col(x, kernel, stride=None, pad=None, dilation=None):
    """(…, C, spatial…) to (…, C * kernel…, places…); beyond x there are zeros."""
    spatial, axis = len(kernel), x.dim() - len(kernel)
    stride, dilation = stride or [1] * spatial, dilation or [1] * spatial
    pad = pad or [0] * spatial
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    ends = [p + max(0, r - n - 2 * p) for n, r, p in zip(x.shape[axis:], reach, pad)]
    x = F.pad(x, [n for pair in zip(reversed(pad), reversed(ends)) for n in pair])
    for i in range(spatial):
        x = x.unfold(axis + i, reach[i], stride[i])[..., :: dilation[i]]
    places = range(axis, axis + spatial)
    x = x.permute(*range(axis), *range(axis + spatial, x.dim()), *places)
    return x.flatten(axis - 1, axis + spatial - 1)
