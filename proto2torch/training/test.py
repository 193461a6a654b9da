"""The mean of a net's outputs over some batches, as `caffe test` and the tests of a training give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from proto2torch.net import Net


@dataclass(frozen=True)
class Means:
    """What a test gives, on the net's device."""

    outputs: dict[str, Tensor]
    """Each output of the net, in order, averaged element by element over the batches."""
    loss: Tensor
    """The mean objective, 0-d."""
    weights: dict[str, float]
    """What an output weighs in the objective, by name; only those that do."""


def run(
    net: Net,
    iterations: int,
    *,
    go_on: Callable[[], bool] = lambda: True,
    each: Callable[[int, dict[str, Tensor]], None] | None = None,
    forward: Callable[[], dict[str, Tensor]] | None = None,
) -> Means | None:
    """Run `iterations` batches of the net's own data layers and average each output: the plain mean of the batches.

    Args:
        net: a net that its data layers feed; its weights are taken as they are now.
        iterations: how many batches; of none there are no outputs, and the loss is not a number, as in Caffe.
        go_on: asked before each batch; where it says no, the test ends without a result.
        each: told each batch's number and outputs.
        forward: runs the net on its next batch, in place of a call of the net.

    Returns:
        The means, or None where `go_on` ended the test.
    """
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
                sums[name] = sums[name] + value if name in sums else value.clone()
            loss = net.loss.clone() if loss is None else loss + net.loss
        means = {name: total / iterations for name, total in sums.items()}
        mean_loss = torch.tensor(torch.nan) if loss is None else loss / iterations
    return Means(means, mean_loss, {name: w for name, w in net.loss_weights.items() if w and name in means})
