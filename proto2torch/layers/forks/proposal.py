"""Proposal: the regions of a region proposal network, as caffe-windows (PVANET) and Synopsys have it in C++."""

from __future__ import annotations

from math import prod
from typing import Any

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, call, unless
from proto2torch.layers.geometry import check_planes
from proto2torch.layers.variants import Variants, fields_given, understood

_WINDOWS = ("ratio", "scale", "base_size", "min_size", "post_nms_topn", "nms_thresh")
_SYNOPSYS = ("anchor_ratio", "anchor_scale", "anchor_base_size", "max_rois", "rpn_min_size", "rpn_nms_thresh")


class RegionProposals(Layer):
    """Scores (N, 2 A, H, W), of which the second A are those of objects; deltas (N, 4 A, H, W); the image's size."""

    bottoms = (3, 3)
    tops_allowed = (1, 2)
    differentiable = False
    anchors: int
    """How many there are at each place."""

    def check_maps(self, *x: Shape) -> None:
        """Refuse scores and deltas that do not fit the anchors or each other."""
        for i, channels in ((0, 2 * self.anchors), (1, 4 * self.anchors)):
            check_planes(self, x[i])
            if x[i] != (*x[0][:1], channels, *x[0][2:]):
                text = f"needs {channels} channels for {self.anchors} anchors, planes as bottom 0's, {x[0]}"
                raise self.error(f"{text}. Received: {x[i]}", f"bottom[{i}]")


class WindowsProposal(RegionProposals, param="proposal_param"):
    """caffe-windows (PVANET): anchors of sides `scale` in pixels; rows image, x1, y1, x2, y2, and their scores.

    Boxes under min_size times the image's scales get score 0, but stay. Of each image the pre_nms_topn best, without
    those that overlap a better one by more than nms_thresh, the post_nms_topn best.
    """

    differs = "Of equal scores the first comes first, where the fork's order is any. Several images need two tops."
    forks = ("windows",)
    fork_fields = understood("proposal_param", "feat_stride", "pre_nms_topn", *_WINDOWS)

    @classmethod
    def evidence(cls, message: Any) -> str:
        return fields_given(message, "proposal_param", *_WINDOWS)

    def check(self) -> None:
        for field in ("ratio", "scale"):
            if not getattr(self.p, field) or min(getattr(self.p, field)) <= 0:
                raise self.error(f"needs a {field} greater than zero", field)
        for field in ("feat_stride", "base_size", "pre_nms_topn", "post_nms_topn"):
            if getattr(self.p, field) <= 0:
                raise self.error(f"needs {field} greater than zero", field)

    @property
    def anchors(self) -> int:  # type: ignore[override]
        return len(self.p.ratio) * len(self.p.scale)

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_maps(*x)
        if not x[2] or prod(x[2][1:]) != 4:
            text = f"needs four numbers: height, width and both scales. Received: {x[2]}"
            raise self.error(text, "bottom[2]")
        if x[0][0] > 1 and self.tops == 1:
            hint = "give it a second top, the scores"
            raise self.refuse(f"cannot take {x[0][0]} images with one top: the fork crashes", "top", hint)
        tops: list[Shape] = [(1, 5), (1,)]
        return tops[: self.tops]

    def code(self, node: Node) -> Code:
        p = self.p
        options = arguments(
            base=unless(16, p.base_size),
            stride=unless(16, p.feat_stride),
            least=unless(16, p.min_size),
            before=unless(6000, p.pre_nms_topn),
            after=unless(300, p.post_nms_topn),
            overlap=unless(0.7, p.nms_thresh),
            scored=True if self.tops == 2 else None,
        )
        lists = call("", list(p.ratio), list(p.scale))[1:-1]
        return Code(f"pixel_proposals({{0}}, {{1}}, {{2}}, {lists}{options})")


class SynopsysProposal(RegionProposals, param="proposal_param"):
    """Synopsys: the rule of py-faster-rcnn, for image 0. Rows 0, x1, y1, x2, y2, and their scores (R, 1).

    Ratios 0.5, 1 and 2 with anchor_ratio 3, else 1; scales 8, 16 and 32 with anchor_scale 3, else 32. Boxes under
    rpn_min_size times the image's scale are left out, but for the last; pre_nms_topn limits only what is sorted.
    """

    differs = "Boxes behind the pre_nms_topn best come in falling order too, where the fork's is any."
    forks = ("synopsys",)
    fork_fields = understood("proposal_param", "feat_stride", "pre_nms_topn", *_SYNOPSYS)

    @classmethod
    def evidence(cls, message: Any) -> str:
        return fields_given(message, "proposal_param", *_SYNOPSYS)

    @property
    def _ratios(self) -> list[float]:
        return [0.5, 1, 2] if self.p.anchor_ratio == 3 else [1]

    @property
    def _scales(self) -> list[int]:
        return [8, 16, 32] if self.p.anchor_scale == 3 else [32]

    @property
    def anchors(self) -> int:  # type: ignore[override]
        return len(self._ratios) * len(self._scales)

    def check(self) -> None:
        for field in ("feat_stride", "anchor_base_size", "max_rois"):
            if getattr(self.p, field) <= 0:
                raise self.error(f"needs {field} greater than zero. Received: {getattr(self.p, field)}", field)

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_maps(*x)
        if prod(x[2]) < 3:
            raise self.error(f"needs three numbers: height, width and scale. Received: {x[2]}", "bottom[2]")
        tops: list[Shape] = [(1, 5), (1, 1)]
        return tops[: self.tops]

    def code(self, node: Node) -> Code:
        p = self.p
        options = arguments(
            base=unless(16, p.anchor_base_size),
            stride=unless(16, p.feat_stride),
            least=unless(16, p.rpn_min_size),
            after=unless(300, p.max_rois),
            overlap=unless(0.7, p.rpn_nms_thresh),
            keep_last=True,
            scored=True if self.tops == 2 else None,
        )
        lists = call("", self._ratios, self._scales)[1:-1]
        return Code(f"region_proposals({{0}}, {{1}}, {{2}}, {lists}{options})")


class Proposal(Variants, type="Proposal", variants=(WindowsProposal, SynopsysProposal)):
    """The regions of a region proposal network, best first: caffe-windows' (PVANET), or Synopsys' (py-faster-rcnn)."""

    differs = f"@windows: {WindowsProposal.differs} @synopsys: {SynopsysProposal.differs}"
