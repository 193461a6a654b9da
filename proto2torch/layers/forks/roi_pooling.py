"""ROIPooling and PSROIPooling: every region of an image as a grid of fixed size."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, call, literal, unless
from proto2torch.layers.geometry import check_planes
from proto2torch.layers.variants import understood


class _RegionPooling(Layer):
    """Features (N, C, H, W), and regions (R, 5): image, x1, y1, x2, y2. Regions take no gradient."""

    bottoms = (2, 2)

    def check_regions(self, *x: Shape) -> int:
        """The number of regions."""
        check_planes(self, x[0])
        if not x[1] or prod(x[1][1:]) != 5:
            raise self.error(f"regions have 5 numbers each: image, x1, y1, x2, y2. Received: {x[1]}", "bottom[1]")
        return x[1][0]


class ROIPooling(_RegionPooling, type="ROIPooling", param="roi_pooling_param"):
    """The maximum of each of pooled_h by pooled_w bins of each region; 0 of a bin that lies outside.

    A region's corners are multiplied by spatial_scale and rounded, halves away from zero, the ends included; bins
    overlap where they do not divide it. Top (R, C, pooled_h, pooled_w).
    """

    differs = (
        "torchvision's roi_pool. A region whose corners change places pools one point and gives no gradient; a "
        "coordinate that is no number counts as 0; an image that is not there is an error."
    )
    forks = ("fast-rcnn", "rfcn", "bottom-up", "intel", "synopsys", "windows")
    fork_fields = understood("roi_pooling_param", "pooled_h", "pooled_w", "spatial_scale")

    def check(self) -> None:
        for field in ("pooled_h", "pooled_w"):
            if not getattr(self.p, field):
                raise self.error(f"needs {field} greater than zero", field)

    def shapes(self, *x: Shape) -> list[Shape]:
        return [(self.check_regions(*x), x[0][1], self.p.pooled_h, self.p.pooled_w)]

    def absorbs_extent(self) -> bool:
        return True

    def code(self, node: Node) -> Code:
        arguments = call("", [self.p.pooled_h, self.p.pooled_w], scale=unless(1, self.p.spatial_scale))[1:-1]
        return Code(f"roi_pool({{0}}, {{1}}, {arguments})")


class PSROIPooling(_RegionPooling, type="PSROIPooling", param="psroi_pooling_param"):
    """The mean of each of group_size by group_size bins of each region, each bin of channels of its own (R-FCN).

    Bin (i, j) of output o reads channel (o k + i) k + j. Corners are rounded before they are multiplied by
    spatial_scale, the end being that of the last pixel. Top (R, output_dim, k, k); 0 of a bin that lies outside.
    """

    differs = "torchvision's ps_roi_pool rounds after it scales."
    forks = ("rfcn", "bottom-up", "intel", "synopsys", "windows")
    fork_fields = understood("psroi_pooling_param", "spatial_scale", "output_dim", "group_size")

    def check(self) -> None:
        for field in ("output_dim", "group_size", "spatial_scale"):
            if getattr(self.p, field) <= 0:
                raise self.error(f"needs {field} greater than zero. Received: {getattr(self.p, field):g}", field)

    def shapes(self, *x: Shape) -> list[Shape]:
        regions, outputs, k = self.check_regions(*x), self.p.output_dim, self.p.group_size
        if x[0][1] != outputs * k * k:
            text = f"needs output_dim {outputs} times {k} times {k} channels, {outputs * k * k}. Received: {x[0][1]}"
            raise self.error(text, "bottom[0]")
        return [(regions, outputs, k, k)]

    def absorbs_extent(self) -> bool:
        return True

    def code(self, node: Node) -> Code:
        scale = literal(self.p.spatial_scale)
        return Code(f"psroi_pool({{0}}, {{1}}, {self.p.output_dim}, {self.p.group_size}, scale={scale})")
