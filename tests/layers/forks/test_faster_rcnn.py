"""The layers of py-faster-rcnn against a second computation in numpy, box by box; and a net that trains with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import proto2torch as p2t
from proto2torch.errors import NetError

Array = NDArray[np.float64]
STRIDE, SCALES, HEIGHT, WIDTH = 16, (2, 4), 5, 6
PARAM = "'feat_stride': 16\n'scales': [2, 4]"


def inputs(**shapes: tuple[int, ...]) -> str:
    lines = []
    for name, shape in shapes.items():
        dims = " ".join(f"dim: {d}" for d in shape)
        lines.append(f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}')
    return "\n".join(lines)


def python(module: str, layer: str, bottoms: str, tops: str, param: str = PARAM, more: str = "") -> str:
    text = param.replace("\n", "\\n")
    names = " ".join([*(f'bottom: "{b}"' for b in bottoms.split()), *(f'top: "{t}"' for t in tops.split())])
    return f'layer {{ name: "{layer}" type: "Python" {names} {more} python_param {{ module: "{module}" layer: "{layer}" param_str: "{text}" }} }}'


def anchors() -> Array:
    """Every anchor by place and kind: ratios 0.5, 1, 2 of a square of 16, sides rounded, times the scales."""
    rows = []
    for y in range(HEIGHT):
        for x in range(WIDTH):
            for w, h in ((23, 12), (16, 16), (11, 22)):
                for s in SCALES:
                    cx, cy = x * STRIDE + 7.5, y * STRIDE + 7.5
                    half = (w * s - 1) / 2, (h * s - 1) / 2
                    rows.append((cx - half[0], cy - half[1], cx + half[0], cy + half[1]))
    return np.array(rows)


def share(a: Array, b: Array) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return 0.0
    areas = [(x[2] - x[0] + 1) * (x[3] - x[1] + 1) for x in (a, b)]
    return float(w * h / (sum(areas) - w * h))


def code(box: Array, goal: Array) -> list[float]:
    w, h = box[2] - box[0] + 1, box[3] - box[1] + 1
    gw, gh = goal[2] - goal[0] + 1, goal[3] - goal[1] + 1
    centre = (goal[0] + gw / 2 - box[0] - w / 2) / w, (goal[1] + gh / 2 - box[1] - h / 2) / h
    return [*centre, float(np.log(gw / w)), float(np.log(gh / h))]


@pytest.mark.parametrize(("phase", "most"), [("TEST", 300), ("TRAIN", 2000)])
def test_proposals(phase: str, most: int) -> None:
    g = np.random.default_rng(3)
    scores, deltas = g.random((1, 12, HEIGHT, WIDTH)), g.normal(0, 0.4, (1, 24, HEIGHT, WIDTH))
    info = np.array([[70.0, 90.0, 1.5]])
    source = inputs(s=scores.shape, d=deltas.shape, i=(1, 3)) + python(
        "rpn.proposal_layer", "ProposalLayer", "s d i", "rois scores"
    )
    out = p2t.load(text=source, phase=phase)(s=scores, d=deltas, i=info)

    boxes = []
    for n, anchor in enumerate(anchors()):
        place, kind = divmod(n, 6)
        y, x = divmod(place, WIDTH)
        dx, dy, dw, dh = deltas[0, 4 * kind : 4 * kind + 4, y, x]
        w, h = anchor[2] - anchor[0] + 1, anchor[3] - anchor[1] + 1
        cx, cy = anchor[0] + w / 2 + dx * w, anchor[1] + h / 2 + dy * h
        w, h = w * np.exp(dw), h * np.exp(dh)
        box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
        box = np.clip(box, 0, [89, 69, 89, 69])
        if min(box[2] - box[0], box[3] - box[1]) + 1 >= 16 * 1.5:
            boxes.append((scores[0, 6 + kind, y, x], box))
    kept: list[tuple[float, Array]] = []
    for score, box in sorted(boxes, key=lambda pair: -pair[0]):
        if all(share(box, other) <= 0.7 for _, other in kept):
            kept.append((score, box))
    assert 10 < len(kept) < most
    np.testing.assert_allclose(out["rois"].numpy(), [[0, *box] for _, box in kept], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(out["scores"].numpy(), [[score] for score, _ in kept], rtol=1e-6)


def test_anchor_targets() -> None:
    truths = np.array([[3.0, 5, 40, 38, 2], [30, 20, 78, 66, 7], [200, 200, 230, 230, 1]])
    info = np.array([[72.0, 88.0, 1.0]])
    source = inputs(s=(1, 12, HEIGHT, WIDTH), g=(3, 5), i=(1, 3), d=(1, 3, 72, 88))
    source += python("rpn.anchor_target_layer", "AnchorTargetLayer", "s g i d", "labels targets inner outer")
    out = p2t.load(text=source, phase="TRAIN")(
        s=np.zeros((1, 12, HEIGHT, WIDTH)), g=truths, i=info, d=np.zeros((1, 3, 72, 88))
    )

    grid = anchors()
    inside = (grid[:, 0] >= 0) & (grid[:, 1] >= 0) & (grid[:, 2] < 88) & (grid[:, 3] < 72)
    shares = np.array([[share(a, t) for t in truths] for a in grid])
    best = np.array([shares[inside, t].max() for t in range(3)])
    labels = np.full(len(grid), -1.0)
    for n in np.flatnonzero(inside):
        if shares[n].max() < 0.3:
            labels[n] = 0
        if (shares[n] == best).any() or shares[n].max() >= 0.7:
            labels[n] = 1
    assert (labels == 1).sum() > 0 and (labels == 0).sum() == 0  # the third truth is met by none: all are its best
    as_map = labels.reshape(HEIGHT, WIDTH, 6).transpose(2, 0, 1).reshape(1, 1, -1, WIDTH)
    np.testing.assert_array_equal(out["labels"].numpy(), as_map)
    targets = np.array(
        [code(a, truths[s.argmax()]) if i else [0] * 4 for a, s, i in zip(grid, shares, inside, strict=True)]
    )
    maps = targets.reshape(HEIGHT, WIDTH, 24).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(out["targets"].numpy(), maps, rtol=1e-4, atol=1e-5)
    ones = np.repeat((labels == 1).astype(float), 4).reshape(HEIGHT, WIDTH, 24).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(out["inner"].numpy(), ones)
    np.testing.assert_allclose(out["outer"].numpy(), ones / (labels >= 0).sum(), rtol=1e-6)


def test_anchors_are_drawn_128_and_256_in_all() -> None:
    size = (1, 6, 40, 40)
    source = inputs(s=size, g=(1, 5), i=(1, 3), d=(1, 3, 640, 640))
    source += python(
        "rpn.anchor_target_layer", "AnchorTargetLayer", "s g i d", "labels targets inner outer", "'scales': [1]"
    )
    net = p2t.load(text=source, phase="TRAIN")
    given = {
        "s": np.zeros(size),
        "g": np.array([[0.0, 0, 639, 639, 1]]),
        "i": [[640.0, 640.0, 1.0]],
        "d": np.zeros((1, 3, 640, 640)),
    }
    torch.manual_seed(1)
    first, second = (net(**given)["labels"].numpy() for _ in range(2))
    for labels in (first, second):
        assert ((labels == 1).sum(), (labels == 0).sum()) == (128, 128)
    assert (first != second).any()


def test_no_truth_leaves_only_background() -> None:
    source = inputs(s=(1, 12, HEIGHT, WIDTH), g=(0, 5), i=(1, 3), d=(1, 3, 72, 88))
    source += python("rpn.anchor_target_layer", "AnchorTargetLayer", "s g i d", "labels targets inner outer")
    out = p2t.load(text=source, phase="TRAIN")(
        s=np.zeros((1, 12, HEIGHT, WIDTH)), g=np.zeros((0, 5)), i=[[72.0, 88.0, 1.0]], d=np.zeros((1, 3, 72, 88))
    )
    assert set(out["labels"].unique().tolist()) == {-1.0, 0.0}
    assert not out["targets"].any() and not out["inner"].any()


def test_proposal_targets() -> None:
    truths = np.array([[10.0, 10, 50, 50, 3], [60, 20, 90, 80, 1]])
    rois = np.array([[0, 12.0, 8, 49, 52], [0, 0, 0, 9, 9], [0, 58, 25, 92, 78], [0, 30, 30, 70, 70]])
    source = inputs(r=(4, 5), g=(2, 5)) + python(
        "rpn.proposal_target_layer", "ProposalTargetLayer", "r g", "rois labels targets inner outer", "'num_classes': 4"
    )
    out = p2t.load(text=source, phase="TRAIN")(r=rois, g=truths)
    rows = {tuple(row[1:]): i for i, row in enumerate(out["rois"].numpy().round(3).tolist())}
    assert len(rows) == 6 == len(out["labels"])  # the truths are regions too
    stds = np.array([0.1, 0.1, 0.2, 0.2])
    for box in [*rois[:, 1:], *truths[:, :4]]:
        at = rows[tuple(box.tolist())]
        shares = [share(box, truth) for truth in truths]
        label = int(truths[int(np.argmax(shares)), 4]) if max(shares) >= 0.5 else 0
        assert out["labels"][at] == label
        expected = np.zeros((4, 4))
        if label:
            expected[label] = np.array(code(box, truths[int(np.argmax(shares))])) / stds
        np.testing.assert_allclose(out["targets"][at].numpy(), expected.ravel(), rtol=1e-4, atol=1e-5)
        assert (
            out["inner"][at].numpy().tolist() == np.repeat(np.arange(4) == label, 4).astype(float).tolist() or not label
        )
        np.testing.assert_array_equal(out["inner"][at].numpy(), out["outer"][at].numpy())


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("'feat_stride': 0", "feat_stride takes a int. Received: 0"),
        ("'feat_stride': __import__('os')", "expected numbers, strings or lists of them"),
        ("'stride': 16", "param_str knows feat_stride, scales. Received: 'stride'"),
        ("'scales': []", "scales must be numbers greater than zero"),
        ("nonsense", "expected name: value. Received: 'nonsense'"),
    ],
)
def test_a_param_str_that_is_wrong(param: str, message: str) -> None:
    source = inputs(s=(1, 12, 5, 6), d=(1, 24, 5, 6), i=(1, 3))
    with pytest.raises(NetError, match=message.replace("(", ".")):
        p2t.load(text=source + python("rpn.proposal_layer", "ProposalLayer", "s d i", "rois", param))


def convolution(name: str, bottom: str, outputs: int, kernel: int = 1, more: str = "") -> str:
    filler = 'weight_filler { type: "gaussian" std: 0.01 }'
    fields = f"num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} {filler} {more}"
    return f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ {fields} }} }}\n'


def loss(kind: str, name: str, bottoms: str, fields: str = "") -> str:
    names = " ".join(f'bottom: "{b}"' for b in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {names} top: "{name}" {fields} }}\n'


TRAIN = "\n".join(
    [
        inputs(data=(1, 3, 96, 112), im_info=(1, 3), gt_boxes=(2, 5)),
        convolution("conv", "data", 8, 3, "stride: 16"),
        convolution("rpn_cls_score", "conv", 12),
        convolution("rpn_bbox_pred", "conv", 24),
        'layer { name: "r" type: "Reshape" bottom: "rpn_cls_score" top: "score2" reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }',
        python(
            "rpn.anchor_target_layer",
            "AnchorTargetLayer",
            "rpn_cls_score gt_boxes im_info data",
            "rpn_labels rpn_targets rpn_inner rpn_outer",
        ),
        loss(
            "SoftmaxWithLoss",
            "rpn_loss_cls",
            "score2 rpn_labels",
            "propagate_down: true propagate_down: false loss_param { ignore_label: -1 normalize: true }",
        ),
        loss(
            "SmoothL1Loss",
            "rpn_loss_bbox",
            "rpn_bbox_pred rpn_targets rpn_inner rpn_outer",
            "smooth_l1_loss_param { sigma: 3 }",
        ),
        'layer { name: "p" type: "Softmax" bottom: "score2" top: "prob2" }',
        'layer { name: "q" type: "Reshape" bottom: "prob2" top: "prob" reshape_param { shape { dim: 0 dim: 12 dim: -1 dim: 0 } } }',
        python("rpn.proposal_layer", "ProposalLayer", "prob rpn_bbox_pred im_info", "rpn_rois"),
        python(
            "rpn.proposal_target_layer",
            "ProposalTargetLayer",
            "rpn_rois gt_boxes",
            "rois labels bbox_targets inner outer",
            "'num_classes': 3",
        ),
        'layer { name: "pool" type: "ROIPooling" bottom: "conv" bottom: "rois" top: "pool" roi_pooling_param { pooled_w: 2 pooled_h: 2 spatial_scale: 0.0625 } }',
        'layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }',
        'layer { name: "cls_score" type: "InnerProduct" bottom: "fc" top: "cls_score" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }',
        'layer { name: "bbox_pred" type: "InnerProduct" bottom: "fc" top: "bbox_pred" inner_product_param { num_output: 12 weight_filler { type: "xavier" } } }',
        loss("SoftmaxWithLoss", "loss_cls", "cls_score labels", "propagate_down: true propagate_down: false"),
        loss("SmoothL1Loss", "loss_bbox", "bbox_pred bbox_targets inner outer"),
    ]
)


def batch() -> dict[str, Array]:
    g = np.random.default_rng(0)
    boxes = np.array([[5.0, 10, 60, 70, 1], [50, 30, 100, 90, 2]])
    return {"data": g.normal(size=(1, 3, 96, 112)), "im_info": np.array([[96.0, 112.0, 1.0]]), "gt_boxes": boxes}


def test_a_train_net_learns() -> None:
    net = p2t.load(text=TRAIN, phase="TRAIN")
    assert "layer" not in net.source or "PythonLayer" not in net.source
    out = net(**batch())
    net.loss.backward()
    assert set(out) >= {"loss_bbox", "loss_cls", "rpn_loss_bbox", "rpn_loss_cls"}
    for name in ("conv", "rpn_cls_score", "rpn_bbox_pred", "fc", "cls_score", "bbox_pred"):
        grad = net.params[name][0].grad
        assert grad is not None and grad.isfinite().all() and grad.any(), name


def test_a_solver_takes_steps(tmp_path: Path) -> None:
    (tmp_path / "train.prototxt").write_text(TRAIN)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        f'train_net: "{tmp_path}/train.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" random_seed: 1 snapshot_prefix: "{tmp_path}/s"'
    )
    feeds = {name: [{name: value}] for name, value in batch().items()}
    training = p2t.Solver(str(solver), device="cpu", data=feeds)
    training.step(1)
    first = float(training.loss)
    training.step(30)
    assert float(training.loss) < 0.7 * first
