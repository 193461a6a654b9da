"""BatchNorm with Caffe's own statistics, alone or joined with the Scale behind it."""

from __future__ import annotations

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless
from proto2torch.layers.geometry import check_channels

_FIELDS = ("mean_sum", "variance_sum", "scale")


class BatchNorm(Layer, type="BatchNorm", param="batch_norm_param"):
    """y = (x - mean) / sqrt(variance + eps) over axis 1; no slope and no offset, which a Scale layer adds.

    With use_global_stats (default: in TEST) mean and variance are the stored sums divided by the stored scale, 0 where
    the scale is 0. Else they are the batch's own, and every forward updates the sums:
    scale = a scale + 1, mean_sum = a mean_sum + mean, variance_sum = a variance_sum + variance m / (m - 1).
    Blobs: mean_sum (C), variance_sum (C), scale (1); no rule updates them.
    """

    differs = (
        "TEST: nn.BatchNorm, whose statistics are Caffe's sums divided by their scale; of a net that was never "
        "trained they count as 0. TRAIN: a class of its own, for Caffe keeps decayed sums and a count, corrects the"
        " variance by m / (m - 1), and moves them in every forward."
    )

    allows_inplace = True

    @property
    def uses_global(self) -> bool:
        """Whether it normalises with the stored statistics."""
        if self.p.HasField("use_global_stats"):
            return bool(self.p.use_global_stats)
        return self.phase == "TEST"

    @property
    def is_fixed(self) -> bool:
        """Whether torch's own module serves: a TEST net that never updates the statistics."""
        return self.uses_global and self.net_phase == "TEST"

    def check(self) -> None:
        for i, param in enumerate(self.definition.message.param):
            if param.lr_mult:
                message = f"the statistics learn by their own rule: lr_mult must be 0. Received: {param.lr_mult:g}"
                raise self.error(message, f"param[{i}].lr_mult")

    def shapes(self, *x: Shape) -> list[Shape]:
        check_channels(self, x[0])
        return [x[0]]

    def blobs(self, *x: Shape) -> list[Blob]:
        shapes = ((x[0][1],), (x[0][1],), (1,))
        return [Blob(key, shape, frozen=True) for key, shape in zip(_FIELDS, shapes, strict=True)]

    def code(self, node: Node) -> Code:
        return self._code(node, affine=False)

    def _code(self, node: Node, affine: bool) -> Code:
        x = node.inputs[0].shape
        if self.is_fixed and len(x) <= 5:
            kind = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}[len(x)]
            eps = unless(1e-5, self.p.eps)
            module = call(f"nn.BatchNorm{kind}", x[1], eps=eps, affine=unless(True, affine))
            return Code("{me}({0})", module, statistics=True)
        module = call(
            "BatchNorm",
            x[1],
            eps=self.p.eps,
            fraction=self.p.moving_average_fraction,
            use_global_stats=unless(False, self.uses_global),
        )
        return Code("{me}({0})", module, counts=not self.uses_global)

    def joined(self, scale: Node) -> JoinedBatchNorm | None:
        """This layer and the Scale that reads it as one module, where torch has that module."""
        shape = scale.inputs[0].shape
        fits = scale.type == "Scale" and len(scale.inputs) == 1 and scale.op.is_per_channel(shape)
        shared = any(p.owner or p.name for p in scale.params)
        return JoinedBatchNorm(self) if self.is_fixed and len(shape) <= 5 and fits and not shared else None


class JoinedBatchNorm(BatchNorm):
    """A BatchNorm and its Scale as torch's BatchNorm with slope and offset."""

    def __init__(self, layer: BatchNorm) -> None:
        self.__dict__.update(layer.__dict__)

    def code(self, node: Node) -> Code:
        return self._code(node, affine=True)

    def joined(self, scale: Node) -> None:
        return None
