"""One update of a net's weights from its accumulated gradients, in Caffe's order."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from proto2torch.net import Net
from proto2torch.solvers import gradients, rules
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.solvers.numbers import shown
from proto2torch.training.display import Display
from proto2torch.training.log import Log
from proto2torch.training.scaling import Scale


class Update:
    """The update rule of a solver over a net's learnable blobs, with its learning-rate policy.

    Caffe: the rate; clipping of the raw sum of gradients; division by iter_size; regularisation; the rule.
    """

    def __init__(self, definition: SolverDefinition, net: Net, display: Display, log: Log) -> None:
        self._definition = definition
        self._learned = net.learned
        self._display = display
        self._log = log
        self.rule = rules.build(definition, groups(net))
        self.rule.keep_updates = definition.snapshot_diff
        if net.device.type == "cuda":
            self.rule.rates_on_device()
        self.policy = definition.policy()

    def apply(self, iteration: int, display: bool) -> None:
        """Make the update after `iteration` others.

        What clipping did is logged on the CPU always and elsewhere in display iterations, which wait for the device
        anyway.
        """
        self.prepare(iteration, display)
        clipped = self.make()
        if clipped is not None and (display or clipped[0].device.type == "cpu"):
            norm, factor = clipped
            assert self._definition.clip_gradients is not None
            self._display.clipped(norm, self._definition.clip_gradients, factor)

    def prepare(self, iteration: int, display: bool = False) -> bool:
        """The host's part of an update, its rate; gives whether a `make` that was recorded makes this update."""
        rate = self._rate(iteration, display)
        for group in self.rule.param_groups:
            group["lr"] = rate
        return self.rule.prepare()

    def make(self) -> tuple[Tensor, Tensor] | None:
        """The device's part of an update; gives what clipping did, as `gradients.clip`, where there is some."""
        d, clipped = self._definition, None
        grads = [blob.tensor.grad for blob in self._learned if blob.tensor.grad is not None]
        if grads and d.clip_gradients is not None:
            clipped = gradients.clip(grads, d.clip_gradients)
        gradients.average(grads, d.iter_size)
        self.rule.make()
        return clipped

    def unscale(self, scale: Scale, check: bool) -> None:
        """Take the loss's scale out of the gradients; where one has overflowed, the next update changes nothing.

        Raises:
            RunError: with `check`, which waits for the device: no scale is small enough.
        """
        grads = [blob.tensor.grad for blob in self._learned if blob.tensor.grad is not None]
        self.rule.overflowed = scale.unscale(grads)
        if check:
            scale.check()

    def _rate(self, iteration: int, display: bool) -> float:
        step = self.policy.current_step
        rate = self.policy.rate(iteration)
        if self.policy.status and self.policy.current_step != step:
            self._log(f"{self.policy.status} Status: Iteration {iteration}, step = {self.policy.current_step}")
        if display:
            self._log(f"Iteration {iteration}, lr = {shown(rate)}")
        return rate


def groups(net: Net) -> list[dict[str, Any]]:
    """A net's learnable blobs as an optimizer's parameter groups: one for each pair of multipliers."""
    by_multipliers: dict[tuple[float, float], list[Any]] = {}
    for blob in net.learned:
        by_multipliers.setdefault((blob.lr_mult, blob.decay_mult), []).append(blob.tensor)
    return [
        {"params": tensors, "lr_mult": lr_mult, "decay_mult": decay_mult}
        for (lr_mult, decay_mult), tensors in by_multipliers.items()
    ]
