"""DetectionOutput against a second computation, box by box, and on input that nobody means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.errors import NetError, Proto2TorchError

from ..nets import Case
from .boxes import decode, drawn, overlap

CLASSES, PRIORS = 4, 30


def text(fields: str, locations: int = 1, images: int = 2, priors: int = PRIORS) -> str:
    shapes = [(images, 4 * priors * locations), (images, priors * CLASSES), (1, 2, 4 * priors)]
    return Case("DetectionOutput", f"detection_output_param {{ num_classes: {CLASSES} {fields} }}", tuple(shapes)).text


def bottoms(seed: int, locations: int = 1, images: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (images, PRIORS, locations, 4), scores (images, PRIORS, CLASSES), priors and variances (2, PRIORS, 4)."""
    generator = np.random.default_rng(seed)
    codes = generator.normal(0, 0.6, (images, PRIORS, locations, 4)).astype(np.float32)
    scores = generator.dirichlet(np.ones(CLASSES), (images, PRIORS)).astype(np.float32)
    variances = np.tile(np.float32([0.1, 0.1, 0.2, 0.2]), (PRIORS, 1))
    return codes, scores, np.stack([drawn(generator, PRIORS), variances])


def run(fields: str, codes: np.ndarray, scores: np.ndarray, priors: np.ndarray) -> np.ndarray:
    images, _, locations, _ = codes.shape
    net = p2t.load(text=text(fields, locations, images))
    out = net(
        b0=torch.from_numpy(codes.reshape(images, -1)),
        b1=torch.from_numpy(scores.reshape(images, -1)),
        b2=torch.from_numpy(priors.reshape(1, 2, -1)),
    )["t0"]
    assert out.shape[:2] == (1, 1)
    return np.asarray(out[0, 0])


def reference(codes: np.ndarray, scores: np.ndarray, priors: np.ndarray, **o: Any) -> np.ndarray:
    """The rows by SSD's rules."""
    rows: list[list[float]] = []
    for image in range(len(codes)):
        found: list[list[float]] = []
        for label in range(CLASSES):
            if label == o.get("background", 0):
                continue
            at = label % codes.shape[2]
            boxes = [decode(codes[image, p, at], priors[0, p], priors[1, p], o["code"]) for p in range(PRIORS)]
            likely = [p for p in range(PRIORS) if scores[image, p, label] > o.get("threshold", -math.inf)]
            likely.sort(key=lambda p: -scores[image, p, label])
            kept: list[int] = []
            most = o.get("overlap", 0.3)
            for p in likely[: o.get("top_k")]:
                if all(overlap(boxes[p], boxes[q]) <= most for q in kept):
                    kept.append(p)
                    if o.get("eta", 1) < 1 and most > 0.5:
                        most *= o["eta"]
            found += [[image, label, scores[image, p, label], *boxes[p]] for p in kept]
        if o.get("keep") is not None and len(found) > o["keep"]:
            best = sorted(found, key=lambda row: -row[2])[: o["keep"]]
            found = sorted(best, key=lambda row: (row[1], -row[2]))
        rows += found
    return np.array(rows, np.float32)


OPTIONS = {
    "plain": ("", {}),
    "threshold": ("confidence_threshold: 0.3", {"threshold": 0.3}),
    "overlap": ("nms_param { nms_threshold: 0.6 }", {"overlap": 0.6}),
    "top_k": ("nms_param { top_k: 7 }", {"top_k": 7}),
    "keep": ("keep_top_k: 9", {"keep": 9}),
    "eta": ("nms_param { nms_threshold: 0.9 eta: 0.8 }", {"overlap": 0.9, "eta": 0.8}),
    "background": ("background_label_id: 2", {"background": 2}),
    "no background": ("background_label_id: -1", {"background": -1}),
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
@pytest.mark.parametrize("locations", [1, CLASSES])
def test_the_rows_are_those_of_the_rules(code: str, option: str, locations: int) -> None:
    fields, meant = OPTIONS[option]
    fields += f" code_type: {code} share_location: {str(locations == 1).lower()}"
    for seed in range(3):
        given = bottoms(seed, locations)
        rows, expected = run(fields, *given), reference(*given, code=code, **meant)
        assert rows.shape == expected.shape
        assert np.array_equal(rows[:, :3], expected[:, :3])
        assert np.allclose(rows, expected, rtol=1e-5, atol=1e-6)


def test_variances_that_are_in_the_codes_already() -> None:
    codes, scores, priors = bottoms(0)
    rows = run("code_type: CENTER_SIZE variance_encoded_in_target: true", codes, scores, priors)
    priors[1] = 1
    assert np.allclose(rows, reference(codes, scores, priors, code="CENTER_SIZE"), rtol=1e-5, atol=1e-6)


def test_nothing_found_is_a_row_of_minus_1_an_image() -> None:
    rows = run("confidence_threshold: 2", *bottoms(0, images=3))
    assert rows.tolist() == [[image, *[-1.0] * 6] for image in range(3)]


def test_an_image_without_detections_beside_one_that_has_some_has_no_row() -> None:
    codes, scores, priors = bottoms(0)
    scores[0] = 0
    rows = run("confidence_threshold: 0.3", codes, scores, priors)
    assert set(rows[:, 0]) == {1.0}


def test_a_box_that_is_no_number_overlaps_nothing() -> None:
    codes, scores, priors = bottoms(0, images=1)
    codes[0, 4] = math.nan
    scores[0, 4] = 1
    rows = run("", codes, scores, priors)
    broken = np.isnan(rows[:, 3])
    assert broken.sum() == CLASSES - 1
    scores[0, 4] = -1
    codes[0, 4] = 0
    priors[0, 4] = [2, 2, 3, 3]
    known = run("", codes, scores, priors)
    assert np.array_equal(rows[~broken], known[known[:, 2] >= 0])


def test_a_score_that_is_no_number_is_no_detection() -> None:
    codes, scores, priors = bottoms(0, images=1)
    scores[...] = math.nan
    assert run("", codes, scores, priors).tolist() == [[0.0, *[-1.0] * 6]]


def test_inverted_boxes_are_kept_as_they_are() -> None:
    codes, scores, priors = bottoms(0, images=1)
    priors[0] = priors[0][:, [2, 3, 0, 1]]
    rows = run("code_type: CORNER", codes * 0, scores, priors)
    assert len(rows) == PRIORS * (CLASSES - 1)
    assert np.array_equal(rows, reference(codes * 0, scores, priors, code="CORNER"))


def test_no_priors_are_no_detections() -> None:
    net = p2t.load(text=text("", images=1, priors=1))
    out = net(b0=torch.zeros(1, 0), b1=torch.zeros(1, 0), b2=torch.zeros(1, 2, 0))["t0"]
    assert out.tolist() == [[[[0.0, *[-1.0] * 6]]]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("nms_param { eta: 0 }", "eta must lie in (0, 1]. Received: 0"),
        ("nms_param { nms_threshold: -1 }", "nms_threshold must not be negative. Received: -1"),
        ("objectness_score: 0.1", "field 'objectness_score' of DetectionOutputParameter"),
    ],
)
def test_fields_that_are_refused(fields: str, message: str) -> None:
    with pytest.raises(Proto2TorchError) as raised:
        p2t.load(text=text(fields))
    assert message in str(raised.value)


def test_bottoms_that_do_not_belong_together() -> None:
    with pytest.raises(
        NetError, match=r"needs 480 codes an item, for 30 priors. Received: a bottom of shape \(2, 120\)"
    ):
        p2t.load(text=text("share_location: false"))
