"""MultiBoxLoss: SSD's loss of boxes and classes."""

from __future__ import annotations

from typing import Any

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, call, unless
from proto2torch.layers.forks.detection_output import CODES, check_boxes
from proto2torch.layers.loss import Loss
from proto2torch.layers.variants import understood

_FIELDS = """loc_loss_type conf_loss_type loc_weight num_classes share_location match_type overlap_threshold
    use_prior_for_matching background_label_id use_difficult_gt do_neg_mining neg_pos_ratio neg_overlap code_type
    encode_variance_in_target ignore_cross_boundary_bbox mining_type sample_size"""


class MultiBoxLoss(Loss, type="MultiBoxLoss", param="multibox_loss_param"):
    """loss = (loc_weight loc + conf) / Z, over the boxes that stand for a true one and over hard negatives.

    Bottoms: codes (N, 4 P), scores (N, P num_classes), priors (1, 2, 4 P), truth (1, 1, G, 8) = image, label,
    instance, xmin, ymin, xmax, ymax, difficult. Each truth takes the prior of largest overlap, every other prior the
    truth that it overlaps by overlap_threshold or more (PER_PREDICTION). loc sums smooth L1 (or d^2 / 2) of code
    differences; conf the cross-entropy of matched priors and of negatives: the neg_pos_ratio-fold of highest loss
    (MAX_NEGATIVE), the sample_size of highest loss of both kinds (HARD_EXAMPLE), or all (NONE).
    Z: VALID, the matches; FULL, all priors; BATCH_SIZE, the items; never less than 1.
    """

    differs = (
        "An image without a truth counts for nothing, unless mining_type is NONE. encode_variance_in_target: the "
        "gradient lacks the division by the variance. LOGISTIC with NONE: from the second image on the targets stand "
        "in the wrong place. bp_inside, map_object_to_agnostic and nms_param are refused."
    )

    bottoms = (4, 4)
    forks = ("ssd", "refinedet", "yolo", "nvidia", "intel", "synopsys")
    fork_fields = understood("multibox_loss_param", *_FIELDS.split())
    messages = ("loss_param",)
    labels = ()
    indices = (2, 3)

    def check(self) -> None:
        p = self.p
        if not p.num_classes:
            raise self.error("needs num_classes", "num_classes")
        if p.background_label_id >= p.num_classes:
            text = f"background_label_id must be below num_classes, {p.num_classes}"
            raise self.error(f"{text}. Received: {p.background_label_id}", "background_label_id")
        if p.HasField("do_neg_mining") and p.do_neg_mining != (self._name("mining_type") != "NONE"):
            text = f"do_neg_mining must agree with mining_type, {self._name('mining_type')}"
            raise self.error(f"{text}. Received: {str(p.do_neg_mining).lower()}", "do_neg_mining")
        if not p.share_location and self._name("mining_type") != "NONE":
            raise self.error("mining_type must be NONE where share_location is false", "mining_type")
        if p.sample_size <= 0 and self._name("mining_type") == "HARD_EXAMPLE":
            raise self.error(f"sample_size must be positive. Received: {p.sample_size}", "sample_size")

    def shapes(self, *x: Shape) -> list[Shape]:
        locations = 1 if self.p.share_location else self.p.num_classes
        check_boxes(self, locations, x[0], x[1], x[2], self.p.num_classes)
        if len(x[3]) != 4 or x[3][:2] != (1, 1) or x[3][3] != 8:
            raise self.error(f"needs truths of shape (1, 1, G, 8). Received: {x[3]}", "bottom[3]")
        return [()]

    def code(self, node: Node) -> Code:
        p, down = self.p, [*self.definition.message.propagate_down, True, True]
        options: dict[str, Any] = {
            "code": unless("CORNER", CODES[p.code_type]),
            "loc_loss": unless("SMOOTH_L1", self._name("loc_loss_type")),
            "conf_loss": unless("SOFTMAX", self._name("conf_loss_type")),
            "loc_weight": unless(1, p.loc_weight if down[0] else 0),
            "conf_weight": unless(1, int(down[1])),
            "shared": unless(True, p.share_location),
            "overlap": unless(0.5, p.overlap_threshold),
            "bipartite": unless(False, self._name("match_type") == "BIPARTITE"),
            "match_priors": unless(True, p.use_prior_for_matching),
            "background": unless(0, p.background_label_id),
            "difficult": unless(True, p.use_difficult_gt),
            "mining": unless("MAX_NEGATIVE", self._name("mining_type")),
            "negatives": unless(3, p.neg_pos_ratio),
            "negative_overlap": unless(0.5, p.neg_overlap),
            "samples": unless(64, p.sample_size),
            "weighed": unless(True, not p.encode_variance_in_target),
            "within": unless(False, p.ignore_cross_boundary_bbox),
            "normalization": unless("VALID", self.normalization("VALID")),
        }
        return Code("{me}({0}, {1}, {2}, {3})", call("MultiBoxLoss", p.num_classes, **options))

    def _name(self, field: str) -> str:
        """The name of an enum field's value."""
        values = self.p.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
        return str(values[getattr(self.p, field)].name)
