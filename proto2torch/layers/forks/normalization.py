"""BN and Normalize, each of two forks that give the name another meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless
from proto2torch.layers.geometry import check_channels, check_planes
from proto2torch.layers.variants import Variants, fields_given, understood

_INFERENCE = 1
_PSPNET = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine")
_SEGNET = ("bn_mode", "scale_filler", "shift_filler")


class SegNetBN(Layer, param="bn_param"):
    """SegNet: LEARN normalises with the batch's own mean and biased variance, whatever the phase; INFERENCE only scales
    and shifts, the statistics being folded into the two blobs.

    LEARN: y = scale (x - mean) / sqrt(variance + 1e-9) + shift over axis 1; tops 1 and 2 hold mean and variance, of
    shape (1, C, 1, 1), and give no gradient. Blobs: scale, shift, each (1, C, 1, 1), filled with 0 where no filler is
    given; each backward replaces their gradient, where others add to it.
    """

    differs = "It keeps no running statistics. The gradient of its blobs is overwritten, not accumulated."
    stored_blobs = 2
    forks = ("segnet",)
    fork_fields = understood("bn_param", *_SEGNET)
    tops_allowed = (1, 3)

    @classmethod
    def evidence(cls, message: Any) -> str:
        given = fields_given(message, "bn_param", *_SEGNET)
        several = f"{len(message.top)} tops" if len(message.top) > 1 else ""
        return given or several or ("2 blobs" if len(message.blobs) == 2 else "")

    def check(self) -> None:
        if self.p.bn_mode == _INFERENCE and self.tops > 1:
            raise self.error("INFERENCE has no statistics to give: one top", "top[1]")

    def shapes(self, *x: Shape) -> list[Shape]:
        check_planes(self, x[0])
        return [x[0], *[(1, x[0][1], 1, 1)] * (self.tops - 1)]

    def blobs(self, *x: Shape) -> list[Blob]:
        shape = (1, x[0][1], 1, 1)
        return [Blob("weight", shape, self.p.scale_filler), Blob("bias", shape, self.p.shift_filler)]

    def code(self, node: Node) -> Code:
        channels = node.inputs[0].shape[1]
        if self.p.bn_mode == _INFERENCE:
            return Code("{me}({0})", call("FoldedBN", channels))
        return Code("{me}({0})", call("BatchBN", channels, tops=unless(1, self.tops)))


class PSPNetBN(Layer, param="bn_param"):
    """PSPNet: normalises with the batch's mean and biased variance in TRAIN, with the running ones in TEST or frozen.

    y = slope (x - mean) / sqrt(variance + eps) + bias over axis 1. In TRAIN the running mean becomes momentum times
    itself plus (1 - momentum) times the batch's, and the variance likewise. Blobs, each (1, C, 1, 1): slope, bias,
    filled with 0 where no filler is given, mean, variance; the last two do not learn, none does when frozen.
    """

    differs = (
        "TEST: nn.BatchNorm2d, and its gradient; the fork's is that of a batch. TRAIN: a class of its own, for the "
        "momentum is 1 - torch's, and the running variance is the biased one."
    )
    stored_blobs = 4
    forks = ("pspnet", "yjxiong", "windows")
    fork_fields = understood("bn_param", *_PSPNET)

    @classmethod
    def evidence(cls, message: Any) -> str:
        given = fields_given(message, "bn_param", *_PSPNET)
        return given or ("more than two param" if len(message.param) > 2 else "4 blobs" * (len(message.blobs) == 4))

    def shapes(self, *x: Shape) -> list[Shape]:
        check_channels(self, x[0])
        return [x[0]]

    def blobs(self, *x: Shape) -> list[Blob]:
        shape, frozen = (1, x[0][1], 1, 1), bool(self.p.frozen)
        return [
            Blob("weight", shape, self.p.slope_filler, frozen=frozen),
            Blob("bias", shape, self.p.bias_filler, frozen=frozen),
            Blob("running_mean", shape, frozen=True),
            Blob("running_var", shape, frozen=True, initial=_ones(shape) if frozen else None),
        ]

    def code(self, node: Node) -> Code:
        channels, eps = node.inputs[0].shape[1], unless(1e-5, self.p.eps)
        if self.phase == "TRAIN" and not self.p.frozen:
            module = call("RunningBN", channels, momentum=unless(0.9, self.p.momentum), eps=eps)
            return Code("{me}({0})", module, counts=True)
        if self.net_phase == "TEST" and not self.p.frozen and len(node.inputs[0].shape) == 4:
            return Code("{me}({0})", call("nn.BatchNorm2d", channels, eps=eps))
        if self.net_phase == "TRAIN" and not self.p.frozen and node.propagate[0]:
            raise self.refuse("cannot be trained through with phase: TEST: the fork's gradient is nobody's", "phase")
        return Code("{me}({0})", call("FrozenBN", channels, eps=eps))


def _ones(shape: Shape) -> Callable[[], Any]:
    def ones() -> Any:
        import numpy as np

        return np.ones(shape, np.float32)

    return ones


class BN(Variants, type="BN", variants=(SegNetBN, PSPNetBN)):
    """Batch normalisation with a slope and an offset in one layer: SegNet's, or PSPNet's with running statistics."""

    differs = f"@segnet: {SegNetBN.differs} @pspnet: {PSPNetBN.differs}"


class SSDNormalize(Layer, param="norm_param"):
    """SSD: y = scale x / sqrt(sum of x^2 + eps), the sum over channels, or over the whole item with across_spatial.

    Blob: the scale, (C), or a scalar with channel_shared; filled with 1 where no filler is given. With a scale for each
    channel the gradient of the bottom is not the derivative: the fork leaves the scale out of the sum in it.
    """

    differs = (
        "F.normalize bounds the norm, where eps is added under the root. With a scale a channel the gradient is the "
        "fork's. At a scale of 0 the fork divides 0 by 0 for the scale's gradient; here it is the derivative."
    )
    stored_blobs = 1
    forks = ("ssd", "refinedet", "mobilenet-ssd", "yolo", "nvidia", "intel", "synopsys")
    fork_fields = understood("norm_param", "across_spatial", "scale_filler", "channel_shared", "eps")

    @classmethod
    def evidence(cls, message: Any) -> str:
        return "norm_param" if message.HasField("norm_param") else ("a blob" if message.blobs else "")

    def shapes(self, *x: Shape) -> list[Shape]:
        check_channels(self, x[0])
        return [x[0]]

    def blobs(self, *x: Shape) -> list[Blob]:
        filler = self.p.scale_filler
        if not self.p.HasField("scale_filler"):
            filler = type(filler)(type="constant", value=1)
        return [Blob("weight", () if self.p.channel_shared else (x[0][1],), filler)]

    def code(self, node: Node) -> Code:
        x = node.inputs[0].shape
        module = call(
            "Normalize",
            [] if self.p.channel_shared else [x[1]],
            across_spatial=unless(False, bool(self.p.across_spatial) and len(x) > 2),
            eps=unless(1e-10, self.p.eps),
        )
        return Code("{me}({0})", module)


class WindowsNormalize(Layer, param="normalize_param"):
    """caffe-windows: y = x / n at each position, n = sqrt(sum of x^2 + 1e-6) over channels (L2), or the sum of |x| plus
    1e-6 (L1). A second top holds n, and gives a gradient with bp_norm only."""

    differs = "F.normalize bounds the norm, where 1e-6 is added. A bottom of 2 axes makes a top of 4."
    stored_blobs = 0
    forks = ("windows",)
    fork_fields = understood("normalize_param", "normalize_type", "fix_gradient", "bp_norm")
    tops_allowed = (1, 2)

    @classmethod
    def evidence(cls, message: Any) -> str:
        return "normalize_param" if message.HasField("normalize_param") else ""

    def check(self) -> None:
        if self.p.normalize_type not in ("L1", "L2"):
            raise self.error(f"normalize_type is L2 or L1. Received: {self.p.normalize_type!r}", "normalize_type")
        if self.p.fix_gradient:
            raise self.refuse("fix_gradient changes what a GPU computes alone: leave it out", "fix_gradient")

    def shapes(self, *x: Shape) -> list[Shape]:
        if len(x[0]) not in (2, 4):
            raise self.error(f"needs a bottom of 2 or 4 axes. Received: {x[0]}", "bottom")
        n, c, *plane = (*x[0], 1, 1)[:4]
        tops: list[Shape] = [(n, c, *plane), (n, 1, *plane)]
        return tops[: self.tops]

    def code(self, node: Node) -> Code:
        x = "{0}[:, :, None, None]" if len(node.inputs[0].shape) == 2 else "{0}"
        power = 1 if self.p.normalize_type == "L1" else 2
        if self.tops == 1:
            return Code(f"{x} / channel_norm({x}, {power})")
        norm = f"channel_norm({x}, {power})" + ("" if self.p.bp_norm else ".detach()")
        return Code(f"{x} / channel_norm({x}, {power}), {norm}")


class Normalize(Variants, type="Normalize", variants=(SSDNormalize, WindowsNormalize)):
    """Divides by the norm over channels: SSD's with a learned scale, or caffe-windows' with the norm as a top."""

    differs = f"@ssd: {SSDNormalize.differs} @windows: {WindowsNormalize.differs}"
