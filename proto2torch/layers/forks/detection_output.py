"""DetectionOutput: SSD's detections, from box codes, scores and priors."""

from __future__ import annotations

import math
from typing import Any

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, unless
from proto2torch.layers.variants import understood

CODES = {1: "CORNER", 2: "CENTER_SIZE", 3: "CORNER_SIZE"}
_OWN = """num_classes share_location background_label_id nms_param code_type variance_encoded_in_target keep_top_k
    confidence_threshold save_output_param visualize visualize_threshold save_file"""
_RESIZE = "prob resize_mode height width height_scale width_scale pad_mode pad_value interp_mode"
_SAVE = "output_directory output_name_prefix output_format label_map_file name_size_file num_test_image resize_param"


def check_boxes(layer: Layer, locations: int, codes: Shape, scores: Shape, priors: Shape, classes: int) -> None:
    """Refuse bottoms of SSD's kind that do not belong together: `locations` box codes and a score a class each."""
    if len(priors) != 3 or priors[:2] != (1, 2) or priors[2] % 4:
        raise layer.error(f"needs priors of shape (1, 2, 4 P). Received: {priors}", "bottom[2]")
    boxes = priors[2] // 4
    for i, (shape, values, of) in enumerate(
        ((codes, boxes * locations * 4, "codes"), (scores, boxes * classes, "scores"))
    ):
        if not shape or math.prod(shape[1:]) != values:
            text = f"needs {values} {of} an item, for {boxes} priors"
            raise layer.error(f"{text}. Received: a bottom of shape {shape}", f"bottom[{i}]")
    if codes[0] != scores[0]:
        raise layer.error(f"needs as many items as bottom 0, {codes[0]}. Received: {scores[0]}", "bottom[1]")


class DetectionOutput(Layer, type="DetectionOutput", param="detection_output_param"):
    """Rows (1, 1, n, 7): image, label, score, xmin, ymin, xmax, ymax; where nothing is found, one of -1 an image.

    Boxes are decoded from bottom 0 and the priors, bottom 2; the scores, bottom 1, are taken as they are. For each
    class but the background: boxes whose score is above confidence_threshold, the nms_param.top_k best of them, and of
    those that overlap by more than nms_threshold the best. Of all that are left in an image, the keep_top_k best.
    """

    differs = (
        "A box with a coordinate that is no number overlaps nothing. Result files (save_output_param) and pictures "
        "(visualize) are not written: `proto2torch detect` does that."
    )

    bottoms = (3, 4)
    forks = ("ssd", "refinedet", "yolo", "nvidia", "intel", "synopsys")
    fork_fields = (
        understood("detection_output_param", *_OWN.split())
        | understood("detection_output_param.nms_param", "nms_threshold", "top_k", "eta")
        | understood("detection_output_param.save_output_param", *_SAVE.split())
        | understood("detection_output_param.save_output_param.resize_param", *_RESIZE.split())
    )
    differentiable = False

    def check(self) -> None:
        p = self.p
        if not p.num_classes:
            raise self.error("needs num_classes", "num_classes")
        if not p.HasField("nms_param"):
            return
        if p.nms_param.nms_threshold < 0:
            raise self.error(
                f"nms_threshold must not be negative. Received: {p.nms_param.nms_threshold:g}",
                "nms_param.nms_threshold",
            )
        if not 0 < p.nms_param.eta <= 1:
            raise self.error(f"eta must lie in (0, 1]. Received: {p.nms_param.eta:g}", "nms_param.eta")

    def shapes(self, *x: Shape) -> list[Shape]:
        locations = 1 if self.p.share_location else self.p.num_classes
        check_boxes(self, locations, x[0], x[1], x[2], self.p.num_classes)
        return [(1, 1, 1, 7)]

    def code(self, node: Node) -> Code:
        p = self.p
        options: dict[str, Any] = {
            "code": unless("CORNER", CODES[p.code_type]),
            "background": unless(0, p.background_label_id),
            "threshold": p.confidence_threshold if p.HasField("confidence_threshold") else None,
            "overlap": unless(0.3, p.nms_param.nms_threshold),
            "eta": unless(1, p.nms_param.eta),
            "top_k": p.nms_param.top_k if p.nms_param.HasField("top_k") and p.nms_param.top_k > -1 else None,
            "keep": p.keep_top_k if p.keep_top_k > -1 else None,
            "shared": unless(True, p.share_location),
            "weighed": unless(True, not p.variance_encoded_in_target),
        }
        return Code(f"detections({{0}}, {{1}}, {{2}}, {p.num_classes}{arguments(**options)})")
