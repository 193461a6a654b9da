"""Dropout."""

from __future__ import annotations

from proto2torch.ir.graph import Node
from proto2torch.layers.base import Code, Layer, number
from proto2torch.layers.variants import understood


class Dropout(Layer, type="Dropout", param="dropout_param"):
    """In TRAIN zeroes each value with probability p and divides the others by 1 - p; in TEST passes its bottom on.

    With `scale_train: false` it leaves the others as they are, and in TEST multiplies by 1 - p.
    """

    differs = "Draws from torch's generator, so that masks are not Caffe's. Left out in TEST."

    allows_inplace = True
    fork_fields = understood("dropout_param", "scale_train")

    def check(self) -> None:
        ratio = self.p.dropout_ratio
        if not 0 <= ratio < 1:
            raise self.error(f"dropout_ratio must lie in [0, 1). Received: {number(ratio)}", "dropout_ratio")

    def code(self, node: Node) -> Code:
        ratio = number(self.p.dropout_ratio)
        scale = "" if self.p.scale_train else f" * {number(1 - self.p.dropout_ratio)}"
        if self.phase == "TEST":
            return Code("{0}" + scale)
        training = ", self.training" if self.net_phase == "TRAIN" else ""
        if scale:
            return Code(f"{{0}} * F.dropout(torch.ones_like({{0}}), {ratio}{training}).sign()")
        return Code(f"F.dropout({{0}}, {ratio}{training})")
