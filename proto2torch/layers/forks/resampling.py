"""Upsample, Interp and Resize: planes of another size."""

from __future__ import annotations

from typing import Any

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, call
from proto2torch.layers.geometry import check_planes
from proto2torch.layers.variants import Variants, understood


class SegNetUpsample(Layer, param="upsample_param"):
    """SegNet: puts each value where its MAX Pooling found it, bottom 1 being that pooling's mask; 0 elsewhere.

    The top has extents upsample_h and upsample_w, or those of the bottom times the scale, less 1 for pad_out_h and
    pad_out_w. Of values with one place the last in row-major order is kept, and each gets that place's gradient.
    """

    differs = (
        "F.max_unpool2d keeps any of several values for one place on CUDA. With upsample_h and upsample_w the fork's "
        "backward reads sizes that it never set, so that training through it is refused."
    )
    forks = ("segnet",)
    fork_fields = understood(
        "upsample_param", "scale", "scale_h", "scale_w", "pad_out_h", "pad_out_w", "upsample_h", "upsample_w"
    )
    bottoms = (2, 2)
    indices = (1,)
    unforced = (1,)

    @classmethod
    def evidence(cls, message: Any) -> str:
        return "two bottoms" if len(message.bottom) == 2 else ""

    @property
    def _fixed(self) -> bool:
        """Whether the extents are given, and no scale."""
        return bool(self.p.HasField("upsample_h") and self.p.HasField("upsample_w"))

    def check(self) -> None:
        p = self.p
        if self._fixed:
            if min(p.upsample_h, p.upsample_w) <= 1:
                text = f"upsample_h and upsample_w must be above 1. Received: {p.upsample_h} and {p.upsample_w}"
                raise self.error(text, "upsample_h")
            return
        if p.HasField("scale_h") != p.HasField("scale_w"):
            raise self.error("scale_h and scale_w go together", "scale_h" if p.HasField("scale_h") else "scale_w")
        if p.HasField("scale_h") and p.HasField("scale"):
            raise self.error("give either scale, or scale_h and scale_w", "scale")
        for scale, pad, axis in zip(self._scales, (p.pad_out_h, p.pad_out_w), "hw", strict=True):
            if scale <= 1:
                raise self.error(f"the scale must be above 1. Received: {scale}", "scale")
            if pad and scale != 2:
                raise self.error(f"pad_out_{axis} needs a scale of 2. Received: {scale}", f"pad_out_{axis}")

    @property
    def _scales(self) -> tuple[int, int]:
        p = self.p
        return (p.scale_h, p.scale_w) if p.HasField("scale_h") else (p.scale, p.scale)

    def shapes(self, *x: Shape) -> list[Shape]:
        check_planes(self, x[0])
        if x[0] != x[1]:
            raise self.error(f"needs a mask of the shape of bottom 0, {x[0]}. Received: {x[1]}", "bottom[1]")
        p = self.p
        if self._fixed:
            return [(*x[0][:2], p.upsample_h, p.upsample_w)]
        (h, w), pads = self._scales, (p.pad_out_h, p.pad_out_w)
        return [(*x[0][:2], x[0][2] * h - pads[0], x[0][3] * w - pads[1])]

    def code(self, node: Node) -> Code:
        if self._fixed and self.net_phase == "TRAIN" and node.propagate[0]:
            raise self.refuse(
                "cannot be trained through with upsample_h and upsample_w: the fork's backward reads sizes that are "
                "set only with a scale",
                "upsample_h",
                "give scale_h and scale_w",
            )
        height, width = node.outputs[0].shape[2:]
        return Code(f"unpool({{0}}, {{1}}, {height}, {width})")


class YoloUpsample(Layer, param="upsample_param"):
    """MobileNet-YOLO: every value `scale` times in height and width."""

    forks = ("yolo",)
    fork_fields = understood("upsample_param", "scale")

    @classmethod
    def evidence(cls, message: Any) -> str:
        return "one bottom" if len(message.bottom) == 1 else ""

    @property
    def _scale(self) -> int:
        """The fork's default is 1, where the message has another fork's."""
        return int(self.p.scale) if self.p.HasField("scale") else 1

    def check(self) -> None:
        if self._scale < 1:
            raise self.error(f"scale must be greater than zero. Received: {self._scale}", "scale")

    def shapes(self, *x: Shape) -> list[Shape]:
        check_planes(self, x[0])
        return [(*x[0][:2], x[0][2] * self._scale, x[0][3] * self._scale)]

    def code(self, node: Node) -> Code:
        return Code("{0}" if self._scale == 1 else f"F.interpolate({{0}}, scale_factor={self._scale})")


class Upsample(Variants, type="Upsample", variants=(SegNetUpsample, YoloUpsample)):
    """With two bottoms SegNet's unpooling by a mask, with one MobileNet-YOLO's repetition of values."""

    differs = f"@segnet: {SegNetUpsample.differs}"


class Interp(Layer, type="Interp", param="interp_param"):
    """Bilinear interpolation with the corners aligned, to height and width, or by zoom_factor and shrink_factor.

    pad_beg and pad_end, 0 or below, first crop so many rows and columns at the beginning and the end. A zoom_factor z
    alone gives h + (h - 1) (z - 1), a shrink_factor s alone (h - 1) / s + 1, and either comes before height and width,
    which come before both together: first shrunk, then zoomed. full_zoom_factor f gives h f.
    """

    forks = ("deeplab", "pspnet", "synopsys")
    fork_fields = understood(
        "interp_param", "height", "width", "zoom_factor", "shrink_factor", "pad_beg", "pad_end", "full_zoom_factor"
    )

    def check(self) -> None:
        for field in ("pad_beg", "pad_end"):
            if getattr(self.p, field) > 0:
                text = f"{field} crops, so it must be 0 or below. Received: {getattr(self.p, field)}"
                raise self.error(text, field)
        for field in ("zoom_factor", "shrink_factor", "full_zoom_factor"):
            if getattr(self.p, field) < 1:
                raise self.error(f"{field} must be 1 or more. Received: {getattr(self.p, field)}", field)

    def shapes(self, *x: Shape) -> list[Shape]:
        check_planes(self, x[0])
        cropped = [n + self.p.pad_beg + self.p.pad_end for n in x[0][2:]]
        if min(cropped) <= 0:
            raise self.error(f"crops all of a bottom of shape {x[0]}", "pad_beg" if self.p.pad_beg else "pad_end")
        extents = self._extents(cropped)
        if min(extents) <= 0:
            raise self.error(f"height and width must be above 0. Received: {tuple(extents)}", "height")
        return [(*x[0][:2], *extents)]

    def _extents(self, sides: list[int]) -> list[int]:
        p = self.p
        zoom, shrink = p.HasField("zoom_factor"), p.HasField("shrink_factor")
        if p.HasField("full_zoom_factor"):
            return [n * p.full_zoom_factor for n in sides]
        if not (zoom ^ shrink) and p.HasField("height") and p.HasField("width"):
            return [p.height, p.width]
        if not (zoom or shrink):
            raise self.error("needs height and width, zoom_factor or shrink_factor")
        shrunk = [(n - 1) // p.shrink_factor + 1 for n in sides] if shrink else sides
        return [n + (n - 1) * (p.zoom_factor - 1) for n in shrunk] if zoom else shrunk

    def code(self, node: Node) -> Code:
        begin, end = self.p.pad_beg, self.p.pad_end
        x = f"F.pad({{0}}, {call('', (begin, end, begin, end))[1:-1]})" if begin or end else "{0}"
        if begin == end and begin:
            x = f"F.pad({{0}}, [{begin}] * 4)"
        size = node.outputs[0].shape[2:]
        if size == tuple(n + begin + end for n in node.inputs[0].shape[2:]):
            return Code(x)
        arguments = call("", size=size, mode="bilinear", align_corners=True)[1:-1]
        return Code(f"F.interpolate({x}, {arguments})")


class Resize(Layer, type="Resize", param="resize_param"):
    """Bilinear interpolation with the top left corners aligned: the source of row i is i H / height.

    To height and width, or, with is_pyramid_test, to the bottom's extents times out_height_scale and out_width_scale,
    rounded down. A neighbour beyond the last row or column counts as 0, so that the last ones fade.
    """

    differs = "torch repeats the last row and column, where here a zero follows them."
    forks = ("windows",)
    fork_fields = understood(
        "resize_param", "height", "width", "is_pyramid_test", "out_height_scale", "out_width_scale"
    )

    def check(self) -> None:
        p = self.p
        needed = ("out_height_scale", "out_width_scale") if p.is_pyramid_test else ("height", "width")
        for field in needed:
            if getattr(p, field) <= 0:
                raise self.error(f"needs {field} greater than zero. Received: {getattr(p, field):g}", field)

    def shapes(self, *x: Shape) -> list[Shape]:
        check_planes(self, x[0])
        p = self.p
        if not p.is_pyramid_test:
            return [(*x[0][:2], p.height, p.width)]
        extents = int(p.out_height_scale * x[0][2]), int(p.out_width_scale * x[0][3])
        if min(extents) <= 0:
            raise self.error(f"leaves nothing of a bottom of shape {x[0]}", "out_height_scale")
        return [(*x[0][:2], *extents)]

    def code(self, node: Node) -> Code:
        height, width = node.outputs[0].shape[2:]
        return Code(f"resize({{0}}, {height}, {width})")
