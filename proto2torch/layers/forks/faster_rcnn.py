"""py-faster-rcnn's Python layers of the region proposal network, under the names that its prototxts give them.

What its configuration says is that of its end-to-end training: 256 anchors and 128 regions an image, and so on. None
of them gives a gradient: their backward does nothing, also where one is asked for.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, arguments, literal, unless
from proto2torch.layers.geometry import check_planes
from proto2torch.layers.python import KnownPython

_RATIOS = 3


class _OfAnchors(KnownPython):
    """A layer over the map of anchors: three ratios, and a scale each of `scales`, `feat_stride` pixels apart."""

    forks = ("py-faster-rcnn",)
    defaults: ClassVar[dict[str, Any]] = {"feat_stride": 16, "scales": [8, 16, 32]}

    @property
    def anchors(self) -> int:
        return _RATIOS * len(self.options["scales"])

    def check(self) -> None:
        scales = self.options["scales"]
        if not scales or not all(isinstance(s, (int, float)) and s > 0 for s in scales):
            raise self.error(f"scales must be numbers greater than zero. Received: {scales}", "param_str")

    def check_map(self, x: Shape, each: int, bottom: int) -> None:
        """Refuse a bottom that is not (1, each A, H, W)."""
        check_planes(self, x)
        if x[0] != 1 or x[1] != each * self.anchors:
            text = f"takes one image, {each} channels for each of {self.anchors} anchors. Received: {x}"
            raise self.error(text, f"bottom[{bottom}]")

    def check_size(self, x: Shape, bottom: int) -> None:
        if prod(x) < 3:
            raise self.error(f"needs height, width and scale of the image. Received: {x}", f"bottom[{bottom}]")

    def common(self) -> dict[str, Any]:
        return {"stride": unless(16, self.options["feat_stride"])}


class ProposalLayer(_OfAnchors, module="rpn.proposal_layer", layer="ProposalLayer"):
    """The regions of a region proposal network, best first: rows 0, x1, y1, x2, y2, and their scores (R, 1).

    Boxes under 16 pixels of the original image are left out. In TRAIN the 12000 best are looked at and 2000 kept, in
    TEST 6000 and 300, without those that a better one overlaps by more than 0.7.
    """

    bottoms = (3, 3)
    tops_allowed = (1, 2)

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_map(x[0], 2, 0)
        self.check_map(x[1], 4, 1)
        self.check_size(x[2], 2)
        tops: list[Shape] = [(1, 5), (1, 1)]
        return tops[: self.tops]

    def code(self, node: Node) -> Code:
        before, after = (12000, 2000) if self.phase == "TRAIN" else (6000, 300)
        scored = True if self.tops == 2 else None
        options = arguments(**self.common(), before=before, after=unless(300, after), scored=scored)
        scales = literal(list(self.options["scales"]))
        return Code(f"region_proposals({{0}}, {{1}}, {{2}}, [0.5, 1, 2], {scales}{options})")


class AnchorTargetLayer(_OfAnchors, module="rpn.anchor_target_layer", layer="AnchorTargetLayer"):
    """What each anchor is to say: label (1, 1, A H, W), 1 of an object, 0 of none, -1 where it does not count; and its
    box targets with their inside and outside weights, (1, 4 A, H, W) each.

    Bottoms: the scores' map, truths (G, 5) with their class, the image's height, width and scale, the image. Of an
    object are the anchors within the image that overlap a truth by 0.7 or most of all, of none those under 0.3; of
    each image 128 and 256 in all are drawn.
    """

    bottoms = (4, 4)
    tops_allowed = (4, 4)
    defaults: ClassVar[dict[str, Any]] = {**_OfAnchors.defaults, "allowed_border": 0}

    def shapes(self, *x: Shape) -> list[Shape]:
        self.check_map(x[0], 2, 0)
        self.check_size(x[2], 2)
        if not x[1] or x[1][-1] != 5:
            raise self.error(f"needs truths of 5 numbers: x1, y1, x2, y2, class. Received: {x[1]}", "bottom[1]")
        height, width = x[0][2:]
        return [(1, 1, self.anchors * height, width), *[(1, 4 * self.anchors, height, width)] * 3]

    def code(self, node: Node) -> Code:
        options = arguments(**self.common(), border=unless(0, self.options["allowed_border"]))
        return Code(f"anchor_targets({{0}}, {{1}}, {{2}}, {literal(list(self.options['scales']))}{options})")


class ProposalTargetLayer(KnownPython, module="rpn.proposal_target_layer", layer="ProposalTargetLayer"):
    """The regions that the detector trains on: rows (R, 5), labels (R), box targets with inside and outside weights,
    (R, 4 num_classes) each.

    Of the proposals and the truths themselves 128 are drawn, up to 32 of them with an object, that is overlapping a
    truth by 0.5. Targets are divided by 0.1, 0.1, 0.2, 0.2, as py-faster-rcnn's end-to-end configuration has it.
    """

    forks = ("py-faster-rcnn",)
    bottoms = (2, 2)
    tops_allowed = (5, 5)
    defaults: ClassVar[dict[str, Any]] = {"num_classes": 0}

    def check(self) -> None:
        if self.options["num_classes"] < 1:
            raise self.error("param_str must give num_classes", "param_str")

    def shapes(self, *x: Shape) -> list[Shape]:
        for i, rows in enumerate(x):
            if not rows or prod(rows[1:]) != 5:
                raise self.error(f"needs rows of 5 numbers. Received: {rows}", f"bottom[{i}]")
        return [(1, 5), (1,), *[(1, 4 * self.options["num_classes"])] * 3]

    def code(self, node: Node) -> Code:
        return Code(f"proposal_targets({{0}}, {{1}}, {self.options['num_classes']})")
