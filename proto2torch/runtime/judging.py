"""Which detections are right."""

import torch

from proto2torch.runtime.multi_box import jaccard


def judged(found, truths, classes, background=0, overlap=0.5, difficult=True):
    """Rows (1, 1, n, 5): the truths of each class, then every detection's verdict.

    A detection is right where it overlaps its best truth enough, and is the first; with
    `difficult` false one of a difficult truth is neither right nor wrong.
    """
    found, truths = found.detach().reshape(-1, 7), truths.detach().reshape(-1, 8)
    found = found[found[:, 1] != -1]
    truths = truths[(truths[:, 0] != -1).cumprod(0).bool()]
    easy = truths[:, 7] == 0
    kinds = torch.arange(classes, device=found.device)
    kinds = kinds[kinds != background].to(found)[:, None]
    counted = (truths[:, 1] == kinds) & (easy | difficult)
    none = torch.full_like(kinds, -1)
    head = torch.cat([none, kinds, counted.sum(1, keepdim=True), none, none], 1)

    own = (found[:, None, :2] == truths[:, :2]).all(-1)
    order = found[:, 2].where(own.any(1), 0).argsort(descending=True, stable=True)
    for column in (1, 0):
        order = order[found[order, column].argsort(stable=True)]
    found, own = found[order], own[order]
    right, wrong = torch.zeros_like(found[:, 0]), torch.ones_like(found[:, 0])
    if len(truths):
        share = jaccard(found[:, 3:], truths[:, 3:7]).where(own, -1)
        share, truth = share.max(1)
        near = share >= overlap
        place = torch.arange(len(found), device=found.device)
        first = torch.full_like(truths[:, 0], len(found), dtype=torch.long)
        first = first.scatter_reduce(0, truth, place.where(near, len(found)), "amin")
        counts = ~near | easy[truth] | difficult
        right = (near & (place == first[truth]) & counts).to(found)
        wrong = counts.to(found)
    rows = torch.cat([found[:, :3], right[:, None], (wrong - right)[:, None]], 1)
    return torch.cat([head, rows])[None, None]
