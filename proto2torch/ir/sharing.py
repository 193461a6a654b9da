"""Parameters shared by name: who owns a blob, and the multipliers that all its users share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from proto2torch.errors import NetError, Proto2TorchError
from proto2torch.ir.graph import Blob, Param

_PERMISSIVE = 1  # ParamSpec.DimCheckMode


class Sharing:
    """Gathers the parameters of a net's layers in file order; the first user of a name owns the blob."""

    def __init__(self) -> None:
        self.problems: list[Proto2TorchError] = []
        self._owners: dict[str, Param] = {}
        self._ops: dict[str, Any] = {}
        self._explicit: dict[tuple[str, str], float] = {}

    def params(self, node: int, op: Any, blobs: Sequence[Blob]) -> tuple[Param, ...]:
        """The parameters of one layer, in Caffe's stored order."""
        specs = op.definition.message.param
        if len(specs) > len(blobs):
            raise op.error(
                f"has {len(blobs)} learnable blobs, so at most as many param. Received: {len(specs)}", "param"
            )
        made = []
        for index, blob in enumerate(blobs):
            spec = specs[index] if index < len(specs) else None
            lr_mult = 0.0 if blob.frozen else spec.lr_mult if spec is not None else 1.0
            decay_mult = spec.decay_mult if spec is not None else 1.0
            name = spec.name if spec is not None else ""
            param = Param(node, index, blob, name, lr_mult, decay_mult, requires_grad=lr_mult != 0)
            made.append(self._share(param, op, spec) if name else param)
        return tuple(made)

    def _share(self, param: Param, op: Any, spec: Any) -> Param:
        owner = self._owners.setdefault(param.name, param)
        self._ops.setdefault(param.name, op)
        self._multipliers(param, op, spec)
        if owner is param:
            return param
        ours, theirs = param.blob.shape, owner.blob.shape
        permissive = spec.share_mode == _PERMISSIVE
        if prod(ours) != prod(theirs) if permissive else ours != theirs:
            kind = "count" if permissive else "shape"
            raise NetError(
                f"cannot share param {param.name!r} with layer {self._ops[param.name].name!r}, which owns it: {kind} "
                f"mismatch. Expected: {theirs}. Received: {ours}",
                where=op.definition.where(f"param[{param.index}]"),
                hint=None
                if permissive or prod(ours) != prod(theirs)
                else "share_mode: PERMISSIVE needs equal counts only",
            )
        return replace(param, owner=(owner.node, owner.index))

    def _multipliers(self, param: Param, op: Any, spec: Any) -> None:
        """An explicit multiplier counts for every user of the name; two that differ are refused."""
        for field in ("lr_mult", "decay_mult"):
            if spec.HasField(field):
                value = getattr(spec, field)
                first = self._explicit.setdefault((param.name, field), value)
                if first != value:
                    self.problems.append(
                        NetError(
                            f"shared param {param.name!r} has mismatched {field}. Expected: {first:g}, as first given. "
                            f"Received: {value:g}",
                            where=op.definition.where(f"param[{param.index}].{field}"),
                        )
                    )

    def settle(self, params: Sequence[Param]) -> tuple[Param, ...]:
        """The parameters with the multipliers that their names have in the whole net."""
        return tuple(self._settled(p) if p.name else p for p in params)

    def _settled(self, param: Param) -> Param:
        lr_mult = 0.0 if param.blob.frozen else self._explicit.get((param.name, "lr_mult"), 1.0)
        decay_mult = self._explicit.get((param.name, "decay_mult"), 1.0)
        return replace(param, lr_mult=lr_mult, decay_mult=decay_mult, requires_grad=lr_mult != 0)
