"""YOLO of version 2 and 3: the losses of its heads, and the detections that they give."""

from __future__ import annotations

from math import prod
from typing import Any

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer, arguments, literal, number, unless
from proto2torch.layers.geometry import check_planes
from proto2torch.layers.loss import Loss
from proto2torch.layers.variants import understood

_ROWS, _ROW = 300, 5
_IOUS = ("IOU", "GIOU", "MSE", "DIOU", "CIOU")


def anchors_of(layer: Layer, fewest: int) -> list[list[float]]:
    """Width and height of each anchor, from `biases`, of which there must be so many pairs."""
    biases = list(layer.p.biases)
    if len(biases) % 2 or len(biases) < 2 * fewest:
        text = f"needs biases in pairs, width and height of {fewest} anchors or more. Received: {len(biases)} numbers"
        raise layer.error(text, "biases")
    if min(biases) <= 0:
        raise layer.error(f"biases must be greater than zero. Received: {number(min(biases))}", "biases")
    short = [float(number(bias)) for bias in biases]
    return [list(pair) for pair in zip(short[::2], short[1::2], strict=True)]


def check_head(layer: Layer, x: Shape, boxes: int, classes: int, bottom: int = 0) -> None:
    """Refuse a bottom that is not (N, boxes (5 + classes), H, W)."""
    check_planes(layer, x)
    channels = boxes * (5 + classes)
    if x[1] != channels:
        text = f"needs {channels} channels: {boxes} boxes of 5 + {classes} numbers. Received: a bottom of shape {x}"
        raise layer.error(text, f"bottom[{bottom}]")


class _YoloLoss(Loss):
    """A head (N, A (5 + K), H, W), and for each item 300 rows of class, x, y, width, height, from 0 to 1."""

    def check_truth(self, *x: Shape) -> None:
        if x[1][:1] != x[0][:1] or prod(x[1][1:]) != _ROWS * _ROW:
            text = f"needs {_ROWS} rows of {_ROW} numbers for each of {x[0][0]} items. Received: {x[1]}"
            raise self.error(text, "bottom[1]")


class RegionLoss(_YoloLoss, type="RegionLoss", param="region_loss_param"):
    """YOLOv2, as darknet has it: loss = sum of delta^2 / N, where the gradient is delta / N.

    delta is noobject_scale o^2 (1 - o) for the objectness o of a box that overlaps no truth by more than `thresh`. At
    the cell of a truth, for the anchor most like it in size (with bias_match 0, the predicted size), delta is that of
    centre, size, objectness and class, each by its scale; a later truth takes the place of an earlier one.
    """

    differs = (
        "Its gradient is not the derivative of its value. softmax, side, jitter, absolute, random and class_map do "
        "nothing, as in the fork. A truth whose centre is not within [0, 1) counts for no cell."
    )
    forks = ("yolo", "intel", "synopsys")
    fork_fields = understood(
        "region_loss_param",
        *("side", "num_class", "bias_match", "coords", "num", "softmax", "jitter", "rescore", "object_scale"),
        *("class_scale", "noobject_scale", "coord_scale", "absolute", "thresh", "random", "biases", "class_map"),
    )

    def check(self) -> None:
        if self.p.coords != 4:
            raise self.refuse(f"coords other than 4 misplace the classes. Received: {self.p.coords}", "coords")
        if not self.p.num:
            raise self.error("needs num greater than zero", "num")
        anchors_of(self, max(5, self.p.num))

    def shapes(self, *x: Shape) -> list[Shape]:
        check_head(self, x[0], self.p.num, self.p.num_class)
        if x[0][2] != x[0][3]:
            raise self.error(f"needs square planes. Received: a bottom of shape {x[0]}", "bottom[0]")
        self.check_truth(*x)
        return [()]

    def code(self, node: Node) -> Code:
        p = self.p
        anchors = literal(anchors_of(self, p.num)[: p.num])
        options = arguments(
            object_scale=unless(1, p.object_scale),
            noobject_scale=unless(0.5, p.noobject_scale),
            class_scale=unless(1, p.class_scale),
            coord_scale=unless(5, p.coord_scale),
            threshold=unless(0.2, p.thresh),
            rescore=unless(True, bool(p.rescore)),
            by_anchor=unless(True, bool(p.bias_match)),
        )
        return Code(f"region_loss({{0}}, {{1}}, {anchors}{options})")


class Yolov3(_YoloLoss, type="Yolov3", param="yolov3_param"):
    """YOLOv3's loss of one head, whose anchors are those of `biases` that `mask` names, in pixels.

    Objectness of a box is to be 0, unless its overlap with a truth is above `thresh`, and 1 at the cell of a truth for
    the anchor of the most similar size, and for every other above iou_thresh. There centre and size are drawn to the
    truth's: by their difference (MSE), or by the gradient of the overlap that iou_loss names. Loss and gradient are two
    sums of the same deltas: the one is not the derivative of the other.
    """

    differs = (
        "Its gradient is not the derivative of its value. side and noobject_scale do nothing, as in the fork. A truth "
        "whose centre is not within [0, 1) counts for no cell."
    )
    forks = ("yolo",)
    fork_fields = understood(
        "yolov3_param",
        *("side", "num_class", "num", "object_scale", "class_scale", "noobject_scale", "coord_scale", "thresh"),
        *("anchors_scale", "biases", "mask", "use_logic_gradient", "use_focal_loss", "iou_loss", "iou_normalizer"),
        *("iou_thresh", "max_delta", "accumulate", "label_smooth_eps"),
    )

    def check(self) -> None:
        anchors, mask = anchors_of(self, 1), list(self.p.mask)
        if len(mask) != self.p.num or not mask:
            raise self.error(f"mask names num anchors, {self.p.num}. Received: {mask}", "mask")
        if max(mask) >= len(anchors) or len(set(mask)) < len(mask):
            raise self.error(f"mask names each of {len(anchors)} anchors once at most. Received: {mask}", "mask")

    def shapes(self, *x: Shape) -> list[Shape]:
        check_head(self, x[0], self.p.num, self.p.num_class)
        self.check_truth(*x)
        return [()]

    def code(self, node: Node) -> Code:
        p = self.p
        options = arguments(
            cell=unless(32, p.anchors_scale),
            object_scale=unless(1, p.object_scale if p.use_logic_gradient else 1),
            class_scale=unless(1, p.class_scale),
            coord_scale=unless(5, p.coord_scale),
            threshold=unless(0.2, p.thresh),
            overlap=unless("MSE", _IOUS[p.iou_loss]),
            normalizer=unless(0.25, p.iou_normalizer),
            similar=unless(0.5, p.iou_thresh),
            most=unless(10, p.max_delta),
            accumulate=unless(True, bool(p.accumulate)),
            smooth=unless(0.1, p.label_smooth_eps),
            focal=unless(False, bool(p.use_focal_loss)),
            logic=unless(False, bool(p.use_logic_gradient)),
        )
        return Code(f"yolo_loss({{0}}, {{1}}, {literal(anchors_of(self, 1))}, {literal(list(p.mask))}{options})")


class _YoloDetections(Layer):
    """Rows (1, 1, n, 7): 0, class + 1, score, xmin, ymin, xmax, ymax; where nothing is found, -1 after each image's
    number. Of boxes of any class that overlap by nms_threshold the best stays."""

    differs = (
        "torchvision's nms. All items count as image 0, as in the fork; boxes are not clipped. Of equal scores the "
        "first comes first."
    )
    differentiable = False

    def shapes(self, *x: Shape) -> list[Shape]:
        for i, head in enumerate(x):
            check_head(self, head, self.p.num_box, self.p.num_classes, i)
        return [(1, 1, 1, 7)]

    def detected(self, function: str, node: Node, *anchors: Any) -> Code:
        """The call of a function of runtime/yolo.py."""
        heads = ", ".join(f"{{{i}}}" for i in range(len(node.inputs)))
        thresholds = arguments(
            threshold=unless(0.01, self.p.confidence_threshold),
            overlap=unless(0.45, self.p.nms_threshold),
        )
        return Code(f"{function}([{heads}], {', '.join(map(literal, anchors))}{thresholds})")


class YoloDetectionOutput(_YoloDetections, type="YoloDetectionOutput", param="yolo_detection_output_param"):
    """YOLOv2's detections: of each box the best class, its score the objectness times the softmax of the classes.

    Rows (1, 1, n, 7): 0, class + 1, score, xmin, ymin, xmax, ymax; where nothing is found, -1 after each image's
    number. Kept from confidence_threshold on; of boxes that overlap by nms_threshold the best stays. The anchors are in
    cells, the same for each bottom.
    """

    forks = ("yolo", "synopsys")
    bottoms = (1, 2)
    fork_fields = understood(
        "yolo_detection_output_param",
        *("side", "num_classes", "num_box", "coords", "confidence_threshold", "nms_threshold", "biases"),
        "label_map_file",
    )

    def check(self) -> None:
        if self.p.coords != 4:
            raise self.refuse(f"coords other than 4 are not supported. Received: {self.p.coords}", "coords")
        anchors_of(self, self.p.num_box)

    def code(self, node: Node) -> Code:
        return self.detected("region_detections", node, anchors_of(self, self.p.num_box)[: self.p.num_box])


class Yolov3DetectionOutput(_YoloDetections, type="Yolov3DetectionOutput", param="yolov3_detection_output_param"):
    """YOLOv3's detections of all heads: each class whose score, objectness times the class's own, is above
    confidence_threshold.

    Rows (1, 1, n, 7): 0, class + 1, score, xmin, ymin, xmax, ymax; where nothing is found, -1 after each image's
    number. Of boxes of any class that overlap by nms_threshold the best stays. `mask` names the anchors of each head.
    """

    forks = ("yolo", "synopsys")
    bottoms = (1, None)
    fork_fields = understood(
        "yolov3_detection_output_param",
        *("num_classes", "num_box", "confidence_threshold", "nms_threshold", "biases", "anchors_scale"),
        *("mask_group_num", "mask", "gaussian_box"),
    )

    def check(self) -> None:
        p, heads = self.p, len(self.definition.message.bottom)
        if p.gaussian_box:
            raise self.refuse("gaussian_box is not supported", "gaussian_box")
        if p.mask_group_num != heads:
            raise self.error(
                f"needs a bottom for each of mask_group_num {p.mask_group_num}. Received: {heads}", "bottom"
            )
        anchors, mask = anchors_of(self, 1), list(p.mask)
        if len(mask) != heads * p.num_box or any(index >= len(anchors) for index in mask):
            text = f"mask names num_box {p.num_box} of {len(anchors)} anchors for each of {heads} heads"
            raise self.error(f"{text}. Received: {mask}", "mask")
        if len(p.anchors_scale) < heads:
            raise self.error(f"needs anchors_scale for each of {heads} heads", "anchors_scale")

    def code(self, node: Node) -> Code:
        p, anchors, each = self.p, anchors_of(self, 1), self.p.num_box
        heads = [[anchors[i] for i in p.mask[at : at + each]] for at in range(0, len(p.mask), each)]
        return self.detected("yolo_detections", node, heads, list(p.anchors_scale)[: len(heads)])
