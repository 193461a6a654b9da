"""Pooling of regions of an image, as Fast R-CNN and R-FCN do it."""

import torch
import torch.nn.functional as F
from torchvision import ops


def rounded(x):
    """To whole numbers, halves away from zero."""
    whole = x.trunc()
    return whole + x.sign() * ((x - whole).abs() >= 0.5)


def images_and_boxes(rois, count):
    """The image of each region (R,), one of `count`, and its corners (R, 4).

    A corner that is no number is 0; an image that is not there is an error.
    """
    rois = rois.detach().reshape(-1, 5)
    there = torch.arange(count, device=rois.device)
    image = there.index_select(0, rois[:, 0].long())
    return image, rois[:, 1:].nan_to_num(0).clamp(-1e7, 1e7)


def roi_pool(x, rois, size, scale=1):
    """The maximum of each bin; a region that is turned over gives no gradient."""
    image, box = images_and_boxes(rois, len(x))
    y = ops.roi_pool(x, torch.cat([image[:, None].to(box), box], 1), size, scale)
    corner = rounded(box * scale)
    turned = (corner[:, 2:] < corner[:, :2]).any(1).view(-1, 1, 1, 1)
    return y.detach().where(turned, y)


def psroi_pool(x, rois, outputs, k, scale):
    """The mean of each of k by k bins, each of channels of its own."""
    image, box = images_and_boxes(rois, len(x))
    start, end = rounded(box[:, :2]) * scale, (rounded(box[:, 2:]) + 1) * scale
    bins = ((end - start).clamp(min=0.1) / k)[..., None]
    steps = torch.arange(k, device=x.device)
    limit = torch.tensor([x.shape[3], x.shape[2]], device=x.device).view(2, 1)
    first = (steps * bins + start[..., None]).floor().long().clamp(min=0)
    last = ((steps + 1) * bins + start[..., None]).ceil().long().clamp(min=0)
    (left, top), (right, bottom) = (
        torch.minimum(side, limit).unbind(1) for side in (first, last)
    )
    sums = F.pad(x.double().cumsum(2).cumsum(3), (1, 0, 1, 0))
    sums = sums.unflatten(1, (outputs, k, k))

    def up_to(row, column):
        place = row[:, :, None], column[:, None]
        return sums[image[:, None, None], :, steps[:, None], steps, *place]

    total = up_to(bottom, right) - up_to(top, right)
    total = total - up_to(bottom, left) + up_to(top, left)
    area = (bottom - top)[:, :, None] * (right - left)[:, None]
    mean = total / area.clamp(min=1)[..., None]
    return mean.where(area[..., None] > 0, 0).permute(0, 3, 1, 2).to(x.dtype)
