"""The mean of a net's outputs over some batches, as `caffe test` and the tests of a training give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from proto2torch.errors import NetError
from proto2torch.training.average_precision import mean_average_precision, rows_of

if TYPE_CHECKING:
    from proto2torch.net import Net


@dataclass(frozen=True)
class Means:
    """What a test gives, on the net's device."""

    outputs: dict[str, Tensor]
    """Each output of the net, in order, averaged element by element over the batches; of a DetectionEvaluate layer the
    mean average precision over all of them."""
    loss: Tensor
    """The mean objective, 0-d."""
    weights: dict[str, float]
    """What an output weighs in the objective, by name; only those that do."""
    classes: dict[str, dict[int, float]] = field(default_factory=dict)
    """The average precision of each class, of outputs that have one."""


def run(
    net: Net,
    iterations: int,
    *,
    go_on: Callable[[], bool] = lambda: True,
    each: Callable[[int, dict[str, Tensor]], None] | None = None,
    forward: Callable[[], dict[str, Tensor]] | None = None,
    ap_version: str = "Integral",
) -> Means | None:
    """Run `iterations` batches of the net's own data layers and average each output: the plain mean of the batches.

    Args:
        net: a net that its data layers feed; its weights are taken as they are now.
        iterations: how many batches; of none there are no outputs, and the loss is not a number, as in Caffe.
        go_on: asked before each batch; where it says no, the test ends without a result.
        each: told each batch's number and outputs.
        forward: runs the net on its next batch, in place of a call of the net.
        ap_version: how average precision is taken of detections, one of `average_precision.VERSIONS`.

    Returns:
        The means, or None where `go_on` ended the test.

    Raises:
        NetError: an output has another shape in a later batch, so that it has no mean.
    """
    judged = [node.outputs[0].blob for node in net.graph.nodes if node.type == "DetectionEvaluate"]
    rows: dict[str, list[Tensor]] = {name: [] for name in judged}
    sums: dict[str, Tensor] = {}
    loss: Tensor | None = None
    with torch.no_grad():
        for i in range(iterations):
            if not go_on():
                return None
            outputs = (forward or net)()
            if each is not None:
                each(i, outputs)
            for name, value in outputs.items():
                if name in rows:
                    rows[name].append(rows_of(value))
                _add(sums, name, value.new_zeros(()) if name in rows else value)
            loss = net.loss.clone() if loss is None else loss + net.loss
        means = {name: total / iterations for name, total in sums.items()}
        found = {name: mean_average_precision(torch.cat(parts), ap_version) for name, parts in rows.items() if parts}
        means |= {name: means[name].new_tensor(mean) for name, (mean, _) in found.items() if name in means}
        mean_loss = torch.tensor(torch.nan) if loss is None else loss / iterations
    weights = {name: w for name, w in net.loss_weights.items() if w and name in means}
    return Means(means, mean_loss, weights, {name: classes for name, (_, classes) in found.items()})


def _add(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
    if name not in sums:
        sums[name] = value.clone()
        return
    if sums[name].shape != value.shape:
        shapes = f"{tuple(sums[name].shape)}, then {tuple(value.shape)}"
        raise NetError(f"the output {name!r} has no mean: its batches differ in shape. Received: {shapes}")
    sums[name] = sums[name] + value
