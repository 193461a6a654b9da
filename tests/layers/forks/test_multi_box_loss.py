"""MultiBoxLoss against a second computation, box by box, and its refusals."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.errors import DataError, NetError, Proto2TorchError

from .boxes import Box, decode, drawn, encode, overlap

CLASSES, PRIORS, IMAGES = 4, 12, 3


def text(fields: str, locations: int = 1, truths: int = 6, extra: str = "") -> str:
    shapes = [(IMAGES, 4 * PRIORS * locations), (IMAGES, PRIORS * CLASSES), (1, 2, 4 * PRIORS), (1, 1, truths, 8)]
    inputs = "".join(
        f'layer {{ name: "b{i}" type: "Input" top: "b{i}" input_param {{ shape {{ '
        f"{' '.join(f'dim: {d}' for d in shape)} }} }} }}\n"
        for i, shape in enumerate(shapes)
    )
    bottoms = " ".join(f'bottom: "b{i}"' for i in range(4))
    fields = f"num_classes: {CLASSES} {fields}"
    return inputs + (
        f'layer {{ name: "loss" type: "MultiBoxLoss" {bottoms} top: "loss" '
        f"multibox_loss_param {{ {fields} }} {extra} }}"
    )


class Drawn:
    """Bottoms: image 0 has two truths, image 1 none, image 2 three, of which one is difficult."""

    def __init__(self, seed: int, locations: int = 1) -> None:
        generator = np.random.default_rng(seed)
        self.codes = generator.normal(0, 1, (IMAGES, PRIORS, locations, 4)).astype(np.float32)
        self.scores = generator.normal(0, 1, (IMAGES, PRIORS, CLASSES)).astype(np.float32)
        self.boxes = drawn(generator, PRIORS)
        self.variances = np.tile(np.float32([0.1, 0.1, 0.2, 0.2]), (PRIORS, 1))
        truths = [[0, 1, 0], [0, 3, 1], [2, 2, 0], [2, 1, 1], [2, 2, 2], [-1, -1, -1]]
        self.truth = np.concatenate([np.float32(truths), drawn(generator, 6), np.zeros((6, 1), np.float32)], 1)
        self.truth[1, 3:7] = self.boxes[3] + generator.normal(0, 0.02, 4)
        self.truth[2, 3:7] = self.boxes[7] + generator.normal(0, 0.02, 4)
        self.truth[3, 7] = 1

    def bottoms(self) -> dict[str, torch.Tensor]:
        arrays = {
            "b0": self.codes.reshape(IMAGES, -1),
            "b1": self.scores.reshape(IMAGES, -1),
            "b2": np.stack([self.boxes.ravel(), self.variances.ravel()])[None],
            "b3": self.truth[None, None],
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def cross_entropy(scores: np.ndarray, label: int, logistic: bool) -> float:
    scores = scores.astype(np.float64)
    if not logistic:
        return float(np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label])
    target = np.eye(len(scores))[label]
    return float(np.sum(np.logaddexp(0, scores) - target * scores))


def smooth(d: float, kind: str) -> float:
    return d * d / 2 if kind == "L2" or abs(d) < 1 else abs(d) - 0.5


def reference(case: Drawn, **o: Any) -> float:
    """The loss by SSD's rules, in the order in which they are told."""
    loc = conf = 0.0
    matches = 0
    locations = case.codes.shape[2]
    for image in range(IMAGES):
        rows = [r for r in case.truth if r[0] == image and (o.get("difficult", True) or not r[7])]
        boxes, labels = [list(map(float, r[3:7])) for r in rows], [int(r[1]) for r in rows]
        stands: list[list[int]] = [[-1] * PRIORS for _ in range(locations)]
        most = [0.0] * PRIORS
        if rows:
            for location in range(locations):
                stands[location], most = match(case, image, location, boxes, labels, **o)
        asked = [0] * PRIORS
        for column in stands:
            asked = [labels[m] if m >= 0 else a for m, a in zip(column, asked, strict=True)]
        logistic = o.get("conf_loss") == "LOGISTIC"
        losses = [cross_entropy(case.scores[image, p], asked[p], logistic) for p in range(PRIORS)]
        regress = {
            (c, p): box_loss(case, image, c, p, boxes[m], **o)
            for c, column in enumerate(stands)
            for p, m in enumerate(column)
            if m >= 0
        }
        mining = o.get("mining", "MAX_NEGATIVE")
        if mining == "NONE":
            chosen = set(range(PRIORS))
        elif not rows:
            chosen = set()
        elif mining == "MAX_NEGATIVE":
            likely = [p for p in range(PRIORS) if stands[0][p] == -1 and most[p] < o.get("negative_overlap", 0.5)]
            likely.sort(key=lambda p: -losses[p])
            chosen = {p for p in range(PRIORS) if stands[0][p] >= 0}
            chosen |= set(likely[: int(len(chosen) * o.get("negatives", 3.0))])
        else:
            total = [losses[p] + regress.get((0, p), 0.0) for p in range(PRIORS)]
            hard = set(sorted(range(PRIORS), key=lambda p: -total[p])[: o["samples"]])
            regress = {at: value for at, value in regress.items() if at[1] in hard}
            chosen = {p for p in hard if stands[0][p] != -2}
        loc += sum(regress.values())
        matches += len(regress)
        conf += sum(losses[p] for p in chosen)
    sizes = {"VALID": matches, "FULL": IMAGES * PRIORS, "BATCH_SIZE": IMAGES, "NONE": 1}
    return (o.get("loc_weight", 1) * loc + conf) / max(1, sizes[o.get("normalization", "VALID")])


def match(
    case: Drawn, image: int, location: int, truths: list[Box], labels: list[int], **o: Any
) -> tuple[list[int], list[float]]:
    boxes: list[Box] = [list(map(float, b)) for b in case.boxes]
    mine = list(range(len(truths)))
    shared = case.codes.shape[2] == 1
    if not o.get("match_priors", True):
        boxes = [decode(case.codes[image, p, location], boxes[p], case.variances[p], o["code"]) for p in range(PRIORS)]
        mine = mine if shared else [t for t in mine if labels[t] == location]
    stands, most = [-1] * PRIORS, [0.0] * PRIORS
    shares: dict[tuple[int, int], float] = {}
    for p in range(PRIORS if mine else 0):
        if o.get("within") and (min(boxes[p]) < 0 or max(boxes[p]) > 1):
            stands[p] = -2
            continue
        for t in mine:
            share = overlap(boxes[p], truths[t])
            if share > 1e-6:
                shares[p, t] = share
                most[p] = max(most[p], share)
    left = dict(shares)
    while left:
        p, t = max(left, key=lambda at: (left[at], -at[0], -at[1]))
        stands[p] = t
        left = {at: share for at, share in left.items() if at[0] != p and at[1] != t}
    if not o.get("bipartite"):
        for p in [p for p in range(PRIORS) if stands[p] == -1]:
            best = max((t for t in mine if (p, t) in shares), key=lambda t: (shares[p, t], -t), default=-1)
            if best >= 0 and shares[p, best] >= o.get("overlap", 0.5):
                stands[p] = best
    if o.get("match_priors", True) and not shared:
        stands = [m if m >= 0 and labels[m] == location else -1 for m in stands]
    return stands, most


def box_loss(case: Drawn, image: int, location: int, p: int, truth: Box, **o: Any) -> float:
    goal = encode(truth, list(map(float, case.boxes[p])), o["code"])
    parts = zip(case.codes[image, p, location], goal, case.variances[p], strict=True)
    return sum(smooth(float(c) - g / float(v), o.get("loc_loss", "SMOOTH_L1")) for c, g, v in parts)


CODES = ("CORNER", "CENTER_SIZE", "CORNER_SIZE")
OPTIONS = {
    "overlap": ("overlap_threshold: 0.3", {"overlap": 0.3}),
    "bipartite": ("match_type: BIPARTITE", {"bipartite": True}),
    "no negatives": ("neg_pos_ratio: 0.4", {"negatives": 0.4}),
    "near negatives": ("neg_overlap: 0.2 neg_pos_ratio: 9", {"negative_overlap": 0.2, "negatives": 9}),
    "easy": ("use_difficult_gt: false", {"difficult": False}),
    "within": ("ignore_cross_boundary_bbox: true", {"within": True}),
    "hard": ("mining_type: HARD_EXAMPLE sample_size: 5", {"mining": "HARD_EXAMPLE", "samples": 5}),
    "hard within": (
        "mining_type: HARD_EXAMPLE sample_size: 7 ignore_cross_boundary_bbox: true",
        {"mining": "HARD_EXAMPLE", "samples": 7, "within": True},
    ),
    "all": ("mining_type: NONE loc_weight: 0.5", {"mining": "NONE", "loc_weight": 0.5}),
    "predictions": ("use_prior_for_matching: false", {"match_priors": False}),
    "logistic": ("conf_loss_type: LOGISTIC", {"conf_loss": "LOGISTIC"}),
    "L2": ("loc_loss_type: L2", {"loc_loss": "L2"}),
}


@pytest.mark.parametrize(("code", "option"), list(itertools.product(CODES, OPTIONS)))
def test_the_loss_is_that_of_the_rules(code: str, option: str) -> None:
    fields, meant = OPTIONS[option]
    net = p2t.load(text=text(f"code_type: {code} {fields}"), phase="TRAIN")
    for seed in range(3):
        case = Drawn(seed)
        expected = reference(case, code=code, **meant)
        assert net(**case.bottoms())["loss"].item() == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("predictions", [False, True])
def test_locations_of_their_own_for_each_class(predictions: bool) -> None:
    fields = "share_location: false mining_type: NONE code_type: CENTER_SIZE"
    fields += " use_prior_for_matching: false" if predictions else ""
    net = p2t.load(text=text(fields, CLASSES), phase="TRAIN")
    for seed in range(3):
        case = Drawn(seed, CLASSES)
        expected = reference(case, code="CENTER_SIZE", mining="NONE", match_priors=not predictions)
        assert net(**case.bottoms())["loss"].item() == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("mode", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
def test_normalization(mode: str) -> None:
    net = p2t.load(text=text("", extra=f"loss_param {{ normalization: {mode} }}"), phase="TRAIN")
    case = Drawn(5)
    expected = reference(case, code="CORNER", normalization=mode)
    assert net(**case.bottoms())["loss"].item() == pytest.approx(expected, rel=2e-5)


def test_propagate_down_leaves_a_part_out_of_the_loss() -> None:
    extra = "propagate_down: false propagate_down: true propagate_down: false propagate_down: false"
    net = p2t.load(text=text("", extra=extra), phase="TRAIN")
    case = Drawn(1)
    expected = reference(case, code="CORNER", loc_weight=0)
    assert net(**case.bottoms())["loss"].item() == pytest.approx(expected, rel=2e-5)


def test_no_truth_at_all_is_a_loss_of_0() -> None:
    net = p2t.load(text=text(""), phase="TRAIN")
    bottoms = Drawn(0).bottoms()
    bottoms["b3"] = torch.full((1, 1, 1, 8), -1.0)
    codes = bottoms["b0"].requires_grad_()
    loss = net(**bottoms)["loss"]
    loss.backward()
    assert loss.item() == 0
    assert codes.grad is not None
    assert codes.grad.abs().max() == 0


def test_a_truth_that_is_no_box_matches_nothing() -> None:
    net = p2t.load(text=text("code_type: CENTER_SIZE"), phase="TRAIN")
    case = Drawn(0)
    case.truth[:, 3:7] = [math.nan, 0.1, 0.2, 0.3]
    assert net(**case.bottoms())["loss"].item() == 0
    case.truth[:, 3:7] = [0.8, 0.8, 0.2, 0.2]
    assert net(**case.bottoms())["loss"].item() == 0


@pytest.mark.parametrize("label", [0, CLASSES, -1])
def test_a_label_that_is_no_class_is_an_error(label: int) -> None:
    net = p2t.load(text=text(""), phase="TRAIN")
    case = Drawn(0)
    case.truth[0, 1] = label
    with pytest.raises(DataError, match=rf"must lie from 0 to 3, and not 0: \[{label}, 3\]"):
        net(**case.bottoms())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("background_label_id: 9", "background_label_id must be below num_classes, 4. Received: 9"),
        ("do_neg_mining: false", "do_neg_mining must agree with mining_type, MAX_NEGATIVE. Received: false"),
        ("share_location: false", "mining_type must be NONE where share_location is false"),
        ("bp_inside: true", "field 'bp_inside' of MultiBoxLossParameter"),
        ("nms_param { nms_threshold: 0.5 }", "field 'nms_param' of MultiBoxLossParameter"),
    ],
)
def test_fields_that_are_refused(fields: str, message: str) -> None:
    with pytest.raises(Proto2TorchError) as raised:
        p2t.load(text=text(fields), phase="TRAIN")
    assert message in str(raised.value)


def test_bottoms_that_do_not_belong_together() -> None:
    with pytest.raises(
        NetError, match=r"needs 192 codes an item, for 12 priors. Received: a bottom of shape \(3, 48\)"
    ):
        p2t.load(text=text("share_location: false mining_type: NONE"), phase="TRAIN")
