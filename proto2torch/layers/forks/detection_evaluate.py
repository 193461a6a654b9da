"""DetectionEvaluate: which detections are right, for the mean average precision."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, unless
from proto2torch.layers.variants import understood


class DetectionEvaluate(Layer, type="DetectionEvaluate", param="detection_evaluate_param"):
    """Rows (1, 1, n, 5): first -1, class, its number of truths, -1, -1 for each class but the background; then image,
    label, score, true positive, false positive for each detection, by image, label and falling score.

    Bottoms: rows of DetectionOutput (1, 1, D, 7), and truths (1, 1, G, 8): image, label, instance, box, difficult. A
    detection is true where it overlaps its best truth by overlap_threshold, and is the first to do so. Without
    evaluate_difficult_gt a difficult truth makes it neither. Truths end at the first row of image -1.
    """

    differs = "name_size_file, which scales boxes, is refused."
    forks = ("ssd", "refinedet", "mobilenet-ssd", "yolo", "nvidia", "intel", "synopsys")
    fork_fields = understood(
        "detection_evaluate_param", "num_classes", "background_label_id", "overlap_threshold", "evaluate_difficult_gt"
    )
    bottoms = (2, 2)
    differentiable = False

    def check(self) -> None:
        if not self.p.num_classes:
            raise self.error("needs num_classes greater than zero", "num_classes")

    def shapes(self, *x: Shape) -> list[Shape]:
        for i, width in ((0, 7), (1, 8)):
            if not x[i] or x[i][-1] != width or prod(x[i]) != x[i][-2] * width:
                raise self.error(f"needs rows of {width} numbers, (1, 1, n, {width}). Received: {x[i]}", f"bottom[{i}]")
        classes = self.p.num_classes - (self.p.background_label_id < self.p.num_classes)
        return [(1, 1, classes + x[0][-2], 5)]

    def code(self, node: Node) -> Code:
        p = self.p
        options = arguments(
            background=unless(0, p.background_label_id),
            overlap=unless(0.5, p.overlap_threshold),
            difficult=unless(True, p.evaluate_difficult_gt),
        )
        return Code(f"judged({{0}}, {{1}}, {p.num_classes}{options})")
