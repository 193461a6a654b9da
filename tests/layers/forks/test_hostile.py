"""What the layers on regions and truths do with what no net should give them, and what is refused before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.errors import DataError, NetError, UnsupportedError

from ..nets import Case

NAN, INF = float("nan"), float("inf")


def net(kind: str, fields: str, *shapes: tuple[int, ...], tops: int = 1, phase: str = "TRAIN") -> p2t.net.Net:
    return Case(kind, fields, shapes, tops=tops, phase=phase).net()


POOL = "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 1 }"
PSROI = "psroi_pooling_param { spatial_scale: 1 output_dim: 1 group_size: 2 }"
X = torch.arange(32.0).view(1, 4, 2, 4) + 1


@pytest.mark.parametrize(("kind", "fields"), [("ROIPooling", POOL), ("PSROIPooling", PSROI)])
def test_regions_that_cannot_be(kind: str, fields: str) -> None:
    built = net(kind, fields, (1, 4, 2, 4), (1, 5))

    def pooled(*roi: float) -> torch.Tensor:
        top: torch.Tensor = built(b0=X, b1=torch.tensor([roi]))["t0"]
        return top

    outside = pooled(0, 100, 100, 120, 120)
    assert not outside.any()  # every bin is empty
    same = pooled(0, NAN, 0, NAN, 1)
    assert torch.equal(same, pooled(0, 0, 0, 0, 1))  # a coordinate that is no number counts as 0
    assert pooled(0, -INF, -INF, INF, INF).isfinite().all()
    assert pooled(0, 3, 1, 1, 0).isfinite().all()
    assert built(b0=X, b1=torch.zeros(0, 5))["t0"].shape[0] == 0


@pytest.mark.parametrize(("kind", "fields"), [("ROIPooling", POOL), ("PSROIPooling", PSROI)])
@pytest.mark.parametrize("image", [1.0, -1.0])
def test_a_region_of_an_image_that_is_not_there_is_an_error(kind: str, fields: str, image: float) -> None:
    with pytest.raises(DataError, match="index"):
        net(kind, fields, (1, 4, 2, 4), (1, 5))(b0=X, b1=torch.tensor([[image, 0, 0, 1, 1]]))


def test_a_region_turned_over_gives_no_gradient() -> None:
    x = X.clone().requires_grad_()
    y = net("ROIPooling", POOL, (1, 4, 2, 4), (2, 5))(b0=x, b1=torch.tensor([[0.0, 3, 1, 1, 0], [0, 1, 0, 1, 0]]))["t0"]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.nonzero()[:, 2:].unique(dim=0).tolist() == [[0, 1]]  # the second region's one pixel


BIASES = " ".join(f"biases: {value}" for value in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5))


@pytest.mark.parametrize(
    ("kind", "fields", "channels"),
    [
        ("RegionLoss", f"region_loss_param {{ num_class: 2 {BIASES} }}", 35),
        *(
            ("Yolov3", f"yolov3_param {{ num_class: 2 num: 2 mask: 0 mask: 1 iou_loss: {loss} {BIASES} }}", 14)
            for loss in ("MSE", "IOU", "GIOU", "DIOU", "CIOU")
        ),
    ],
)
def test_truths_outside_count_for_no_cell(kind: str, fields: str, channels: int) -> None:
    built = net(kind, fields, (1, channels, 3, 3), (1, 1, 300, 5))
    x = torch.randn(1, channels, 3, 3, generator=torch.Generator().manual_seed(0))
    truth = torch.zeros(1, 1, 300, 5)
    truth[0, 0, 0] = torch.tensor([1, 0.5, 0.5, 0.3, 0.2])
    alone = built(b0=x, b1=truth)["t0"].item()
    for strange in ([0, 1.5, 0.5, 1e-3, 1e-3], [0, -2, 0.5, 1e-3, 1e-3], [0, NAN, NAN, 1e-3, 1e-3]):
        truth[0, 0, 1] = torch.tensor(strange)
        x.requires_grad_().grad = None
        loss = built(b0=x, b1=truth)["t0"]
        loss.backward()
        assert x.grad is not None and x.grad.isfinite().all()
        assert loss.item() == pytest.approx(alone, rel=1e-5)
        x = x.detach()


def test_no_truth_at_all() -> None:
    built = net(
        "Yolov3",
        f"yolov3_param {{ num_class: 2 num: 1 mask: 0 iou_loss: CIOU {BIASES} }}",
        (1, 7, 2, 2),
        (1, 1, 300, 5),
    )
    loss = built(b0=torch.zeros(1, 7, 2, 2), b1=torch.zeros(1, 1, 300, 5))["t0"]
    assert loss.item() == pytest.approx(4 * 0.25)  # every objectness is 1/2, and is to be 0


def test_nothing_found_by_yolo() -> None:
    fields = f"yolo_detection_output_param {{ num_classes: 2 num_box: 5 confidence_threshold: 2 {BIASES} }}"
    rows = net("YoloDetectionOutput", fields, (3, 35, 2, 2), phase="TEST")(b0=torch.zeros(3, 35, 2, 2))
    assert rows["t0"].tolist() == [[[[i, *[-1.0] * 6] for i in range(3)]]]


def test_detections_and_truths_of_nothing() -> None:
    built = net(
        "DetectionEvaluate", "detection_evaluate_param { num_classes: 3 }", (1, 1, 1, 7), (1, 1, 1, 8), phase="TEST"
    )
    rows = built(b0=-torch.ones(1, 1, 1, 7), b1=-torch.ones(1, 1, 1, 8))
    assert rows["t0"].tolist() == [[[[-1, 1, 0, -1, -1], [-1, 2, 0, -1, -1]]]]


def test_scores_that_are_no_numbers_propose_nothing_better() -> None:
    scores, deltas = torch.full((1, 2, 1, 2), NAN), torch.zeros(1, 4, 1, 2)
    scores[0, 1, 0, 1] = 0.5
    fields = "proposal_param { ratio: 1 scale: 8 base_size: 8 min_size: 2 post_nms_topn: 1 }"
    out = net("Proposal", fields, (1, 2, 1, 2), (1, 4, 1, 2), (1, 4), tops=2, phase="TEST")(
        b0=scores, b1=deltas, b2=[[40.0, 40.0, 1.0, 1.0]]
    )
    assert out["t1"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("kind", "fields", "shapes", "error", "message"),
    [
        ("Permute", "permute_param { order: 0 order: 0 }", [(1, 2)], NetError, "each axis may stand in order once"),
        ("Permute", "permute_param { order: 2 }", [(1, 2)], NetError, "order names the 2 axes"),
        ("Reorg", "reorg_param { stride: 2 }", [(1, 3, 2, 2)], NetError, "must divide the channels. Received: 3"),
        ("Reorg", "reorg_param { stride: 2 }", [(1, 4, 3, 2)], NetError, "must divide height and width"),
        ("ShuffleChannel", "shuffle_channel_param { group: 2 }", [(1, 3, 2, 2)], NetError, "group 2 must divide"),
        ("Axpy", "", [(1, 3), (1, 3, 2, 2), (1, 3, 2, 1)], NetError, "bottoms 1 and 2 must be planes of one shape"),
        ("Axpy", "", [(1, 2), (1, 3, 2, 2), (1, 3, 2, 2)], NetError, "needs a number for each plane"),
        ("Interp", "", [(1, 3, 2, 2)], NetError, "needs height and width, zoom_factor or shrink_factor"),
        ("Interp", "interp_param { pad_beg: 1 zoom_factor: 2 }", [(1, 3, 2, 2)], NetError, "must be 0 or below"),
        (
            "Upsample",
            "upsample_param { scale: 3 pad_out_h: true }",
            [(1, 1, 2, 2)] * 2,
            NetError,
            "pad_out_h needs a scale of 2",
        ),
        (
            "Upsample",
            "upsample_param { scale: 2 scale_h: 2 scale_w: 2 }",
            [(1, 1, 2, 2)] * 2,
            NetError,
            "give either scale",
        ),
        (
            "SmoothL1Loss",
            "smooth_l1_loss_param { sigma: 0 }",
            [(1, 2)] * 2,
            NetError,
            "sigma must be greater than zero",
        ),
        (
            "FocalLoss",
            "focal_loss_param { alpha: 0.25 }",
            [(2, 3), (2,)],
            UnsupportedError,
            "alpha takes the place of 1",
        ),
        (
            "PSROIPooling",
            PSROI,
            [(1, 3, 2, 2), (1, 5)],
            NetError,
            "needs output_dim 1 times 2 times 2 channels, 4. Received: 3",
        ),
        ("ROIPooling", POOL, [(1, 3, 2, 2), (1, 4)], NetError, "regions have 5 numbers each"),
        ("BN", "bn_param { bn_mode: INFERENCE }", [(1, 3, 2, 2)], None, ""),
        (
            "RegionLoss",
            "region_loss_param { num: 5 biases: 1 biases: 2 }",
            [(1, 125, 2, 2), (1, 300, 5)],
            NetError,
            "biases in pairs",
        ),
        (
            "Yolov3",
            f"yolov3_param {{ num: 2 mask: 0 {BIASES} }}",
            [(1, 50, 2, 2), (1, 300, 5)],
            NetError,
            "mask names num anchors, 2",
        ),
        (
            "Yolov3",
            f"yolov3_param {{ num: 1 mask: 9 {BIASES} }}",
            [(1, 25, 2, 2), (1, 300, 5)],
            NetError,
            "mask names each of 5 anchors",
        ),
        (
            "Yolov3",
            f"yolov3_param {{ num: 1 mask: 1 {BIASES} }}",
            [(1, 25, 2, 2), (1, 30, 5)],
            NetError,
            "needs 300 rows of 5 numbers",
        ),
        ("CenterLoss", "center_loss_param { }", [(2, 3), (2,)], NetError, "needs num_output greater than zero"),
    ],
)
def test_what_is_refused(
    kind: str, fields: str, shapes: list[tuple[int, ...]], error: type[Exception] | None, message: str
) -> None:
    if error is None:
        assert net(kind, fields, *shapes).params["layer"][0].shape == (1, 3, 1, 1)
        return
    with pytest.raises(error) as raised:
        net(kind, fields, *shapes)
    assert message in str(raised.value)


def test_a_mask_that_points_outside_is_an_error() -> None:
    built = net("Upsample", "upsample_param { scale: 2 }", (1, 1, 1, 1), (1, 1, 1, 1))
    with pytest.raises((DataError, NetError), match="index"):
        built(b0=np.ones((1, 1, 1, 1)), b1=np.full((1, 1, 1, 1), 4.0))
