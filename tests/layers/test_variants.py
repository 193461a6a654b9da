"""Each rule that tells the meanings of one type name apart, and what is said where none does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.errors import NetError, UnsupportedError, UsageError
from proto2torch.layers import REGISTRY
from proto2torch.layers.variants import Variants
from proto2torch.prototxt.read import read_net

DATA = Path(__file__).parents[1] / "golden" / "data" / "layers_forks"


def chosen(kind: str, fields: str = "", bottoms: int = 1, tops: int = 1, fork: str = "") -> str:
    """The name of the class that a layer means."""
    names = [f'bottom: "b{i}"' for i in range(bottoms)] + [f'top: "t{i}"' for i in range(tops)]
    (layer,) = read_net(text=f'layer {{ name: "l" type: "{kind}" {" ".join(names)} {fields} }}').layers
    return REGISTRY[kind].chosen(layer, fork).__name__


RULES = [
    ("Upsample", "", 2, 1, "SegNetUpsample"),
    ("Upsample", "", 1, 1, "YoloUpsample"),
    ("BN", "bn_param { bn_mode: INFERENCE }", 1, 1, "SegNetBN"),
    ("BN", "bn_param { scale_filler { } }", 1, 1, "SegNetBN"),
    ("BN", "bn_param { shift_filler { } }", 1, 1, "SegNetBN"),
    ("BN", "", 1, 3, "SegNetBN"),
    ("BN", "blobs { } blobs { }", 1, 1, "SegNetBN"),
    *(
        ("BN", f"bn_param {{ {field} }}", 1, 1, "PSPNetBN")
        for field in (
            "slope_filler { }",
            "bias_filler { }",
            "momentum: 0.9",
            "eps: 0.1",
            "frozen: true",
            "engine: CAFFE",
        )
    ),
    ("BN", "param { } param { } param { }", 1, 1, "PSPNetBN"),
    ("BN", "blobs { } blobs { } blobs { } blobs { }", 1, 1, "PSPNetBN"),
    ("Normalize", "norm_param { }", 1, 1, "SSDNormalize"),
    ("Normalize", "blobs { }", 1, 1, "SSDNormalize"),
    ("Normalize", "normalize_param { }", 1, 1, "WindowsNormalize"),
    ("SmoothL1Loss", "", 2, 1, "WeighedSmoothL1Loss"),
    ("SmoothL1Loss", "", 4, 1, "WeighedSmoothL1Loss"),
    ("SmoothL1Loss", "smooth_l1_loss_param { sigma: 3 }", 2, 1, "WeighedSmoothL1Loss"),
    ("SmoothL1Loss", "", 3, 1, "RFCNSmoothL1Loss"),
    ("SmoothL1Loss", "", 2, 2, "RFCNSmoothL1Loss"),
    ("SmoothL1Loss", "loss_param { normalization: FULL }", 2, 1, "RFCNSmoothL1Loss"),
    ("SmoothL1Loss", "smoothl1_param { turn_point: 2 }", 2, 1, "TurningSmoothL1Loss"),
    ("CenterLoss", 'center_loss_param { distance_type: "L2" }', 2, 1, "WindowsCenterLoss"),
    ("CenterLoss", "center_loss_param { num_output: 3 }", 2, 1, "FaceCenterLoss"),
    *(
        ("Proposal", f"proposal_param {{ {field} }}", 3, 1, "WindowsProposal")
        for field in ("ratio: 1", "scale: 24", "base_size: 8", "post_nms_topn: 9", "nms_thresh: 0.5", "min_size: 3")
    ),
    *(
        ("Proposal", f"proposal_param {{ {field} }}", 3, 1, "SynopsysProposal")
        for field in ("anchor_ratio: 1", "anchor_scale: 1", "anchor_base_size: 8", "max_rois: 9", "rpn_nms_thresh: 0.5")
    ),
    ("SoftmaxWithLoss", "", 2, 1, "SoftmaxWithLoss"),
    ("SoftmaxWithLoss", "loss_param { weight_by_label_freqs: true }", 2, 1, "SegNetSoftmaxWithLoss"),
    ("SoftmaxWithLoss", "loss_param { class_weighting: 1 }", 2, 1, "SegNetSoftmaxWithLoss"),
    ("NormalizedSigmoidCrossEntropyLoss", "", 3, 1, "IndicatedSigmoidLoss"),
    ("NormalizedSigmoidCrossEntropyLoss", "", 2, 1, "BalancedSigmoidLoss"),
    ("ConvolutionDepthwise", "", 1, 1, "ChannelwiseConvolution"),
]


@pytest.mark.parametrize(("kind", "fields", "bottoms", "tops", "expected"), RULES)
def test_what_is_present_decides(kind: str, fields: str, bottoms: int, tops: int, expected: str) -> None:
    assert chosen(kind, fields, bottoms, tops) == expected


def test_every_variant_has_a_rule_or_is_named() -> None:
    variants = {v.__name__ for kind in REGISTRY.values() if issubclass(kind, Variants) for v in kind.variants}
    assert variants - {rule[-1] for rule in RULES} == {"SynopsysDepthwise"}


@pytest.mark.parametrize(
    ("kind", "bottoms", "fork", "expected"),
    [
        ("BN", 1, "segnet", "SegNetBN"),
        ("BN", 1, "pspnet", "PSPNetBN"),
        ("BN", 1, "yjxiong", "PSPNetBN"),
        ("Normalize", 1, "ssd", "SSDNormalize"),
        ("Normalize", 1, "windows", "WindowsNormalize"),
        ("CenterLoss", 2, "windows", "WindowsCenterLoss"),
        ("Proposal", 3, "synopsys", "SynopsysProposal"),
        ("SmoothL1Loss", 2, "rfcn", "RFCNSmoothL1Loss"),
        ("SoftmaxWithLoss", 2, "segnet", "SegNetSoftmaxWithLoss"),
        ("ConvolutionDepthwise", 1, "synopsys", "SynopsysDepthwise"),
        ("Upsample", 1, "ssd", "YoloUpsample"),  # a fork without the type decides nothing
    ],
)
def test_a_fork_that_is_named_decides(kind: str, bottoms: int, fork: str, expected: str) -> None:
    assert chosen(kind, "", bottoms, fork=fork) == expected


@pytest.mark.parametrize("kind", ["BN", "Normalize", "Proposal"])
def test_what_nothing_decides_lists_the_candidates(kind: str) -> None:
    with pytest.raises(UnsupportedError) as raised:
        chosen(kind)
    variants = REGISTRY[kind].variants  # type: ignore[attr-defined]
    for variant in variants:
        assert "/".join(variant.forks) in raised.value.message
        assert f"--fork {variant.forks[0]}" in str(raised.value.hint)
    assert raised.value.message.endswith("Received: no field that decides it")
    assert raised.value.line == 1


def test_fields_that_speak_for_several_are_refused() -> None:
    with pytest.raises(UnsupportedError) as raised:
        chosen("BN", "bn_param { bn_mode: LEARN eps: 0.1 }")
    assert raised.value.message.endswith("Received: bn_mode: segnet; eps: pspnet/yjxiong/windows")


INPUT = 'layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 2 dim: 3 dim: 2 dim: 2 } } }\n'
BARE = INPUT + 'layer { name: "l" type: "%s" bottom: "b" top: "t" }'


def test_load_takes_the_fork() -> None:
    net = p2t.load(text=BARE % "BN", fork="pspnet")
    assert len(net.params["l"]) == 4
    assert len(p2t.load(text=BARE % "BN", fork="segnet").params["l"]) == 2


def test_a_command_takes_the_fork(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(BARE % "BN")
    runner = CliRunner()
    open_ = runner.invoke(main, ["export", str(path)])
    assert open_.exit_code == 2 and "--fork segnet or --fork pspnet says which" in open_.stderr
    said = runner.invoke(main, ["export", str(path), "--fork", "pspnet"])
    assert said.exit_code == 0 and "nn.BatchNorm2d(3)" in said.stdout
    again = runner.invoke(main, ["export", str(path)])
    assert again.exit_code == 2  # the option holds for its command alone
    wrong = runner.invoke(main, ["check", str(path), "--fork", "pspnett"])
    assert wrong.exit_code == 2 and "did you mean 'pspnet'?" in wrong.stderr


def test_a_solver_takes_the_fork(tmp_path: Path) -> None:
    loss = 'layer { name: "e" type: "EuclideanLoss" bottom: "t" bottom: "b" top: "e" }'
    (tmp_path / "net.prototxt").write_text(BARE % "BN" + loss)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "{tmp_path}/s"')
    with pytest.raises(UnsupportedError, match="'BN' is another layer"):
        p2t.Solver(str(solver), device="cpu")
    assert len(p2t.Solver(str(solver), device="cpu", fork="pspnet").net.params["l"]) == 4


def test_a_field_of_another_fork_than_the_one_named_is_refused() -> None:
    source = INPUT + 'layer { name: "l" type: "BN" bottom: "b" top: "t" bn_param { eps: 0.1 } }'
    with pytest.raises(UnsupportedError, match="field 'eps' of BNParameter is not Caffe's but of its forks pspnet"):
        p2t.load(text=source, fork="segnet")


def test_a_fork_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="fork 'segnett'") as raised:
        p2t.load(text=BARE % "BN", fork="segnett")
    assert "segnet" in str(raised.value.hint)


@pytest.mark.parametrize(("kind", "blobs"), [("BN", 2), ("BN", 4), ("Normalize", 1), ("Normalize", 0)])
def test_the_blobs_of_a_weight_file_decide(kind: str, blobs: int, tmp_path: Path) -> None:
    shape = (1,) if kind == "Normalize" else (1, 3, 1, 1)
    path = str(tmp_path / "w.caffemodel")
    arrays = [np.full(shape, 0.5 + i, np.float32) for i in range(blobs)]
    fork = {2: "segnet", 4: "pspnet", 1: "ssd", 0: "windows"}[blobs]
    source = BARE % kind
    whole = p2t.load(text=source, fork=fork)
    if blobs:
        whole.load_weights({"l": [a.reshape(p.shape) for a, p in zip(arrays, whole.params["l"], strict=True)]})
    whole.save(path)
    told = p2t.load(text=source, weights=path)
    assert len(told.params.get("l", [])) == blobs
    x = torch.linspace(-1, 1, 24).view(2, 3, 2, 2)
    assert torch.equal(told(x)["t"], whole(x)["t"])


def test_weights_of_neither_leave_it_open(tmp_path: Path) -> None:
    path = str(tmp_path / "w.caffemodel")
    other = 'layer { name: "l" type: "Convolution" bottom: "b" top: "t" convolution_param { num_output: 1 kernel_size: 1 bias_term: false } }'
    p2t.load(text=INPUT + other).save(path)
    with pytest.raises(UnsupportedError, match="'BN' is another layer in each of"):
        p2t.load(text=BARE % "BN", weights=path)


def test_class_weights_must_be_given_for_each_class() -> None:
    labels = 'layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 2 dim: 1 dim: 2 dim: 2 } } }'
    source = f'{INPUT}{labels}\nlayer {{ type: "SoftmaxWithLoss" bottom: "b" bottom: "y" loss_param {{ weight_by_label_freqs: true class_weighting: 1 }} }}'
    with pytest.raises(NetError, match=r"class_weighting must be given for each of 3 classes\. Received: 1 times"):
        p2t.load(text=source)
