"""loss_param as R-FCN extends it: a normaliser that is fixed beforehand."""

from __future__ import annotations

from typing import Any

from proto2torch.layers.base import unless
from proto2torch.layers.loss import Loss
from proto2torch.layers.variants import understood

FORK_FIELDS = understood("loss_param", "pre_fixed_normalizer", "normalization=PRE_FIXED")
"""The fork's fields and values that `loss_divisor_options` understands."""


def loss_divisor_options(layer: Loss) -> dict[str, Any]:
    """`normalization` and `fixed` for a function of runtime/ that divides a loss; nothing where it is VALID."""
    loss = layer.definition.message.loss_param
    fixed = type(loss).DESCRIPTOR.enum_types_by_name["NormalizationMode"].values_by_name["PRE_FIXED"].number
    if loss.HasField("normalization") and loss.normalization == fixed:
        return {"normalization": "NONE", "fixed": unless(1, max(1.0, loss.pre_fixed_normalizer))}
    return {"normalization": unless("VALID", layer.normalization("VALID"))}
