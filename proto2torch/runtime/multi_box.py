"""SSD's loss: priors matched with true boxes, and hard negatives beside them."""

import torch
import torch.nn.functional as F
from torch import nn

from proto2torch.runtime.detection import decoded
from proto2torch.runtime.loss import label_losses


def jaccard(a, b):
    """Intersection over union of boxes (n, 4) and (m, 4): (n, m); 0 where none meet."""
    low = torch.maximum(a[:, None, :2], b[:, :2])
    high = torch.minimum(a[:, None, 2:], b[:, 2:])
    common = (high - low).clamp(min=0).prod(2)
    areas = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(1) for box in (a, b)]
    union = areas[0][:, None] + areas[1] - common
    return (common / union).where(common > 0, 0)


def match_boxes(boxes, truths, overlap, bipartite, within):
    """The truth that each box stands for, and its largest overlap with any.

    Each truth takes the box that overlaps it most, the best pair first; then, unless
    bipartite, every other box the truth that overlaps it most, by `overlap` at least.
    -1 is none, -2 a box left out because it leaves the image (`within`).
    """
    shares = jaccard(boxes, truths)
    shares = shares.where(shares > 1e-6, 0)
    match = torch.full((len(boxes),), -1, device=boxes.device)
    if within:
        beyond = ((boxes < 0) | (boxes > 1)).any(1)
        match[beyond] = -2
        shares[beyond] = 0
    most, likely = shares.max(1)
    pool = shares.clone()
    for _ in range(len(truths)):
        place = pool.argmax()
        box, truth = place // len(truths), place % len(truths)
        if pool[box, truth] == 0:
            break
        match[box] = truth
        pool[box], pool[:, truth] = 0, 0
    if not bipartite:
        free = (match == -1) & (most >= overlap) & (most > 0)
        match = likely.where(free, match)
    return match, most


def encoded(boxes, priors, kind="CORNER"):
    """What boxes differ from their priors by; not yet in variances."""
    low, high = priors[:, :2], priors[:, 2:]
    size = high - low
    if kind == "CORNER":
        return boxes - priors
    if kind == "CORNER_SIZE":
        return (boxes - priors) / torch.cat([size, size], 1)
    centre = (boxes[:, :2] + boxes[:, 2:] - low - high) / 2 / size
    return torch.cat([centre, ((boxes[:, 2:] - boxes[:, :2]) / size).log()], 1)


class MultiBoxLoss(nn.Module):
    """Loss of codes and scores for priors, of the boxes that truths (image, label,
    instance, xmin, ymin, xmax, ymax, difficult) ask for and of hard negatives.
    """

    def __init__(
        self,
        classes,
        code="CORNER",
        loc_loss="SMOOTH_L1",
        conf_loss="SOFTMAX",
        loc_weight=1,
        conf_weight=1,
        shared=True,
        overlap=0.5,
        bipartite=False,
        match_priors=True,
        background=0,
        difficult=True,
        mining="MAX_NEGATIVE",
        negatives=3,
        negative_overlap=0.5,
        samples=64,
        weighed=True,
        within=False,
        normalization="VALID",
    ):
        super().__init__()
        self.classes, self.background, self.shared = classes, background, shared
        self.code, self.weighed = code, weighed
        self.loc_loss, self.conf_loss = loc_loss, conf_loss
        self.loc_weight, self.conf_weight = loc_weight, conf_weight
        self.match_priors = match_priors
        self.matching = {"overlap": overlap, "bipartite": bipartite, "within": within}
        self.difficult, self.mining = difficult, mining
        self.negatives, self.negative_overlap = negatives, negative_overlap
        self.samples, self.normalization = samples, normalization

    def forward(self, codes, scores, priors, truth):
        count = priors.shape[2] // 4
        priors, spread = priors.reshape(2, count, 4)
        codes = codes.reshape(len(codes), count, -1, 4)
        scores = scores.reshape(len(scores), count, self.classes)
        loc, conf, matches = codes.sum() * 0, scores.sum() * 0, 0
        labels = torch.full(scores.shape[:2], self.background, device=scores.device)
        target = torch.zeros(scores.numel(), device=scores.device)
        for i, (own, likely) in enumerate(zip(codes, scores)):
            boxes, classes = self.truths(truth, i)
            if not len(boxes):
                continue
            match, most = self.matches(own, priors, spread, boxes, classes)
            losses = self.box_losses(own, priors, spread, boxes, match)
            labels[i] = asked = self.labels(match, classes)
            if self.mining != "NONE":
                chosen = self.mined(likely, asked, losses, match, most)
                conf = conf + self.score_losses(likely, asked)[chosen].sum()
            place, column = (match >= 0).nonzero().t()
            own = classes[match[place, column]]
            target[i * count + place * self.classes + own] = 1  # as the fork places it
            loc = loc + losses[place, column].sum()
            matches += len(place)
        if self.mining == "NONE" and self.conf_loss == "SOFTMAX":
            conf = self.score_losses(scores.flatten(0, 1), labels.flatten()).sum()
        elif self.mining == "NONE":
            target = target.view_as(scores).to(scores)
            conf = F.binary_cross_entropy_with_logits(scores, target, reduction="sum")
        sizes = {"VALID": matches, "FULL": labels.numel(), "BATCH_SIZE": len(codes)}
        divisor = max(1, sizes.get(self.normalization, 1))
        return (self.loc_weight * loc + self.conf_weight * conf) / divisor

    def truths(self, truth, image):
        """An image's boxes (n, 4) and their labels."""
        rows = truth.reshape(-1, 8)
        rows = rows[rows[:, 0] == image]
        labels = rows[:, 1].long()
        if (
            (labels == self.background) | (labels < 0) | (labels >= self.classes)
        ).any():
            known = f"from 0 to {self.classes - 1}, and not {self.background}"
            raise IndexError(f"a true box's label must lie {known}: {labels.tolist()}")
        if not self.difficult:
            easy = rows[:, 7] == 0
            rows, labels = rows[easy], labels[easy]
        return rows[:, 3:7], labels

    def matches(self, codes, priors, spread, boxes, classes):
        """The truth of each prior and location (n, locations), and the overlaps."""
        if self.match_priors:
            match, most = match_boxes(priors, boxes, **self.matching)
            if self.shared:
                return match[:, None], most
            columns = torch.arange(self.classes, device=match.device)
            own = classes[match.clamp(min=0), None] == columns
            return match[:, None].where(own & (match[:, None] >= 0), -1), most
        columns = []
        for label in range(codes.shape[1]):
            mine = torch.arange(len(boxes), device=boxes.device)
            mine = mine if self.shared else mine[classes == label]
            columns.append(torch.full_like(codes[:, 0, 0], -1, dtype=torch.long))
            if len(mine):
                own = codes[:, label].detach()
                own = decoded(own, priors, spread, self.code, self.weighed)
                match, most = match_boxes(own, boxes[mine], **self.matching)
                columns[-1] = mine[match.clamp(min=0)].where(match >= 0, match)
        return torch.stack(columns, 1), most if self.shared else None

    def labels(self, match, classes):
        """The label of each prior: its truth's, or the background."""
        labels = torch.full_like(match[:, 0], self.background)
        for column in match.t():
            labels = classes[column.clamp(min=0)].where(column >= 0, labels)
        return labels

    def box_losses(self, codes, priors, spread, boxes, match):
        """The loss of each prior and location, 0 where none is matched."""
        place, column = (match >= 0).nonzero().t()
        goal = encoded(boxes[match[place, column]], priors[place], self.code)
        found, scale = codes[place, column], spread[place]
        if self.weighed:
            off = found - goal / scale
        else:  # the fork's gradient lacks the division
            off = (found.detach() - goal) / scale + found - found.detach()
        if self.loc_loss == "L2":
            losses = off.square() / 2
        else:
            losses = F.smooth_l1_loss(off, torch.zeros_like(off), reduction="none")
        return torch.zeros_like(codes[..., 0]).index_put((place, column), losses.sum(1))

    def score_losses(self, scores, labels):
        """The loss of each prior's scores."""
        if self.conf_loss == "SOFTMAX":
            return label_losses(scores, labels)
        target = F.one_hot(labels, self.classes).to(scores)
        losses = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
        return losses.sum(1)

    def mined(self, scores, labels, losses, match, most):
        """Which priors count: the matched ones, and the negatives of highest loss.

        HARD_EXAMPLE: only those of highest loss, of either kind; it takes a match away
        from every other prior.
        """
        match = match[:, 0]
        found = self.score_losses(scores, labels).detach()
        if self.mining == "MAX_NEGATIVE":
            likely = (
                ((match == -1) & (most < self.negative_overlap)).nonzero().flatten()
            )
            number = int(int((match >= 0).sum()) * self.negatives)
            best = found[likely].argsort(descending=True, stable=True)[:number]
            chosen = match >= 0
            chosen[likely[best]] = True
            return chosen
        hard = torch.zeros_like(match, dtype=torch.bool)
        found = found + losses[:, 0].detach()
        hard[found.argsort(descending=True, stable=True)[: self.samples]] = True
        match[(match >= 0) & ~hard] = -1
        return hard & (match != -2)
