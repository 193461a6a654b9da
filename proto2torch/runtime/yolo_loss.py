"""Darknet's losses of a head of YOLO, of version 2 and 3."""

import math

import torch
import torch.nn.functional as F

from proto2torch.runtime.yolo import (
    common_sides,
    corners,
    head_boxes,
    head_values,
    overlap_of,
)


class Given(torch.autograd.Function):
    """A value of x whose gradient is given, and is not its derivative."""

    @staticmethod
    def forward(ctx, x, value, gradient):
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.saved_tensors[0], None, None


def truths_of(truth, items):
    """Class (N, 300) and box (N, 300, 4) of the truths, and which of them count: for
    overlaps those before the first at x = 0, for cells before the first of no width."""
    rows = truth.detach().reshape(items, -1, 5)
    label, boxes = rows[..., 0].long(), rows[..., 1:]
    known = (boxes[..., 0] != 0).cumprod(1).bool()
    inside = ((boxes[..., :2] >= 0) & (boxes[..., :2] < 1)).all(-1)
    return label, boxes, known, (boxes[..., 2] != 0).cumprod(1).bool() & inside


def best_overlap(boxes, truth, known, measure):
    """The largest overlap of each box (N, A, H, W, 4) with a truth of its item."""
    best = [
        measure(own.reshape(-1, 1, 4), other).where(there, -math.inf).amax(1)
        for own, other, there in zip(boxes, truth, known)
    ]
    return torch.stack(best).reshape(boxes.shape[:-1])


def hull(a, b):
    """The sides of the smallest box around both, by centre and size."""
    (a_low, a_high), (b_low, b_high) = (corners(x).split(2, -1) for x in (a, b))
    return torch.maximum(a_high, b_high) - torch.minimum(a_low, b_low)


def aspect_apart(a, b):
    """The angle from the aspect ratio of a to that of b, as CIoU has it."""
    return (b[..., 2] / b[..., 3]).atan() - (a[..., 2] / a[..., 3]).atan()


def aspect_weight(angle, iou):
    """CIoU's v, and alpha, its share."""
    v = 4 / math.pi**2 * angle.square()
    return v, v / (1 - iou + v + 1e-6)


def named_overlap(a, b, kind):
    """The overlap that `kind` names, of boxes by centre and size, pair by pair."""
    iou = overlap_of(a, b)
    if kind in ("MSE", "IOU"):
        return iou
    sides = hull(a, b)
    if kind == "GIOU":
        union = (a[..., 2:].prod(-1) + b[..., 2:].prod(-1)) / (1 + iou)
        return iou - (1 - union / sides.prod(-1)).nan_to_num(0)
    squares = (a[..., :2] - b[..., :2]).square().sum(-1)
    apart = squares / sides.square().sum(-1)
    if kind == "DIOU":
        return iou - (apart**0.6).nan_to_num(0)
    v, alpha = aspect_weight(aspect_apart(a, b), iou)
    return iou - (apart + alpha * v).nan_to_num(0)


@torch.enable_grad()
def overlap_gradient(a, b, kind):
    """The fork's gradient of an overlap of a with b, by the centre and size of a.

    It is twice the derivative of IoU and GIoU by the size; the hull's diagonal counts
    with the wrong sign for the centre; and of boxes that do not overlap it knows only
    the second term.
    """
    a = a.detach().requires_grad_()
    sides = common_sides(a, b)
    both = sides.prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - both
    twice, iou = a.new_tensor([1, 1, 2, 2]), both / union
    first = torch.autograd.grad(iou.sum(), a, retain_graph=True)[0] * twice
    if kind == "IOU":
        second = torch.zeros_like(first)
    elif kind == "GIOU":
        share = (union / hull(a, b).prod(-1)).sum()
        second = torch.autograd.grad(share, a)[0] * twice
    else:
        squares = (a[..., :2] - b[..., :2]).square().sum(-1)
        diagonal = hull(a, b).square().sum(-1)
        near = (-squares / diagonal.detach()).sum()
        far = (-squares.detach() / diagonal).sum()
        near, far = (torch.autograd.grad(part, a)[0] for part in (near, far))
        second = near + far * a.new_tensor([-1, -1, 1, 1])
    if kind == "CIOU":
        angle = aspect_apart(a, b)
        turn = 8 / math.pi**2 * aspect_weight(angle, iou)[1] * angle
        turn = turn[..., None] * a[..., 2:].flip(-1) * a.new_tensor([1, -1])
        second = second + F.pad(turn, (2, 0))
    apart = (sides <= 0).any(-1, keepdim=True)
    return torch.where(apart, second, first + second).detach()


class Hits:
    """How often truths (N, T) hit the anchors of their cells: counts (N, T, A), where
    the boxes are (N, A, H, W)."""

    def __init__(self, counts, row, column, boxes):
        n, a, height, width = self.shape = boxes
        item = torch.arange(n, device=row.device)[:, None, None]
        anchor = torch.arange(a, device=row.device)
        self.counts, self.any = counts, counts > 0
        self.place = item, anchor, row[..., None], column[..., None]
        flat = ((item * a + anchor) * height + row[..., None]) * width
        self.flat = (flat + column[..., None]).flatten()

    def total(self, values):
        """The sum over each box's hits of (N, T, A, D), as (N, A, H, W, D)."""
        rows = values.expand(*self.counts.shape, -1).flatten(0, 2)
        none = rows.new_zeros(math.prod(self.shape), rows.shape[1])
        return none.index_add(0, self.flat, rows).view(*self.shape, -1)

    def ends(self):
        """Which hits are the first of their box, and which the last, (N, T, A, 1)."""
        order = torch.arange(self.any.shape[1], device=self.flat.device)
        order = order[:, None].expand_as(self.any)
        ends = []
        for reduce, other in (("amin", len(self.flat)), ("amax", -1)):
            end = torch.full((math.prod(self.shape),), other, device=self.flat.device)
            given = order.where(self.any, other).flatten()
            end = end.scatter_reduce(0, self.flat, given, reduce)[self.flat]
            ends.append(((order == end.view_as(order)) & self.any)[..., None])
        return ends


def anchor_hits(truths, counts, size, mask, similar, kind):
    """How often each truth hits each anchor of the mask, (N, T, A).

    Beside the anchor most like it, every other that is similar enough: the fork takes
    for that anchor itself the one whose number is its place in the mask.
    """
    alike = F.pad(size, (2, 0)), F.pad(truths[:, :, None, 2:], (2, 0))
    likeness = named_overlap(*alike, kind)
    best = likeness.argmax(-1, keepdim=True)
    own = torch.tensor(mask, device=truths.device)
    hits = (best == own).long()
    if similar < 1:
        within = hits.amax(-1, keepdim=True) > 0
        place = hits.argmax(-1, keepdim=True).where(within, best)
        hits = hits + ((own != place) & (likeness[..., mask] > similar))
    return hits * counts[..., None]


def class_deltas(hits, label, p, smooth, focal, scale):
    """The deltas of class probabilities p: the first hit of a box sets all classes, and
    every later one that of its own again."""
    named = F.one_hot(label, p.shape[-1])[:, :, None].to(p.dtype)
    count = hits.total(named * hits.counts[..., None])
    if not focal:
        return scale * (p - count.clamp(max=1) * (1 - smooth) - smooth / 2)
    first, _ = hits.ends()
    own = hits.total(named * first)
    likely = (own * p).sum(-1, keepdim=True).clamp(min=1e-15)
    weight = -(1 - likely) * (2 * likely * likely.log() + likely - 1) / 2
    again = p - (1 - smooth) - smooth / 2
    return scale * torch.where(count > own, again, (p - own) * weight)


def cells_of(truths, width, height):
    """The column and row of each truth's centre."""
    column, row = (
        (truths[..., i] * extent).long().clamp(0, extent - 1)
        for i, extent in enumerate((width, height))
    )
    return column, row


def region_loss(
    x,
    truth,
    anchors,
    object_scale=1,
    noobject_scale=0.5,
    class_scale=1,
    coord_scale=5,
    threshold=0.2,
    rescore=True,
    by_anchor=True,
):
    """Darknet's loss of YOLOv2: sum of delta² over the items; the gradient is delta."""
    values = head_values(x.detach(), anchors)
    n, a, height, width, _ = values.shape
    grid = values.new_tensor([width, height])
    boxes = head_boxes(values, anchors)
    label, truths, known, counts = truths_of(truth, n)
    column, row = cells_of(truths, width, height)
    item = torch.arange(n, device=x.device)[:, None]
    size = values.new_tensor(anchors) / grid
    if not by_anchor:
        size = boxes[item, :, row, column, 2:]
    goal = truths[:, :, None]
    likeness = overlap_of(F.pad(size, (2, 0)), F.pad(goal[..., 2:], (2, 0)))
    chosen = F.one_hot(likeness.argmax(-1), a) * counts[..., None]
    hits = Hits(chosen, row, column, (n, a, height, width))
    own, o = values[hits.place], values[..., 4].sigmoid()

    aim = overlap_of(boxes[hits.place], goal) if rescore else torch.ones_like(chosen)
    s = coord_scale * (1 if rescore else 2 - goal[..., 2:3] * goal[..., 3:])
    place = own[..., :2].sigmoid()
    centre = goal[..., :2] * grid - torch.stack([column, row], -1)[:, :, None] - place
    scale = (goal[..., 2:] * grid / values.new_tensor(anchors)).log() - own[..., 2:4]
    sure = own[..., 4].sigmoid()
    sure = object_scale * (aim - sure) * sure * (1 - sure)
    classes = F.one_hot(label, values.shape[-1] - 5)[:, :, None]
    classes = class_scale * (classes - own[..., 5:].softmax(-1))
    pull = s * centre * place * (1 - place), s * scale, sure[..., None], classes
    last = hits.ends()[1]
    hit = hits.total(-torch.cat(pull, -1).where(last, 0))

    free = best_overlap(boxes, truths, known, overlap_of) <= threshold
    delta = (noobject_scale * o * o * (1 - o)).where(free, 0)
    delta = F.pad(delta[..., None], (4, classes.shape[-1]))
    delta = torch.where(hits.total(last) > 0, hit, delta)
    delta = delta.movedim(-1, 2).reshape(x.shape)
    return Given.apply(x, delta.square().sum() / n, delta / n)


def pull_by_difference(own, goal, corner, sizes, grid, scale):
    """How a hit draws its box's numbers to those of the truth."""
    scale = scale * (2 - goal[..., 2:3] * goal[..., 3:])
    centre = goal[..., :2] * grid - corner - own[..., :2].sigmoid()
    size = (goal[..., 2:] / sizes).log() - own[..., 2:4]
    return -scale * torch.cat([centre, size], -1)


def pull_by_overlap(own, box, goal, kind, normalizer, most):
    """How a hit draws its box's numbers by the gradient of an overlap."""
    gradient = overlap_gradient(box, goal, kind)
    gradient = gradient * F.pad(own[..., 2:4].exp(), (2, 0), value=1)
    return -(normalizer * gradient).clamp(-most, most).nan_to_num(0, 0, 0)


def mean_shortfall(hits, box, goal, kind):
    """The mean over hits of what an overlap lacks to 1; DIoU's for IoU."""
    overlap = named_overlap(box, goal, "DIOU" if kind == "IOU" else kind)
    short = (1 - overlap).where(hits.any, 0) * hits.counts
    return short.sum() / hits.counts.sum().clamp(min=1)


def logistic_slope(values, raw_centre):
    """q (1 - q) of every number but the size, q its sigmoid, or a centre as it is."""
    q = values.sigmoid()
    if raw_centre:
        q = torch.cat([values[..., :2], q[..., 2:]], -1)
    slope = q * (1 - q)
    return torch.cat(
        [slope[..., :2], torch.ones_like(slope[..., 2:4]), slope[..., 4:]], -1
    )


def yolo_loss(
    x,
    truth,
    anchors,
    mask,
    cell=32,
    object_scale=1,
    class_scale=1,
    coord_scale=5,
    threshold=0.2,
    overlap="MSE",
    normalizer=0.25,
    similar=0.5,
    most=10,
    accumulate=True,
    smooth=0.1,
    focal=False,
    logic=False,
):
    """The loss of a head, its anchors those that `mask` names; the gradient is delta.

    `overlap` draws boxes to truths, each pull clipped to `most`; MSE by differences.
    """
    values, plain = head_values(x.detach(), mask), overlap == "MSE"
    n, a, height, width, depth = values.shape
    grid = values.new_tensor([width, height])
    sizes = values.new_tensor(anchors) / cell / grid
    boxes = head_boxes(values, [anchors[i] for i in mask], cell)
    label, truths, known, counts = truths_of(truth, n)
    column, row = cells_of(truths, width, height)
    counts = anchor_hits(truths, counts, sizes, mask, similar, overlap)
    hits = Hits(counts, row, column, (n, a, height, width))

    own, box, goal = values[hits.place], boxes[hits.place], truths[:, :, None]
    if plain:
        corner = torch.stack([column, row], -1)[:, :, None]
        pull = pull_by_difference(own, goal, corner, sizes[mask], grid, coord_scale)
    else:
        pull = pull_by_overlap(own, box, goal, overlap, normalizer, most)
    each = counts[..., None] if accumulate and not plain else hits.ends()[1]
    o, p = values[..., 4:5].sigmoid(), values[..., 5:].sigmoid()
    classes = class_deltas(hits, label, p, smooth, focal, class_scale)
    drawn = hits.total((pull * each).where(each > 0, 0))
    hit = torch.cat([drawn, object_scale * (o - 1), classes], -1)

    def measure(a, b):
        return named_overlap(a, b, overlap)

    free = best_overlap(boxes, truths, known, measure) <= threshold
    delta = F.pad(o.where(free[..., None], 0), (4, depth - 5))
    delta = torch.where(hits.total(counts[..., None]) > 0, hit, delta)
    loss = delta.square() if plain else delta[..., 4:].square()
    loss = loss.sum()
    if not plain:
        loss = loss + normalizer * mean_shortfall(hits, box, goal, overlap)
    if logic:
        delta = delta * logistic_slope(values, raw_centre=not plain)
    delta = delta.movedim(-1, 2).reshape(x.shape)
    return Given.apply(x, loss / n, delta / n)
