"""What the loss layers have in common: a scalar top, labels without a gradient, the normaliser of loss_param."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Shape
from proto2torch.layers.base import Layer

_MODES = ("FULL", "VALID", "BATCH_SIZE", "NONE")


class Loss(Layer):
    """A layer whose first top weighs 1 in the objective unless loss_weight says otherwise."""

    bottoms = (2, 2)
    tops_allowed = (1, 1)
    loss = True
    labels: tuple[int, ...] = (1,)

    @property
    def ignore_label(self) -> int | None:
        """The label that counts for nothing, or None."""
        loss = self.definition.message.loss_param
        return int(loss.ignore_label) if loss.HasField("ignore_label") else None

    def normalization(self, default: str) -> str:
        """The mode by name; the older `normalize` counts where the mode is absent."""
        loss = self.definition.message.loss_param
        if loss.HasField("normalization"):
            return _MODES[loss.normalization]
        if loss.HasField("normalize"):
            return "VALID" if loss.normalize else "BATCH_SIZE"
        return default

    def check_items(self, *x: Shape) -> None:
        """Refuse bottoms 0 and 1 of which one has more items than the other."""
        if not x[0] or x[0][:1] != x[1][:1]:
            raise self.error(f"both bottoms must have the same first extent. Received: {x[0]} and {x[1]}", "bottom[1]")

    def check_targets(self, *x: Shape) -> None:
        """Refuse targets, bottom 1, that are not one for each score of bottom 0."""
        self.check_items(*x)
        if prod(x[0]) != prod(x[1]):
            raise self.error(f"needs one target for each of {prod(x[0])} scores. Received: {x[1]}", "bottom[1]")


def check_labels(layer: Layer, axis: int, scores: Shape, labels: Shape) -> None:
    """Refuse labels that are not one for each position of `scores` beside `axis`."""
    positions = prod(scores[:axis]) * prod(scores[axis + 1 :])
    if prod(labels) != positions:
        raise layer.error(
            f"needs one label for each of {positions} positions (bottom 0 is {scores}, axis {axis}). "
            f"Received: labels of shape {labels}",
            "bottom[1]",
        )
